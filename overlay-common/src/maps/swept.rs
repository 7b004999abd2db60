//! `NEIGHBOURS_SWEPT`: when the programs last went through `NEIGHBOURS` to make room.

/// The map's name: an array of one time, nanoseconds of the monotonic clock.
pub const NAME: &str = "NEIGHBOURS_SWEPT";

/// The one index.
pub const INDEX: u32 = 0;
