//! `MANAGED`: the neighbours that the kernel was asked to keep resolved. No program reads it.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{IfIndex, UnderlayAddr};

/// The map's name: a hash of [`Managed`] to nothing worth knowing (`u32`).
pub const NAME: &str = "MANAGED";

/// Neighbours that can be noted: several ways to each remote VTEP.
pub const MAX_ENTRIES: usize = 1 << 14;

/// A neighbour of the underlay.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct Managed {
    device: u32,
    addr: UnderlayAddr,
}

map_data!(Managed);

impl Managed {
    /// The neighbour at `addr` behind `device`.
    #[must_use]
    pub const fn new(device: IfIndex, addr: UnderlayAddr) -> Self {
        Self { device: device.get(), addr }
    }

    /// The device that it is behind.
    #[must_use]
    pub const fn device(self) -> Option<IfIndex> {
        IfIndex::new(self.device)
    }

    /// Its address.
    #[must_use]
    pub const fn addr(self) -> UnderlayAddr {
        self.addr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        assert_eq!(size_of::<Managed>(), 20);
    }
}
