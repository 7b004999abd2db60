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
    /// Id for an IPv4 packet that may be fragmented on its way ([`ip_id`]), else 0; host byte order.
    pub id: u16,
    /// TOS byte, TTL and don't-fragment bit, or traffic class and hop limit.
    pub traits: Traits,
    /// The packet mark for the VXLAN header to carry; 0: none.
    pub mark: u32,
}

/// An id made from a random number, for an IPv4 packet that may be fragmented on its way.
///
/// It is not 0, nor so large that it would become 0 where the kernel counts it up for the segments of a packet of several.
/// An atomic packet needs none (RFC 6864, section 4.1).
#[inline(always)]
#[must_use]
pub const fn ip_id(random: u32) -> u16 {
    (((random & 0xffff) * 0xff00) >> 16) as u16 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_not_zero_even_when_counted_up() {
        assert_eq!((ip_id(0), ip_id(u32::MAX)), (1, 0xff00));
    }
}
