//! The UDP checksum of a tunnel packet that has its outer headers already (RFC 768; RFC 8200, section 8.1).

use super::{
    checksum, eth,
    ipv4::{self, IpProto},
    ipv6, outer, udp,
};

/// Where the IPv6 addresses begin: from there on, everything is summed up.
const ADDRESSES: usize = eth::LEN + 8;
const UDP: usize = eth::LEN + ipv6::LEN;
const LEN: usize = UDP + 4;
const CHECK: usize = UDP + 6;
const _: () = assert!(CHECK + 2 == UDP + udp::LEN);

/// Writes the UDP checksum into the outer `headers` of a packet over IPv6 whose inner frame sums up to `inner`, not
/// folded, below 2^31.
#[inline(always)]
pub fn write_ipv6(headers: &mut [u8; outer::IPV6_LEN], inner: u32) {
    [headers[CHECK], headers[CHECK + 1]] = [0; 2];
    let udp_len = u16::from_be_bytes([headers[LEN], headers[LEN + 1]]);
    let pseudo = u32::from(udp_len) + IpProto::Udp as u32;
    let (_, summed) = headers.split_at(ADDRESSES);
    let check = match !checksum::fold(checksum::sum(summed) + pseudo + inner) {
        // Zero says that there is none.
        0 => 0xffff,
        check => check,
    };
    [headers[CHECK], headers[CHECK + 1]] = check.to_be_bytes();
}

/// Leaves the UDP checksum open in the outer `headers` of a packet over IPv4 of `len` bytes that the kernel carries as one: the
/// sum of the pseudo header, from which the kernel makes that of each packet when it cuts this up (`udp_set_csum`, and
/// `__skb_udp_tunnel_segment` in `net/ipv4/udp_offload.c`).
#[inline(always)]
pub fn open_ipv4(headers: &mut [u8; outer::IPV4_LEN], len: u32) {
    const ADDRESSES: core::ops::Range<usize> = eth::LEN + 12..eth::LEN + ipv4::LEN;
    const CHECK: usize = eth::LEN + ipv4::LEN + 6;
    let sum = open(&headers[ADDRESSES], len.saturating_sub((eth::LEN + ipv4::LEN) as u32));
    [headers[CHECK], headers[CHECK + 1]] = sum;
}

/// The same over IPv6.
#[inline(always)]
pub fn open_ipv6(headers: &mut [u8; outer::IPV6_LEN], len: u32) {
    let sum = open(&headers[ADDRESSES..UDP], len.saturating_sub(UDP as u32));
    [headers[CHECK], headers[CHECK + 1]] = sum;
}

/// The sum of a pseudo header. A length may have more than 16 bits: the kernel takes all of them off again.
#[inline(always)]
fn open(addresses: &[u8], udp_len: u32) -> [u8; 2] {
    let len = (udp_len >> 16) + (udp_len & 0xffff);
    checksum::fold(checksum::sum(addresses) + len + IpProto::Udp as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        MacAddr, Vni,
        header::{fields::Fields, outer::Template, traits::Traits},
    };

    proptest! {
        #[test]
        fn is_what_the_headers_would_have_been_made_with(
            local: [u8; 16], remote: [u8; 16], port: u16, frame_len in 14u32..9000, flow_hash: u32, source_port: u16,
            vni in 1u32..=0x00ff_ffff, mark: u32, inner: u16, stale: [u8; 2],
        ) {
            let vni = Vni::new(vni).unwrap();
            let traits = Traits::new(0, 64, 0x40);
            let fields = Fields { vni, frame_len, flow_hash, source_port, id: 0, traits, mark };
            let mac = MacAddr::new([2, 0, 0, 0, 0, 1]);
            let ethernet = eth::header(mac, mac, crate::Family::Ipv6);
            let template = Template::ipv6(local, remote, port);
            let (mut made, mut written) = ([0; outer::IPV6_LEN], [0; outer::IPV6_LEN]);
            template.write_ipv6(&mut made, &ethernet, &fields, Some(inner));
            template.write_ipv6(&mut written, &ethernet, &fields, None);
            written[CHECK..CHECK + 2].copy_from_slice(&stale);
            write_ipv6(&mut written, u32::from(inner));
            prop_assert_eq!(made, written);
        }
    }

    #[test]
    fn an_open_sum_is_that_of_the_pseudo_header() {
        let (mut v4, mut v6) = ([0; outer::IPV4_LEN], [0; outer::IPV6_LEN]);
        v4[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        // UDP, 8 + 8 + 14 bytes.
        open_ipv4(&mut v4, 14 + 20 + 30);
        assert_eq!(v4[40..42], (0x0a00_u16 + 1 + 0x0a00 + 2 + 17 + 30).to_be_bytes());
        v6[22] = 0xfd;
        v6[53] = 2;
        open_ipv6(&mut v6, 14 + 40 + 0x1_0001);
        assert_eq!(v6[60..62], (0xfd00_u16 + 2 + 17 + 2).to_be_bytes());
    }
}
