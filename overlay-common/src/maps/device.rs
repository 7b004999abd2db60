//! `DEVICES`: the devices that are wanted as uplinks and ports, whether they are there or not. No program reads it.

use core::str;

use bytemuck::{Pod, Zeroable};

use super::{
    map_data,
    port::{self, Port},
    uplink,
};
use crate::{IfIndex, UnderlayAddr};

/// The map's name: a hash of [`DeviceName`] to [`Device`].
pub const NAME: &str = "DEVICES";

/// Devices an instance can want.
pub const MAX_ENTRIES: usize = port::MAX_ENTRIES + uplink::MAX_ENTRIES;

/// Bytes of a device's name, the zero behind it included (`IFNAMSIZ` of `include/uapi/linux/if.h`).
const NAME_LEN: usize = 16;

/// A device's name, padded with zeros.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct DeviceName([u8; NAME_LEN]);

/// How an uplink shall be served besides TC.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpChoice {
    /// By whatever measures faster on the device.
    Auto = 0,
    /// By the driver's XDP hook.
    Native = 1,
    /// By the generic XDP hook.
    Generic = 2,
    /// By TC alone.
    Off = 3,
}

/// What a device is wanted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An uplink.
    Uplink(XdpChoice),
    /// A port, with these settings.
    Port(Port),
}

/// A wanted device.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Device {
    index: u32,
    is_port: u8,
    xdp: u8,
    created: u8,
    pad: u8,
    port: Port,
    locals: [UnderlayAddr; 2],
}

map_data!(DeviceName, Device);

impl DeviceName {
    /// A name as the kernel takes it: 1 to 15 bytes. `None` for any other.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; NAME_LEN];
        bytes[..NAME_LEN - 1].get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        (!name.is_empty()).then_some(Self(bytes))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&byte| byte == 0).unwrap_or(NAME_LEN);
        str::from_utf8(&self.0[..len]).unwrap_or_default()
    }
}

impl Device {
    /// A device that is not there yet.
    #[must_use]
    pub fn new(role: Role) -> Self {
        match role {
            Role::Uplink(choice) => Self { xdp: choice as u8, ..Self::zeroed() },
            Role::Port(port) => Self { is_port: 1, port, ..Self::zeroed() },
        }
    }

    /// The same, as the device with that index serves it; `None`: none does.
    #[must_use]
    pub fn with_index(self, index: Option<IfIndex>) -> Self {
        Self { index: index.map_or(0, IfIndex::get), ..self }
    }

    /// The same as a port with other settings.
    #[must_use]
    pub const fn with_port(self, port: Port) -> Self {
        Self { port, ..self }
    }

    /// The same, noting that the device was made for the port, and goes with it.
    #[must_use]
    pub const fn with_created(self) -> Self {
        Self { created: 1, ..self }
    }

    /// The same, noting the IPv4 and the IPv6 address of the local VTEP that are the uplink's.
    #[must_use]
    pub fn with_locals(self, locals: [Option<UnderlayAddr>; 2]) -> Self {
        Self { locals: locals.map(Option::unwrap_or_default), ..self }
    }

    /// What it is wanted as.
    #[must_use]
    pub const fn role(&self) -> Role {
        if self.is_port != 0 {
            return Role::Port(self.port);
        }
        Role::Uplink(match self.xdp {
            1 => XdpChoice::Native,
            2 => XdpChoice::Generic,
            3 => XdpChoice::Off,
            _ => XdpChoice::Auto,
        })
    }

    /// The device that serves it; `None`: none does.
    #[must_use]
    pub const fn index(&self) -> Option<IfIndex> {
        IfIndex::new(self.index)
    }

    /// Whether the device was made for the port.
    #[must_use]
    pub const fn is_created(&self) -> bool {
        self.created != 0
    }

    /// The IPv4 and the IPv6 address of the local VTEP that are the uplink's.
    #[must_use]
    pub fn locals(&self) -> [Option<UnderlayAddr>; 2] {
        self.locals.map(|addr| (addr != UnderlayAddr::default()).then_some(addr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Vni, maps::port::PortKind};

    #[test]
    fn names() {
        for name in ["a", "eth0", "fifteen-letters"] {
            assert_eq!(DeviceName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "sixteen--letters"] {
            assert_eq!(DeviceName::new(name), None);
        }
    }

    #[test]
    fn roles() {
        for choice in [XdpChoice::Auto, XdpChoice::Native, XdpChoice::Generic, XdpChoice::Off] {
            assert_eq!(Device::new(Role::Uplink(choice)).role(), Role::Uplink(choice));
        }
        let port = Port::new(Vni::MAX, PortKind::VethPeer);
        let device = Device::new(Role::Port(port)).with_index(IfIndex::new(7)).with_created();
        assert_eq!(device.role(), Role::Port(port));
        assert_eq!(device.index(), IfIndex::new(7));
        assert!(device.is_created());
        assert_eq!(device.locals(), [None, None]);
        assert_eq!(device.with_index(None).index(), None);
    }

    #[test]
    fn layout() {
        assert_eq!(size_of::<Device>(), 8 + size_of::<Port>() + 32);
    }
}
