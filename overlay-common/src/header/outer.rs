//! The outer headers of a tunnel packet: all that stands in front of the inner frame.

use bytemuck::{Pod, Zeroable};

use super::{checksum, eth, ipv4, ipv6, udp, vxlan};
use crate::{Family, Vni};

/// Bytes of IPv4, UDP and VXLAN.
const IPV4_L3_LEN: usize = ipv4::LEN + udp::LEN + vxlan::LEN;
/// Bytes of IPv6, UDP and VXLAN.
const IPV6_L3_LEN: usize = ipv6::LEN + udp::LEN + vxlan::LEN;

/// Bytes of all outer headers over IPv4: Ethernet, IPv4, UDP, VXLAN.
pub const IPV4_LEN: usize = eth::LEN + IPV4_L3_LEN;
/// Bytes of all outer headers over IPv6: Ethernet, IPv6, UDP, VXLAN.
pub const IPV6_LEN: usize = eth::LEN + IPV6_L3_LEN;

/// What IP, UDP and VXLAN add to the inner frame, in bytes: an uplink's MTU has to hold this much and the frame.
#[inline(always)]
#[must_use]
pub const fn overhead(family: Family) -> usize {
    match family {
        Family::Ipv4 => IPV4_L3_LEN,
        Family::Ipv6 => IPV6_L3_LEN,
    }
}

/// Hops a tunnel packet may take, as the kernel's `vxlan` device has it (`drivers/net/vxlan`).
const TTL: u8 = 64;
/// Don't fragment: a VTEP must not (RFC 7348, section 4.3). An atomic packet needs no id (RFC 6864, section 4.1).
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

/// The outer headers towards one remote VTEP, from IP on, but for what differs from frame to frame: lengths, IPv4
/// checksum, IPv6 flow label, UDP source port and VNI.
///
/// The UDP checksum is zero, as RFC 7348, section 4.3, has it, and RFC 6935 lets tunnels over IPv6 have it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Template {
    /// Those of IPv4 are shorter, and followed by zeros.
    bytes: [u8; IPV6_L3_LEN],
    /// What a checksum covers as it stands in `bytes`, not folded: the IPv4 header; or, over IPv6, what UDP's covers, but
    /// for lengths.
    sum: u32,
}

/// What differs from frame to frame.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// The segment.
    pub vni: Vni,
    /// Bytes of the inner frame.
    pub frame_len: u32,
    /// A hash of the inner flow: it chooses UDP source port and IPv6 flow label.
    pub flow_hash: u32,
}

impl Template {
    /// Headers from `local` to `remote` (network byte order) and UDP port `port` (host byte order).
    #[must_use]
    pub fn ipv4(local: [u8; 4], remote: [u8; 4], port: u16) -> Self {
        let mut bytes = [0; IPV6_L3_LEN];
        let (ip, rest) = bytes.split_at_mut(ipv4::LEN);
        ip[0] = 0x45;
        ip[6..8].copy_from_slice(&DONT_FRAGMENT);
        ip[8] = TTL;
        ip[9] = ipv4::IpProto::Udp as u8;
        ip[12..16].copy_from_slice(&local);
        ip[16..20].copy_from_slice(&remote);
        let sum = checksum::sum(ip);
        fill_udp_and_vxlan(rest, port);
        Self { bytes, sum }
    }

    /// Headers from `local` to `remote` (network byte order) and UDP port `port` (host byte order).
    #[must_use]
    pub fn ipv6(local: [u8; 16], remote: [u8; 16], port: u16) -> Self {
        let mut bytes = [0; IPV6_L3_LEN];
        let (ip, rest) = bytes.split_at_mut(ipv6::LEN);
        ip[0] = 0x60;
        ip[6] = ipv4::IpProto::Udp as u8;
        ip[7] = TTL;
        ip[8..24].copy_from_slice(&local);
        ip[24..40].copy_from_slice(&remote);
        fill_udp_and_vxlan(rest, port);
        let sum = checksum::sum(&ip[8..]) + u32::from(ip[6]) + checksum::sum(rest);
        Self { bytes, sum }
    }

    /// Writes the outer headers of an inner frame over IPv4.
    ///
    /// A frame too long for a 16-bit length can only be one that will be segmented, which sets the lengths anew: they
    /// are written as 0 then, as the kernel does (`iph_set_totlen` in `include/net/ip.h`).
    #[inline(always)]
    pub fn write_ipv4(&self, out: &mut [u8; IPV4_LEN], ethernet: &[u8; eth::LEN], fields: &Fields) {
        const IP: usize = eth::LEN;
        let ip_len = u16::try_from(fields.frame_len + IPV4_L3_LEN as u32).unwrap_or(0);
        let udp_len = ip_len.saturating_sub(ipv4::LEN as u16);
        let check = !checksum::fold(self.sum + u32::from(ip_len));

        let (head, rest) = out.split_at_mut(IP);
        head.copy_from_slice(ethernet);
        rest.copy_from_slice(&self.bytes[..IPV4_L3_LEN]);
        [out[IP + 2], out[IP + 3]] = ip_len.to_be_bytes();
        [out[IP + 10], out[IP + 11]] = check.to_be_bytes();
        write_udp_and_vxlan(out, IP + ipv4::LEN, udp_len, fields);
    }

