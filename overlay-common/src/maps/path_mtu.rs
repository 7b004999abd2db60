//! `PATH_MTUS`: what the underlay said about packets that were too big for it.

use bytemuck::{Pod, Zeroable};

use super::map_data;

/// The map's name: an array of [`PathMtu`], indexed by [`crate::VtepId::index`].
pub const NAME: &str = "PATH_MTUS";

/// One slot for each remote VTEP.
pub const MAX_ENTRIES: usize = super::vtep::MAX_ENTRIES;

/// For how many seconds the underlay's word counts, as the kernel has it (`net.ipv4.route.mtu_expires`). Then larger
/// packets are tried again (RFC 1191, section 6.3).
pub const LIFETIME_S: u64 = 600;

/// The smallest MTU that is taken from ICMP; one below counts as this. As the kernel has it (`net.ipv4.route.min_pmtu`),
/// so that a forged message cannot bring traffic to a halt. Packets of IPv6 workloads that none of them can make smaller
/// ([`IPV6_MIN`]) leave whatever was told.
pub const IPV4_MIN: u16 = 552;

/// The smallest MTU of IPv6 (RFC 8200, section 5); a message that names a smaller one is discarded (RFC 8201, section 4).
pub const IPV6_MIN: u16 = 1280;

const NS_PER_S: u64 = 1_000_000_000;

/// The MTU of the path to a remote VTEP, for a while. The default, all zeros, is what the map holds for one that nothing
/// was said about.
///
/// One word, so that no CPU ever sees half of it: the second in which it ends to count, and 16 bits of MTU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PathMtu {
    word: u64,
}

map_data!(PathMtu);

impl PathMtu {
    /// `mtu` bytes of outer IP packet, as was learned at `now`, nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn new(mtu: u16, now: u64) -> Self {
        Self { word: (now / NS_PER_S + LIFETIME_S) << 16 | mtu as u64 }
    }

    /// The largest outer IP packet, in bytes, if that still counts at `now`.
    #[inline(always)]
    #[must_use]
    pub const fn mtu(self, now: u64) -> Option<u16> {
        if now / NS_PER_S < self.word >> 16 { Some(self.word as u16) } else { None }
    }

    /// For how many seconds it still counts at `now`.
    #[must_use]
    pub const fn seconds_left(self, now: u64) -> u64 {
        (self.word >> 16).saturating_sub(now / NS_PER_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_for_a_while() {
        let now = 5 * NS_PER_S + 7;
        let path = PathMtu::new(1400, now);
        assert_eq!(path.mtu(now), Some(1400));
        assert_eq!(path.mtu((4 + LIFETIME_S) * NS_PER_S), Some(1400));
        assert_eq!(path.mtu((5 + LIFETIME_S) * NS_PER_S), None);
        assert_eq!(path.seconds_left(now), LIFETIME_S);
        assert_eq!(path.seconds_left(u64::MAX), 0);
        assert_eq!(PathMtu::default().mtu(0), None);
        assert_eq!(PathMtu::new(u16::MAX, 0).mtu(0), Some(u16::MAX));
        assert_eq!(size_of::<PathMtu>(), 8);
    }
}
