//! What `from_uplink_xdp` tells `from_uplink` about a packet whose outer headers it took off: the metadata area, which
//! the kernel carries with the packet.

use overlay_common::{Vni, VtepId};

/// Says that the metadata is ours.
const MAGIC: u32 = u32::from_be_bytes(*b"ovly");

/// Segment and sender of a frame without outer headers.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    magic: u32,
    vni: u32,
    vtep: u32,
}

impl Mark {
    /// Marks a frame of segment `vni` from `vtep`.
    #[inline(always)]
    pub(crate) fn new(vni: Vni, vtep: VtepId) -> Self {
        Self { magic: MAGIC, vni: vni.get(), vtep: vtep.index() }
    }

    /// Segment and sender, if the mark is ours.
    #[inline(always)]
    pub(crate) fn read(self) -> Option<(Vni, VtepId)> {
        if self.magic != MAGIC {
            return None;
        }
        Some((Vni::new(self.vni)?, VtepId::new(self.vtep as u16)?))
    }
}
