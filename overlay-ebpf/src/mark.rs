//! What `from_uplink_xdp` tells `from_uplink` about a packet whose outer headers it took off: the metadata area, which
//! the kernel carries with the packet.

use overlay_common::{Vni, VtepId};

/// Segment and sender of a frame without outer headers.
///
/// It is signed with the instance's secret: others can write metadata too.
#[repr(C, packed(4))]
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    signature: u64,
    vni: u32,
    vtep: u32,
}

impl Mark {
    /// Marks a frame of segment `vni` from `vtep`.
    #[inline(always)]
    pub(crate) fn new(signature: u64, vni: Vni, vtep: VtepId) -> Self {
        Self { signature, vni: vni.get(), vtep: vtep.index() }
    }

    /// Segment and sender, if the mark is signed so.
    #[inline(always)]
    pub(crate) fn read(self, signature: u64) -> Option<(Vni, VtepId)> {
        if self.signature != signature {
            return None;
        }
        Some((Vni::new(self.vni)?, VtepId::new(self.vtep as u16)?))
    }

    /// Leaves no secret behind.
    #[inline(always)]
    pub(crate) fn erase(&mut self) {
        self.signature = 0;
    }
}