    /// Writes the outer headers of an inner frame over IPv6; lengths as for IPv4.
    ///
    /// The flow label tells flows apart where routers do not look at ports (RFC 6438). `inner_sum` is the folded sum over
    /// the inner frame; without it the UDP checksum is zero.
    #[inline(always)]
    pub fn write_ipv6(
        &self,
        out: &mut [u8; IPV6_LEN],
        ethernet: &[u8; eth::LEN],
        fields: &Fields,
        inner_sum: Option<u16>,
    ) {
        const IP: usize = eth::LEN;
        let udp_len = u16::try_from(fields.frame_len + (udp::LEN + vxlan::LEN) as u32).unwrap_or(0);
        let [_, label_1, label_2, label_3] = fields.flow_hash.to_be_bytes();

        let (head, rest) = out.split_at_mut(IP);
        head.copy_from_slice(ethernet);
        rest.copy_from_slice(&self.bytes);
        out[IP + 1] |= label_1 & 0x0f;
        [out[IP + 2], out[IP + 3]] = [label_2, label_3];
        [out[IP + 4], out[IP + 5]] = udp_len.to_be_bytes();
        write_udp_and_vxlan(out, IP + ipv6::LEN, udp_len, fields);
        if let Some(inner) = inner_sum {
            const CHECK: usize = IP + ipv6::LEN + 6;
            [out[CHECK], out[CHECK + 1]] = self.udp_checksum(udp_len, fields, inner).to_be_bytes();
        }
    }

    #[inline(always)]
    fn udp_checksum(&self, udp_len: u16, fields: &Fields, inner: u16) -> u16 {
        let [high, middle, low] = fields.vni.to_be_bytes();
        let vni = u32::from(u16::from_be_bytes([high, middle])) + (u32::from(low) << 8);
        let lengths = 2 * u32::from(udp_len);
        let source_port = u32::from(udp::source_port(fields.flow_hash));
        match !checksum::fold(self.sum + lengths + source_port + vni + u32::from(inner)) {
            // Zero says that there is none (RFC 768).
            0 => 0xffff,
            check => check,
        }
    }
}

fn fill_udp_and_vxlan(bytes: &mut [u8], port: u16) {
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[udp::LEN] = vxlan::I_FLAG;
}

/// Writes what differs from frame to frame into the UDP header at `at` and the VXLAN header behind it.
#[inline(always)]
fn write_udp_and_vxlan<const N: usize>(out: &mut [u8; N], at: usize, udp_len: u16, fields: &Fields) {
    let vxlan = at + udp::LEN;
    [out[at], out[at + 1]] = udp::source_port(fields.flow_hash).to_be_bytes();
    [out[at + 4], out[at + 5]] = udp_len.to_be_bytes();
    [out[vxlan + 4], out[vxlan + 5], out[vxlan + 6]] = fields.vni.to_be_bytes();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MacAddr;

    const DESTINATION: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 2]);
    const SOURCE: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);

    fn fields(frame_len: u32, vni: u32) -> Fields {
        Fields { vni: Vni::new(vni).unwrap(), frame_len, flow_hash: 0x00de }
    }

    fn write(frame_len: u32, vni: u32) -> [u8; IPV4_LEN] {
        let mut out = [0xaa; IPV4_LEN];
        let ethernet = eth::header(DESTINATION, SOURCE, Family::Ipv4);
        let template = Template::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 4789);
        template.write_ipv4(&mut out, &ethernet, &fields(frame_len, vni));
        out
    }

    #[test]
    fn bytes_of_a_packet_over_ipv4() {
        #[rustfmt::skip]
        let expected = [
            2, 0, 0, 0, 0, 2,  2, 0, 0, 0, 0, 1,  0x08, 0x00,
            0x45, 0, 0, 136,  0, 0, 0x40, 0,  64, 17, 0x26, 0x63,  10, 0, 0, 1,  10, 0, 0, 2,
            0xc0, 0xde, 0x12, 0xb5,  0, 116, 0, 0,
            0x08, 0, 0, 0,  0, 0, 100, 0,
        ];
        assert_eq!(write(100, 100), expected);
    }

    #[test]
    fn bytes_of_a_packet_over_ipv6() {
        let mut out = [0xaa; IPV6_LEN];
        let (mut local, mut remote) = ([0; 16], [0; 16]);
        (local[0], local[15], remote[0], remote[15]) = (0xfd, 1, 0xfd, 2);
        let ethernet = eth::header(DESTINATION, SOURCE, Family::Ipv6);
        Template::ipv6(local, remote, 4789).write_ipv6(&mut out, &ethernet, &fields(100, 100), None);
        #[rustfmt::skip]
        let expected = [
            2, 0, 0, 0, 0, 2,  2, 0, 0, 0, 0, 1,  0x86, 0xdd,
            0x60, 0, 0, 0xde,  0, 116, 17, 64,
            0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
            0xc0, 0xde, 0x12, 0xb5,  0, 116, 0, 0,
            0x08, 0, 0, 0,  0, 0, 100, 0,
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn lengths_that_do_not_fit_are_zero() {
        assert_eq!(write(65535 - 36, 1)[16..18], [0xff, 0xff]);
        assert_eq!(write(65535 - 35, 1)[16..18], [0, 0]);
        assert_eq!(write(65535 - 35, 1)[38..40], [0, 0]);
    }

    proptest! {
        #[test]
        fn checksum_is_right_whatever_the_length(frame_len in 14u32..70_000, vni in 1u32..=0x00ff_ffff) {
            let out = write(frame_len, vni);
            let ip: [u8; ipv4::LEN] = out[14..34].try_into().unwrap();
            prop_assert!(ipv4::checksum_is_right(&ip, 0));
            prop_assert_eq!(&out[42..], &vxlan::header(Vni::new(vni).unwrap()));
        }
    }
}
