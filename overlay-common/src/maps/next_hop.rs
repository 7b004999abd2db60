//! `NEXT_HOPS`: how a packet leaves for a remote VTEP, as the kernel's FIB last said.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{Family, IfIndex, MacAddr, header::eth};

/// The map's name: a per-CPU array of [`NextHop`], indexed by [`crate::VtepId::index`]. Each CPU asks for itself, so
/// that none ever sees half an answer.
pub const NAME: &str = "NEXT_HOPS";

/// How long an answer of the FIB is used, in nanoseconds. A route or neighbour that changes is followed within this,
/// with no process of ours alive.
pub const FRESH_NS: u64 = 100_000_000;

/// The way to a remote VTEP.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct NextHop {
    ethernet: [u8; eth::LEN],
    mtu: u16,
    uplink: u32,
    pad: u32,
    fresh_until: u64,
}

map_data!(NextHop);

impl NextHop {
    /// No way known over IPv4.
    pub const NONE_IPV4: Self = Self::none(Family::Ipv4);
    /// No way known over IPv6.
    pub const NONE_IPV6: Self = Self::none(Family::Ipv6);

    /// No addresses, never fresh. The Ethernet header says all the same what follows.
    const fn none(family: Family) -> Self {
        let unknown = MacAddr::new([0; 6]);
        Self { ethernet: eth::header(unknown, unknown, family), mtu: 0, uplink: 0, pad: 0, fresh_until: 0 }
    }

    /// Out of `uplink` with the Ethernet header `ethernet`; `mtu` bounds the outer IP packet, in bytes.
    #[inline(always)]
    #[must_use]
    pub fn new(uplink: IfIndex, ethernet: [u8; eth::LEN], mtu: u16, now: u64) -> Self {
        Self { ethernet, mtu, uplink: uplink.get(), pad: 0, fresh_until: now + FRESH_NS }
    }

    /// Bounds the outer IP packet by `mtu` bytes as well.
    #[inline(always)]
    pub fn lower_mtu(&mut self, mtu: u16) {
        self.mtu = self.mtu.min(mtu);
    }

    /// Whether it may be used at `now`, nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn is_fresh(&self, now: u64) -> bool {
        now < self.fresh_until
    }

    /// Until when it may be used, nanoseconds of the monotonic clock.
    #[must_use]
    pub const fn fresh_until(&self) -> u64 {
        self.fresh_until
    }

    /// The device to send by; `None` for a slot never filled.
    #[inline(always)]
    #[must_use]
    pub const fn uplink(&self) -> Option<IfIndex> {
        IfIndex::new(self.uplink)
    }

    /// The outer Ethernet header.
    #[inline(always)]
    #[must_use]
    pub const fn ethernet(&self) -> &[u8; eth::LEN] {
        &self.ethernet
    }

    /// The largest outer IP packet that fits the path, in bytes; 0 if not known.
    #[inline(always)]
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        self.mtu
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness() {
        let ethernet = eth::header(MacAddr::BROADCAST, MacAddr::default(), Family::Ipv4);
        let hop = NextHop::new(IfIndex::new(3).unwrap(), ethernet, 1500, 10);
        assert!(hop.is_fresh(10));
        assert!(!hop.is_fresh(10 + FRESH_NS));
        assert!(!NextHop::NONE_IPV4.is_fresh(0));
        assert_eq!(NextHop::NONE_IPV6.uplink(), None);
        assert_eq!(size_of::<NextHop>(), 32);
    }
}
