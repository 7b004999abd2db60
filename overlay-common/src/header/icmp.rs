//! ICMP (RFC 792) and `ICMPv6` (RFC 4443), as far as they tell of packets that are too big.

use network_types::ip::IpProto;

use super::{checksum, eth, ipv4, ipv6};
use crate::Family;

/// Bytes of the header of either, the MTU field included.
pub const LEN: usize = 8;

/// Destination unreachable (RFC 792).
const UNREACHABLE: u8 = 3;
/// Its code: fragmentation needed, and don't-fragment set (RFC 1191).
const FRAGMENTATION_NEEDED: u8 = 4;
/// Packet too big (RFC 4443, section 3.2).
const PACKET_TOO_BIG: u8 = 2;

/// Bytes of a too-big packet that an answer over IPv4 quotes: as many as it can without exceeding 576 (RFC 1812, section
/// 4.3.2.3).
pub const IPV4_QUOTE_LEN: usize = 576 - ipv4::LEN - LEN;
/// The same over IPv6: without exceeding the smallest MTU (RFC 4443, section 3.2).
pub const IPV6_QUOTE_LEN: usize = 1280 - ipv6::LEN - LEN;

/// Bytes of headers in front of the quote over IPv4, from Ethernet on.
pub const IPV4_HEADERS_LEN: usize = eth::LEN + ipv4::LEN + LEN;
/// The same over IPv6.
pub const IPV6_HEADERS_LEN: usize = eth::LEN + ipv6::LEN + LEN;

/// Bytes of the longest answer over IPv4, from Ethernet on.
pub const IPV4_FRAME_LEN: usize = IPV4_HEADERS_LEN + IPV4_QUOTE_LEN;
/// The same over IPv6.
pub const IPV6_FRAME_LEN: usize = IPV6_HEADERS_LEN + IPV6_QUOTE_LEN;

/// Hops that an answer may take.
const HOPS: u8 = 64;

/// Whether a header says that a packet was too big.
#[inline(always)]
#[must_use]
pub const fn is_too_big(family: Family, kind: u8, code: u8) -> bool {
    match family {
        Family::Ipv4 => kind == UNREACHABLE && code == FRAGMENTATION_NEEDED,
        Family::Ipv6 => kind == PACKET_TOO_BIG,
    }
}

/// Whether a message of that type is an error, about which no error must be sent (RFC 1122, section 3.2.2; RFC 4443,
/// section 2.4).
#[inline(always)]
#[must_use]
pub const fn is_error(family: Family, kind: u8) -> bool {
    match family {
        // Unreachable, source quench, redirect, time exceeded, parameter problem.
        Family::Ipv4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        Family::Ipv6 => kind < 128,
    }
}

/// Whether an answer may go to or come from an IPv4 address: not one of nobody, of a host itself, of a group or of
/// everybody (RFC 1122, section 3.2.2).
#[inline(always)]
#[must_use]
pub const fn is_ipv4_host(addr: [u8; 4]) -> bool {
    !(addr[0] == 0 || addr[0] == 127 || addr[0] >= 224)
}

/// The same for IPv6 (RFC 4443, section 2.4).
#[inline(always)]
#[must_use]
pub const fn is_ipv6_host(addr: [u8; 16]) -> bool {
    let [first, middle @ .., last] = addr;
    let mut index = 0;
    let mut any = first;
    while index < middle.len() {
        any |= middle[index];
        index += 1;
    }
    first != 0xff && !(any == 0 && last <= 1)
}

/// The headers of an answer over IPv4: `source` tells `destination` that of its packet, `quoted` bytes of which follow,
/// only `mtu` bytes fit. The ICMP checksum is left 0.
#[inline(always)]
#[must_use]
pub fn ipv4_too_big(source: [u8; 4], destination: [u8; 4], quoted: u16, mtu: u16) -> [u8; ipv4::LEN + LEN] {
    let mut out = [0; ipv4::LEN + LEN];
    let len = quoted + (ipv4::LEN + LEN) as u16;
    out[0] = 0x45;
    [out[2], out[3]] = len.to_be_bytes();
    // An atomic packet needs no id (RFC 6864, section 4.1).
    out[6] = 0x40;
    out[8] = HOPS;
    out[9] = IpProto::Icmp as u8;
    [out[12], out[13], out[14], out[15]] = source;
    [out[16], out[17], out[18], out[19]] = destination;
    let check = !checksum::fold(checksum::sum(&out[..ipv4::LEN]));
    [out[10], out[11]] = check.to_be_bytes();
    (out[20], out[21]) = (UNREACHABLE, FRAGMENTATION_NEEDED);
    [out[26], out[27]] = mtu.to_be_bytes();
    out
}

