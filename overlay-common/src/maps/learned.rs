//! `LEARNED`: how many stations are learned, by segment and by port, how many neighbours, and how many VTEPs came to a segment
//! by themselves.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{IfIndex, Vni};

/// The map's name: a hash of [`LearnedKey`] to a count (`u64`). Entries are made with the segment and the port.
pub const NAME: &str = "LEARNED";

/// Segments and ports there can be counts for: four for a segment, one for a port, and one for all.
pub const MAX_ENTRIES: usize = 4 * super::segment::MAX_ENTRIES + super::port::MAX_ENTRIES + 1;

/// What is counted.
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
const NEIGHBOURS: u32 = 3;
const ALL_NEIGHBOURS: u32 = 4;
const REFUSED: u32 = 5;

impl LearnedKey {
    /// Those of segment `vni`.
    #[inline(always)]
    #[must_use]
    pub const fn segment(vni: Vni) -> Self {
        Self { kind: SEGMENT, number: vni.get() }
    }

    /// The key as the kernel has it.
    #[must_use]
    pub fn bytes(self) -> [u8; size_of::<Self>()] {
        bytemuck::cast(self)
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

    /// The neighbours of segment `vni`.
    #[inline(always)]
    #[must_use]
    pub const fn neighbours(vni: Vni) -> Self {
        Self { kind: NEIGHBOURS, number: vni.get() }
    }

    /// The neighbours of all segments.
    #[inline(always)]
    #[must_use]
    pub const fn all_neighbours() -> Self {
        Self { kind: ALL_NEIGHBOURS, number: 0 }
    }

    /// No count, but when a neighbour of segment `vni` last found no room: nanoseconds of the monotonic clock; 0: never.
    #[inline(always)]
    #[must_use]
    pub const fn refused(vni: Vni) -> Self {
        Self { kind: REFUSED, number: vni.get() }
    }
}
