//! The UDP checksum of a tunnel packet that has its outer headers already (RFC 768; RFC 8200, section 8.1).

use super::{checksum, eth, ipv4::IpProto, ipv6, outer, udp};

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
}
