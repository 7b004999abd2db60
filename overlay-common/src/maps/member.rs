//! `MEMBERS`: which remote VTEP may send into which segment.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{UnderlayAddr, Vni, VtepId};

/// The map's name: a hash of [`MemberKey`] to the remote VTEP's id (`u32`).
///
/// A multicast group of the underlay that stands for VTEPs is there too, its id marked with [`GROUP`].
pub const NAME: &str = "MEMBERS";

/// Marks the id of a group: something is sent to it, but nothing can come from it.
pub const GROUP: u32 = 1 << 16;

/// The id in a value of the map, a VTEP's or a group's.
#[must_use]
pub const fn id(value: u32) -> Option<VtepId> {
    VtepId::new((value & !GROUP) as u16)
}

/// Tunnels there can be for each slot of the map `VTEPS`: remote VTEPs are in so many segments each, on average.
pub const OF_EACH_VTEP: u32 = 16;

/// Tunnels there can be, unless `up --max-vteps` says otherwise.
pub const MAX_ENTRIES: usize = super::vtep::MAX_ENTRIES * OF_EACH_VTEP as usize;

/// A segment, and the address of a remote VTEP in it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct MemberKey {
    vni: u32,
    remote: UnderlayAddr,
}

map_data!(MemberKey);

impl MemberKey {
    /// The remote VTEP at `remote` in segment `vni`.
    #[inline(always)]
    #[must_use]
    pub const fn new(vni: Vni, remote: UnderlayAddr) -> Self {
        Self { vni: vni.get(), remote }
    }

    /// The segment.
    #[must_use]
    pub const fn vni(self) -> Option<Vni> {
        Vni::new(self.vni)
    }

    /// The remote VTEP's address.
    #[must_use]
    pub const fn remote(self) -> UnderlayAddr {
        self.remote
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert_eq!(id(GROUP | 7), VtepId::new(7));
        assert_eq!(id(7), VtepId::new(7));
        assert_eq!(id(GROUP), None);
    }

    #[test]
    fn layout() {
        assert_eq!(size_of::<MemberKey>(), 20);
    }
}
