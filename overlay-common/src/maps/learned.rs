//! `LEARNED`: how many stations are learned, by segment and by port, and how many VTEPs came to a segment by themselves.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{IfIndex, Vni};

/// The map's name: a hash of [`LearnedKey`] to a count (`u64`). Entries are made with the segment and the port.
pub const NAME: &str = "LEARNED";

/// Segments, twice, and ports there can be counts for.
pub const MAX_ENTRIES: usize = 2 * super::segment::MAX_ENTRIES + super::port::MAX_ENTRIES;

/// Whose stations, or members.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct LearnedKey {
    kind: u32,
    number: u32,
}

map_data!(LearnedKey);

const SEGMENT: u32 = 0;
const PORT: u32 = 1;
const MEMBERS: u32 = 2;

impl LearnedKey {
    /// Those of segment `vni`.
    #[inline(always)]
    #[must_use]
    pub const fn segment(vni: Vni) -> Self {
        Self { kind: SEGMENT, number: vni.get() }
    }

    /// Those behind the port `device`.
    #[inline(always)]
    #[must_use]
    pub const fn port(device: IfIndex) -> Self {
        Self { kind: PORT, number: device.get() }
    }

    /// The VTEPs that came to segment `vni` by themselves.
    #[inline(always)]
    #[must_use]
    pub const fn members(vni: Vni) -> Self {
        Self { kind: MEMBERS, number: vni.get() }
    }
}
