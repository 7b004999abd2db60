//! `MEMBERS`: which remote VTEP may send into which segment.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{UnderlayAddr, Vni};

/// The map's name: a hash of [`MemberKey`] to the remote VTEP's id (`u32`).
pub const NAME: &str = "MEMBERS";

/// Tunnels there can be.
pub const MAX_ENTRIES: usize = 1 << 16;

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
    fn layout() {
        assert_eq!(size_of::<MemberKey>(), 20);
    }
}
