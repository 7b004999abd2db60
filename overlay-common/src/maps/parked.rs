//! `PARKED` and `PARKED_VLANS`: stations and VLANs that are wanted behind ports whose devices are not there. No program
//! reads them.

use bytemuck::{Pod, Zeroable};

use super::{device::DeviceName, fdb::FdbEntry, map_data};
use crate::Vid;

/// The map's name: a hash of [`super::fdb::FdbKey`] to [`Parked`].
pub const NAME: &str = "PARKED";

/// The name of the VLANs' map: a hash of [`ParkedVlan`] to VNI (`u32`). It has room for as many as trunk ports can have.
pub const VLANS_NAME: &str = "PARKED_VLANS";

/// Stations that can be parked.
pub const MAX_ENTRIES: usize = 1 << 16;

/// A station that waits for a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Parked {
    port: DeviceName,
    entry: FdbEntry,
}

/// A VLAN that waits for a trunk port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct ParkedVlan {
    port: DeviceName,
    vid: u32,
}

map_data!(Parked, ParkedVlan);

impl Parked {
    /// A station behind the port of that name, as it stood in the FDB.
    #[must_use]
    pub const fn new(port: DeviceName, entry: FdbEntry) -> Self {
        Self { port, entry }
    }

    /// The port that it waits for.
    #[must_use]
    pub const fn port(&self) -> DeviceName {
        self.port
    }

    /// The entry as it stood in the FDB. The device it names is not there any more.
    #[must_use]
    pub const fn entry(&self) -> &FdbEntry {
        &self.entry
    }
}

impl ParkedVlan {
    /// The VLAN `vid` of the trunk port of that name.
    #[must_use]
    pub const fn new(port: DeviceName, vid: Vid) -> Self {
        Self { port, vid: vid.get() as u32 }
    }

    /// The trunk port that it waits for.
    #[must_use]
    pub const fn port(self) -> DeviceName {
        self.port
    }

    /// The VLAN.
    #[must_use]
    pub const fn vid(self) -> Option<Vid> {
        Vid::new(self.vid as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_that_waits() {
        let (port, vid) = (DeviceName::new("t1").unwrap(), Vid::new(4094).unwrap());
        let key = ParkedVlan::new(port, vid);
        assert_eq!((key.port(), key.vid()), (port, Some(vid)));
        assert_eq!(size_of::<ParkedVlan>(), 20);
    }
}
