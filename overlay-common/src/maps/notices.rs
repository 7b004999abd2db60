//! `NOTICES`: what the programs did besides forwarding and dropping, per CPU.

/// The map's name: a per-CPU array of counts (`u64`), indexed by [`crate::Notice::index`].
pub const NAME: &str = "NOTICES";

/// One slot for each.
pub const MAX_ENTRIES: usize = crate::Notice::COUNT;
