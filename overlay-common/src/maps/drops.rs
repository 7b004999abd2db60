//! `DROPS`: dropped frames, per CPU and reason.

/// The map's name: a per-CPU array of packet counts (`u64`), indexed by [`crate::DropReason::index`].
pub const NAME: &str = "DROPS";

/// One slot for each reason.
pub const MAX_ENTRIES: usize = crate::DropReason::COUNT;
