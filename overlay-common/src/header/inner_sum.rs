//! What a packet adds to a checksum around it, found without its payload: a transport checksum that is right, or that
//! somebody will make right later, makes up for everything it covers but the pseudo header (the kernel's `lco_csum` in
//! `include/linux/skbuff.h` rests on the same).

use super::{
    checksum,
    ipv4::{self, Fragment, IpProto, Ipv4Hdr},
    ipv6,
};

/// What a whole IPv4 packet with TCP or UDP inside adds: `header` is its header without options, `fixed` the same in
/// bytes, `len` the bytes that the packet has. Not folded. `None` where there is no such checksum, or where more
/// follows the packet.
///
/// UDP must not do without a checksum.
#[inline(always)]
#[must_use]
pub fn ipv4(header: &Ipv4Hdr, fixed: &[u8; ipv4::LEN], len: usize) -> Option<u32> {
    let header_len = ipv4::header_len(header)?;
    let total_len = usize::from(ipv4::total_len(header));
    if total_len != len || ipv4::fragment(header) != Fragment::Whole || !has_checksum(header.proto) {
        return None;
    }
    let (_, addresses) = fixed.split_at(12);
    // The header's own checksum makes up for the header.
    Some(without(addresses, total_len.checked_sub(header_len)?, header.proto))
}

/// The same for IPv6 with TCP or UDP right behind its `header`.
#[inline(always)]
#[must_use]
pub fn ipv6(header: &[u8; ipv6::LEN], len: usize) -> Option<u32> {
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if payload_len + ipv6::LEN != len || header[0] >> 4 != 6 || !has_checksum(header[6]) {
        return None;
    }
    let (_, addresses) = header.split_at(8);
    Some(checksum::sum(header) + without(addresses, payload_len, header[6]))
}

#[inline(always)]
const fn has_checksum(protocol: u8) -> bool {
    protocol == IpProto::Tcp as u8 || protocol == IpProto::Udp as u8
}

/// What sums up to nothing with a pseudo header.
#[inline(always)]
fn without(addresses: &[u8], len: usize, protocol: u8) -> u32 {
    u32::from(!checksum::fold(checksum::sum(addresses) + len as u32 + u32::from(protocol)))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// A segment with a right checksum for a packet between `addresses`.
    fn segment(addresses: &[u8], protocol: u8, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = if protocol == IpProto::Tcp as u8 { 16 } else { 6 };
        bytes[at..at + 2].fill(0);
        let sum = checksum::sum(addresses) + bytes.len() as u32 + u32::from(protocol) + checksum::sum(&bytes);
        bytes[at..at + 2].copy_from_slice(&(!checksum::fold(sum)).to_be_bytes());
        bytes
    }

    /// Sums are the same but for the two ways to write zero.
    fn same(one: u32, other: u32) -> bool {
        u32::from(checksum::fold(one)) % 0xffff == u32::from(checksum::fold(other)) % 0xffff
    }

    fn protocol() -> impl Strategy<Value = u8> {
        prop_oneof![Just(IpProto::Tcp as u8), Just(IpProto::Udp as u8)]
    }

    fn payload() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 20..1500usize)
    }

    proptest! {
        #[test]
        fn over_ipv4(addresses: [u8; 8], protocol in protocol(), bytes in payload()) {
            let segment = segment(&addresses, protocol, bytes);
            let mut fixed = [0; ipv4::LEN];
            (fixed[0], fixed[8], fixed[9]) = (0x45, 64, protocol);
            let total_len = ipv4::LEN + segment.len();
            fixed[2..4].copy_from_slice(&(total_len as u16).to_be_bytes());
            fixed[12..].copy_from_slice(&addresses);
            let check = !checksum::fold(checksum::sum(&fixed));
            fixed[10..12].copy_from_slice(&check.to_be_bytes());
            let header = Ipv4Hdr {
                vihl: 0x45,
                tos: 0,
                tot_len: (total_len as u16).to_be_bytes(),
                id: [0; 2],
                frags: [0; 2],
                ttl: 64,
                proto: protocol,
                check: check.to_be_bytes(),
                src_addr: [0; 4],
                dst_addr: [0; 4],
            };
            let found = ipv4(&header, &fixed, total_len).unwrap();
            prop_assert!(same(found, checksum::sum(&fixed) + checksum::sum(&segment)));
            prop_assert_eq!(ipv4(&header, &fixed, total_len + 1), None);
            let first = Ipv4Hdr { frags: [0x20, 0], ..header };
            prop_assert_eq!(ipv4(&first, &fixed, total_len), None);
        }

        #[test]
        fn over_ipv6(addresses: [u8; 32], protocol in protocol(), bytes in payload()) {
            let segment = segment(&addresses, protocol, bytes);
            let mut header = [0; ipv6::LEN];
            (header[0], header[6], header[7]) = (0x60, protocol, 64);
            header[4..6].copy_from_slice(&(segment.len() as u16).to_be_bytes());
            header[8..].copy_from_slice(&addresses);
            let found = ipv6(&header, ipv6::LEN + segment.len()).unwrap();
            prop_assert!(same(found, checksum::sum(&header) + checksum::sum(&segment)));
            prop_assert_eq!(ipv6(&header, ipv6::LEN + segment.len() + 1), None);
            header[6] = 44;
            prop_assert_eq!(ipv6(&header, ipv6::LEN + segment.len()), None);
        }
    }
}