/// Where the ICMP checksum is in the headers of an answer over IPv4.
pub const IPV4_CHECKSUM_AT: usize = ipv4::LEN + 2;

/// The headers of an answer over IPv6, as [`ipv4_too_big`]'s.
#[inline(always)]
#[must_use]
pub fn ipv6_too_big(source: [u8; 16], destination: [u8; 16], quoted: u16, mtu: u16) -> [u8; ipv6::LEN + LEN] {
    let mut out = [0; ipv6::LEN + LEN];
    let len = quoted + LEN as u16;
    out[0] = 0x60;
    [out[4], out[5]] = len.to_be_bytes();
    out[6] = IpProto::Ipv6Icmp as u8;
    out[7] = HOPS;
    out[8..24].copy_from_slice(&source);
    out[24..40].copy_from_slice(&destination);
    out[40] = PACKET_TOO_BIG;
    [out[46], out[47]] = mtu.to_be_bytes();
    out
}

/// Where the ICMP checksum is in the headers of an answer over IPv6.
pub const IPV6_CHECKSUM_AT: usize = ipv6::LEN + 2;

/// The part of the IPv6 pseudo header behind the addresses, for a message that quotes that many bytes (RFC 8200, section
/// 8.1).
#[inline(always)]
#[must_use]
pub const fn ipv6_pseudo_tail(quoted: u16) -> [u8; 8] {
    let [high, low] = (quoted + LEN as u16).to_be_bytes();
    [0, 0, high, low, 0, 0, 0, IpProto::Ipv6Icmp as u8]
}

/// The MTU to try for a packet of `len` bytes that was too big for a router that does not say more: the next of the common
/// ones (RFC 1191, section 7.1).
#[inline(always)]
#[must_use]
pub const fn plateau_below(len: u16) -> u16 {
    match len {
        32001.. => 32000,
        17915.. => 17914,
        8167.. => 8166,
        4353.. => 4352,
        2003.. => 2002,
        1493.. => 1492,
        1007.. => 1006,
        _ => 508,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_an_answer_over_ipv4() {
        #[rustfmt::skip]
        let expected = [
            0x45, 0, 0x02, 0x40,  0, 0, 0x40, 0,  64, 1, 0x24, 0xbb,  10, 0, 0, 2,  10, 0, 0, 1,
            3, 4, 0, 0,  0, 0, 0x05, 0xaa,
        ];
        let quoted = IPV4_QUOTE_LEN as u16;
        assert_eq!(ipv4_too_big([10, 0, 0, 2], [10, 0, 0, 1], quoted, 1450), expected);
        assert_eq!(checksum::fold(checksum::sum(&expected[..ipv4::LEN])), 0xffff);
    }

    #[test]
    fn bytes_of_an_answer_over_ipv6() {
        let out = ipv6_too_big([1; 16], [2; 16], IPV6_QUOTE_LEN as u16, 1450);
        assert_eq!(out[..8], [0x60, 0, 0, 0, 0x04, 0xd8, 58, 64]);
        assert_eq!((&out[8..24], &out[24..40]), (&[1; 16][..], &[2; 16][..]));
        assert_eq!(out[40..], [2, 0, 0, 0, 0, 0, 0x05, 0xaa]);
        assert_eq!(ipv6_pseudo_tail(1232), [0, 0, 0x04, 0xd8, 0, 0, 0, 58]);
    }

    #[test]
    fn hosts() {
        assert!(is_ipv4_host([10, 0, 0, 1]) && is_ipv4_host([223, 255, 255, 255]));
        for addr in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255]] {
            assert!(!is_ipv4_host(addr), "{addr:?}");
        }
        let mut addr = [0; 16];
        assert!(!is_ipv6_host(addr));
        addr[15] = 1;
        assert!(!is_ipv6_host(addr));
        addr[15] = 2;
        assert!(is_ipv6_host(addr));
        (addr[0], addr[15]) = (0xfd, 0);
        assert!(is_ipv6_host(addr));
        addr[0] = 0xff;
        assert!(!is_ipv6_host(addr));
    }

    #[test]
    fn plateaus_are_below() {
        for len in 509..=u16::MAX {
            assert!(plateau_below(len) < len);
        }
        assert_eq!(plateau_below(1500), 1492);
        assert_eq!(plateau_below(1492), 1006);
    }
}
