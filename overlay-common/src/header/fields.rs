//! What is patched into prebuilt outer headers.

use super::traits::Traits;
use crate::Vni;

/// What differs from frame to frame.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// The segment.
    pub vni: Vni,
    /// Bytes of the inner frame.
    pub frame_len: u32,
    /// A hash of the inner flow: it chooses the IPv6 flow label.
    pub flow_hash: u32,
    /// UDP source port, host byte order.
    pub source_port: u16,
    /// Id for an IPv4 packet that may be fragmented on its way, host byte order: [`ip_id`].
    pub id: u16,
    /// TOS byte, TTL and don't-fragment bit, or traffic class and hop limit.
    pub traits: Traits,
    /// The packet mark for the VXLAN header to carry; 0: none.
    pub mark: u32,
}

/// The id of an IPv4 packet with those traits: 0 for one that nobody may fragment (RFC 6864, section 4.1), else one out of
/// `clock`, the lower bits of a clock in nanoseconds.
///
/// That is not 0, nor so large that it would become 0 where the kernel counts it up for the segments of a packet of several.
#[inline(always)]
#[must_use]
pub const fn ip_id(traits: Traits, clock: u32) -> u16 {
    if traits.df() == 0 { (((clock & 0xffff) * 0xff00) >> 16) as u16 + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_not_zero_even_when_counted_up() {
        for (clock, expected) in [(0, 1), (u32::MAX, 0xff00)] {
            assert_eq!(ip_id(Traits::new(0, 64, 0), clock), expected);
            assert_eq!(ip_id(Traits::new(0, 64, 0x40), clock), 0);
        }
    }
}
