//! What inner and outer IP headers have in common, and one may take over from the other.

use super::{eth::Payload, policy::DONT_FRAGMENT};

/// Bytes of an IPv4 or IPv6 header that are looked at.
pub const LOOKED_AT: usize = 10;

/// What inner and outer IP headers have in common. All zeros for a frame without an IP header.
///
/// One word, since the programs have little room to keep it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits(u32);

impl Traits {
    /// What a frame that is not IP has.
    pub const NONE: Self = Self(0);

    /// From TOS byte or traffic class, TTL or hop limit, and 0 or [`DONT_FRAGMENT`].
    #[inline(always)]
    #[must_use]
    pub const fn new(tos: u8, ttl: u8, df: u8) -> Self {
        Self(u32::from_le_bytes([tos, ttl, df, 0]))
    }

    /// The IPv4 TOS byte or IPv6 traffic class: DSCP and ECN.
    #[inline(always)]
    #[must_use]
    pub const fn tos(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// TTL or hop limit.
    #[inline(always)]
    #[must_use]
    pub const fn ttl(self) -> u8 {
        self.0.to_le_bytes()[1]
    }

    /// 0, or [`DONT_FRAGMENT`]: set in the IPv4 header, or it is IPv6.
    #[inline(always)]
    #[must_use]
    pub const fn df(self) -> u8 {
        self.0.to_le_bytes()[2]
    }

    /// Reads the first bytes of what the frame carries as `payload`; [`Self::NONE`] where they are no IP header.
    #[inline(always)]
    #[must_use]
    pub const fn read(payload: Payload, bytes: &[u8; LOOKED_AT]) -> Self {
        match (payload, bytes[0] >> 4) {
            (Payload::Ipv4, 4) => Self::new(bytes[1], bytes[8], bytes[6] & DONT_FRAGMENT),
            (Payload::Ipv6, 6) => Self::new(traffic_class([bytes[0], bytes[1]]), bytes[7], DONT_FRAGMENT),
            _ => Self::NONE,
        }
    }
}

/// The traffic class out of the first two bytes of an IPv6 header (RFC 8200, section 3).
#[inline(always)]
#[must_use]
pub const fn traffic_class([first, second]: [u8; 2]) -> u8 {
    (first << 4) | (second >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind() {
        let ipv4 = [0x45, 0xb9, 0, 0, 0, 0, 0x40, 0, 17, 6];
        let ipv6 = [0x6b, 0x90, 0, 0, 0, 0, 17, 9, 0, 0];
        assert_eq!(Traits::read(Payload::Ipv4, &ipv4), Traits::new(0xb9, 17, 0x40));
        assert_eq!(Traits::read(Payload::Ipv6, &ipv6), Traits::new(0xb9, 9, 0x40));
        assert_eq!(Traits::read(Payload::Ipv4, &ipv6), Traits::NONE);
        assert_eq!(Traits::read(Payload::Ipv6, &ipv4), Traits::NONE);
        assert_eq!(Traits::read(Payload::Other, &ipv4), Traits::NONE);
    }
}
