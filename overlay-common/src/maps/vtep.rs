//! `VTEPS`: the remote VTEPs.

use bytemuck::{Pod, Zeroable};

use super::{admitted, map_data};
use crate::{Family, IfIndex, UnderlayAddr, header::outer};

/// The map's name: an array of [`Vtep`], indexed by [`crate::VtepId::index`]; slot 0 stays empty.
pub const NAME: &str = "VTEPS";

/// Slots unless `up --max-vteps` says otherwise, the empty one included.
pub const MAX_ENTRIES: usize = slots(DEFAULT_NAMED) as usize;

/// Remote VTEPs that commands can name, unless `up --max-vteps` says otherwise.
pub const DEFAULT_NAMED: u32 = 3071;

/// The most remote VTEPs that commands can be let name: each has a [`crate::VtepId`] other than 0.
pub const MOST_NAMED: u32 = u16::MAX as u32 - admitted::MAX_FREE as u32;

/// Slots for as many VTEPs that commands name, those that come by themselves, and the empty one.
#[must_use]
pub const fn slots(named: u32) -> u32 {
    1 + admitted::MAX_FREE as u32 + named
}

/// How many VTEPs commands can name where there are so many slots.
#[must_use]
pub const fn named(slots: u32) -> u32 {
    slots.saturating_sub(self::slots(0))
}

const IPV4: u8 = 4;
const IPV6: u8 = 6;

/// It wants UDP checksums.
const UDP_CHECKSUM: u8 = 1;
/// Equal-cost routes lead to it.
const MULTIPATH: u8 = 1 << 7;
/// We had the kernel join the group that it is.
const JOINED: u8 = 1 << 6;

/// A remote VTEP: its address, and the outer headers of what is sent to it.
///
/// One indirection for every MAC behind it: moving its path is one write.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Vtep {
    remote: UnderlayAddr,
    local: UnderlayAddr,
    outer: outer::Template,
    uplink: u32,
    family: u8,
    flags: u8,
    pad: [u8; 2],
}

map_data!(Vtep);

impl Vtep {
    /// The VTEP at `remote`, which sees us as `local`; it listens on UDP port `port` (host byte order). `None` unless
    /// both addresses are of one family. `uplink` is the device that the route left by when it was made, for when the
    /// FIB does not answer.
    #[must_use]
    pub fn new(local: UnderlayAddr, remote: UnderlayAddr, port: u16, uplink: IfIndex) -> Option<Self> {
        let (outer, family) = match (local.to_ipv4(), remote.to_ipv4()) {
            (Some(local), Some(remote)) => (outer::Template::ipv4(local, remote, port), IPV4),
            (None, None) => (outer::Template::ipv6(local.bytes(), remote.bytes(), port), IPV6),
            _ => return None,
        };
        Some(Self { remote, local, outer, uplink: uplink.get(), family, flags: 0, pad: [0; 2] })
    }

    /// What an empty slot holds.
    #[inline(always)]
    #[must_use]
    pub fn none() -> Self {
        Self::zeroed()
    }

    /// The same, with UDP checksums in what is sent to it over IPv6, or without.
    #[must_use]
    pub const fn with_udp_checksum(mut self, on: bool) -> Self {
        self.flags = if on { self.flags | UDP_CHECKSUM } else { self.flags & !UDP_CHECKSUM };
        self
    }

    /// Whether it is to get UDP checksums.
    #[inline(always)]
    #[must_use]
    pub const fn udp_checksum(&self) -> bool {
        self.flags & UDP_CHECKSUM != 0
    }

    /// The same, with a note that we had the kernel join the group that it is, or without.
    #[must_use]
    pub const fn with_joined(mut self, on: bool) -> Self {
        self.flags = if on { self.flags | JOINED } else { self.flags & !JOINED };
        self
    }

    /// Whether we had the kernel join the group that it is.
    #[must_use]
    pub const fn is_joined(&self) -> bool {
        self.flags & JOINED != 0
    }

    /// Whether it is a multicast group of the underlay, which stands for all VTEPs that listen to it.
    #[inline(always)]
    #[must_use]
    pub const fn is_group(&self) -> bool {
        self.remote.is_multicast()
    }

    /// The VTEP at `remote`, an address of the same family, reached in the same way otherwise.
    #[inline(always)]
    #[must_use]
    pub fn with_remote(&self, remote: UnderlayAddr) -> Self {
        let outer = self.outer.with_remote(remote);
        Self { remote, outer, flags: self.flags & !JOINED, ..*self }
    }

    /// The family of its address and of ours.
    #[inline(always)]
    #[must_use]
    pub const fn family(&self) -> Family {
        if self.family == IPV6 { Family::Ipv6 } else { Family::Ipv4 }
    }

    /// The same, noting whether equal-cost routes lead to it.
    #[must_use]
    pub const fn with_multipath(mut self, on: bool) -> Self {
        self.flags = if on { self.flags | MULTIPATH } else { self.flags & !MULTIPATH };
        self
    }

    /// Whether equal-cost routes lead to it, among which flows are shared out.
    #[inline(always)]
    #[must_use]
    pub const fn is_multipath(&self) -> bool {
        self.flags & MULTIPATH != 0
    }

    /// The same VTEP, reached from the address `local` and by the device `uplink`. `None` unless the address is of the
    /// same family as its own.
    #[must_use]
    pub fn moved(&self, local: UnderlayAddr, uplink: IfIndex) -> Option<Self> {
        let outer = self.outer.with_local(local);
        (local.family() == self.remote.family()).then_some(Self {
            local,
            outer,
            uplink: uplink.get(),
            ..*self
        })
    }

    /// Whether a slot holds a VTEP.
    #[inline(always)]
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.remote != UnderlayAddr::default()
    }

    /// Its address.
    #[inline(always)]
    #[must_use]
    pub const fn remote(&self) -> UnderlayAddr {
        self.remote
    }

    /// Our address towards it.
    #[inline(always)]
    #[must_use]
    pub const fn local(&self) -> UnderlayAddr {
        self.local
    }

    /// The device that the route to it left by when the entry was made.
    #[inline(always)]
    #[must_use]
    pub const fn uplink(&self) -> Option<IfIndex> {
        IfIndex::new(self.uplink)
    }

    /// The outer headers of what is sent to it.
    #[inline(always)]
    #[must_use]
    pub const fn outer(&self) -> &outer::Template {
        &self.outer
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    fn vtep(local: &str, remote: &str) -> Vtep {
        let [local, remote] = [local, remote].map(|text| text.parse::<IpAddr>().unwrap().into());
        Vtep::new(local, remote, 4789, IfIndex::new(3).unwrap()).unwrap()
    }

    #[test]
    fn a_vtep_like_a_group() {
        for (local, group, remote) in
            [("10.0.0.1", "239.1.1.1", "10.0.0.2"), ("fd00::1", "ff05::1", "fd00::2")]
        {
            let addr: IpAddr = remote.parse().unwrap();
            let group = vtep(local, group).with_joined(true);
            assert!(group.is_group() && group.is_joined());
            assert_eq!(group.with_remote(addr.into()), vtep(local, remote));
        }
    }
}
