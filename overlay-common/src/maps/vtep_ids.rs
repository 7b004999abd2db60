//! `VTEP_IDS`: the way back from a remote VTEP's address to its id.

use super::map_data;
use crate::UnderlayAddr;

/// The map's name: a hash of [`UnderlayAddr`] to the VTEP's id (`u32`). Kept beside `VTEPS`, which has the last word:
/// an id counts only if its VTEP has that address.
pub const NAME: &str = "VTEP_IDS";

/// One entry for each remote VTEP.
pub const MAX_ENTRIES: usize = super::vtep::MAX_ENTRIES;

map_data!(UnderlayAddr);
