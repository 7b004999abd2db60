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

/// Of the hook: the device sends what XDP tells it to.
const SENDS: u8 = 1 << 7;
/// Of the hook: it also sends back what came by it.
const RETURNS: u8 = 1 << 6;

/// What a device does with what our native XDP program tells it to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpSending {
    /// Nothing.
    No,
    /// It sends what is redirected to it, by whichever device that came.
    Redirected,
    /// It sends that, and returns what came by it (`XDP_TX`), which costs less.
    Returned,
}

impl Uplink {
    /// An uplink with the address `mac`.
    #[must_use]
    pub const fn new(mac: MacAddr, xdp: XdpHook, why: XdpReason) -> Self {
        Self { mac, xdp: xdp as u8, why: why as u8 }
    }

    /// The same with another address.
    #[must_use]
    pub const fn with_mac(self, mac: MacAddr) -> Self {
        Self { mac, ..self }
    }

    /// The same, noting what the device does with what our native XDP program tells it to send; nothing without that.
    #[must_use]
    pub const fn with_sending(self, sending: XdpSending) -> Self {
        let flags = match (self.xdp(), sending) {
            (XdpHook::Native, XdpSending::Redirected) => SENDS,
            (XdpHook::Native, XdpSending::Returned) => SENDS | RETURNS,
            _ => 0,
        };
        Self { xdp: self.xdp & !(SENDS | RETURNS) | flags, ..self }
    }

    /// Whether our native XDP program runs on it, and the device sends what that redirects to it.
    #[inline(always)]
    #[must_use]
    pub const fn sends_from_xdp(&self) -> bool {
        self.xdp & SENDS != 0
    }

    /// Whether it also sends back what came by it, if told so.
    #[inline(always)]
    #[must_use]
    pub const fn returns_from_xdp(&self) -> bool {
        self.xdp & RETURNS != 0
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
        match self.xdp & !(SENDS | RETURNS) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_native_hook_sends() {
        for (hook, sends) in [(XdpHook::Off, false), (XdpHook::Native, true), (XdpHook::Generic, false)] {
            let uplink = Uplink::new(MacAddr::default(), hook, XdpReason::Virtual);
            for (sending, returns) in [(XdpSending::Redirected, false), (XdpSending::Returned, true)] {
                let with = uplink.with_sending(sending);
                assert_eq!((with.sends_from_xdp(), with.returns_from_xdp()), (sends, sends && returns));
                assert_eq!((with.xdp(), with.why(), with.has_xdp()), (hook, uplink.why(), uplink.has_xdp()));
                assert_eq!(with.with_sending(XdpSending::No), uplink);
            }
        }
    }
}
