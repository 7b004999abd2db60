//! `AGEING` and `RECLAIMED`: in what order to look for stations that have aged.

/// The map's name: a queue of [`super::fdb::FdbKey`], each with the tag of its entry, of as many elements as `FDB` has
/// entries. A learned station is put at its end; one whose turn comes is removed if it has aged, and put at the end again
/// if it has not. Stations that were removed otherwise stay in it until their turn comes.
pub const NAME: &str = "AGEING";

/// The name of an array of one `u64`: when the queue was last gone through, nanoseconds of the monotonic clock.
pub const RECLAIMED: &str = "RECLAIMED";
