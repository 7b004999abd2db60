//! IPv4 (RFC 791) as [`network_types`] has it, and the questions we ask of an outer header.

pub use network_types::ip::{IpProto, Ipv4Hdr};

use super::checksum;

/// Bytes of the header without options.
pub const LEN: usize = Ipv4Hdr::LEN;

/// Bytes of the header with the most options there can be.
pub const MAX_LEN: usize = 60;

/// More-fragments bit of the flags-and-offset field, host byte order.
const MORE_FRAGMENTS: u16 = 0x2000;
/// The offset bits of that field.
const OFFSET: u16 = 0x1fff;

/// How a packet is fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// Not at all.
    Whole,
    /// The first fragment: its payload starts with the transport header.
    First,
    /// A later fragment: it has no transport header.
    Later,
}

/// Bytes of the header with its options; `None` where version or length say that it is no IPv4 header.
#[inline(always)]
#[must_use]
pub const fn header_len(header: &Ipv4Hdr) -> Option<usize> {
    let len = ((header.vihl & 0x0f) as usize) * 4;
    if header.vihl >> 4 == 4 && len >= LEN { Some(len) } else { None }
}

/// Whether it carries UDP.
#[inline(always)]
#[must_use]
pub const fn is_udp(header: &Ipv4Hdr) -> bool {
    header.proto == IpProto::Udp as u8
}

/// How the packet is fragmented.
#[inline(always)]
#[must_use]
pub const fn fragment(header: &Ipv4Hdr) -> Fragment {
    let field = u16::from_be_bytes(header.frags);
    if field & OFFSET != 0 {
        Fragment::Later
    } else if field & MORE_FRAGMENTS != 0 {
        Fragment::First
    } else {
        Fragment::Whole
    }
}

/// The total length field: bytes of header and payload, host byte order.
#[inline(always)]
#[must_use]
pub const fn total_len(header: &Ipv4Hdr) -> u16 {
    u16::from_be_bytes(header.tot_len)
}

/// Whether the checksum over the 20 fixed bytes and the sum of the option bytes is right.
///
/// `options` is [`checksum::sum`] over the bytes that follow the fixed header.
#[inline(always)]
#[must_use]
pub fn checksum_is_right(header: &[u8; LEN], options: u32) -> bool {
    checksum::fold(checksum::sum(header) + options) == 0xffff
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(vihl: u8, frags: u16) -> Ipv4Hdr {
        Ipv4Hdr {
            vihl,
            tos: 0,
            tot_len: [0x12, 0x34],
            id: [0; 2],
            frags: frags.to_be_bytes(),
            ttl: 64,
            proto: 17,
            check: [0; 2],
            src_addr: [0; 4],
            dst_addr: [0; 4],
        }
    }

    #[test]
    fn lengths() {
        assert_eq!(header_len(&header(0x45, 0)), Some(20));
        assert_eq!(header_len(&header(0x4f, 0)), Some(MAX_LEN));
        assert_eq!(header_len(&header(0x44, 0)), None);
        assert_eq!(header_len(&header(0x65, 0)), None);
        assert_eq!(total_len(&header(0x45, 0)), 0x1234);
    }

    #[test]
    fn fragments() {
        assert_eq!(fragment(&header(0x45, 0x0000)), Fragment::Whole);
        assert_eq!(fragment(&header(0x45, 0x4000)), Fragment::Whole);
        assert_eq!(fragment(&header(0x45, 0x2000)), Fragment::First);
        assert_eq!(fragment(&header(0x45, 0x2001)), Fragment::Later);
        assert_eq!(fragment(&header(0x45, 0x0001)), Fragment::Later);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_breaks_the_checksum(mut bytes: [u8; LEN], bit in 0..LEN * 8) {
            bytes[10..12].fill(0);
            let check = !checksum::fold(checksum::sum(&bytes));
            bytes[10..12].copy_from_slice(&check.to_be_bytes());
            prop_assert!(checksum_is_right(&bytes, 0));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!checksum_is_right(&bytes, 0));
        }
    }
}
