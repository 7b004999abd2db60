//! `UPLINKS`: the devices that face the underlay.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::MacAddr;

/// The map's name: a hash of device index (`u32`) to [`Uplink`].
pub const NAME: &str = "UPLINKS";

/// Uplinks an instance can have.
pub const MAX_ENTRIES: usize = 64;

/// An uplink, and how it is served.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Uplink {
    mac: MacAddr,
    xdp: u8,
    why: u8,
}

map_data!(Uplink);

/// Which XDP hook an uplink is served by, besides TC.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpHook {
    /// None: TC does the whole job.
    Off = 0,
    /// The driver's.
    Native = 1,
    /// The generic one.
    Generic = 2,
}

/// Why an uplink is served the way it is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpReason {
    /// The user asked for it.
    Asked = 0,
    /// The hook is taken by a program that is not ours.
    Taken = 1,
    /// The driver has no native XDP.
    Unsupported = 2,
    /// On a virtual device TC alone measures faster.
    Virtual = 3,
    /// Native XDP on a NIC measures faster.
    Driver = 4,
}

impl Uplink {
    /// An uplink with the address `mac`.
    #[must_use]
    pub const fn new(mac: MacAddr, xdp: XdpHook, why: XdpReason) -> Self {
        Self { mac, xdp: xdp as u8, why: why as u8 }
    }

    /// The device's own address.
    #[inline(always)]
    #[must_use]
    pub const fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Whether our XDP program runs on it, so that its verdicts in the packet's metadata count.
    #[inline(always)]
    #[must_use]
    pub const fn has_xdp(&self) -> bool {
        self.xdp != XdpHook::Off as u8
    }

    /// The hook.
    #[must_use]
    pub const fn xdp(&self) -> XdpHook {
        match self.xdp {
            1 => XdpHook::Native,
            2 => XdpHook::Generic,
            _ => XdpHook::Off,
        }
    }

    /// Why that hook.
    #[must_use]
    pub const fn why(&self) -> XdpReason {
        match self.why {
            1 => XdpReason::Taken,
            2 => XdpReason::Unsupported,
            3 => XdpReason::Virtual,
            4 => XdpReason::Driver,
            _ => XdpReason::Asked,
        }
    }
}
