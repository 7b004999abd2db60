//! The outer headers of a tunnel packet: all that stands in front of the inner frame.

use bytemuck::{Pod, Zeroable};

use super::{checksum, eth, fields::Fields, ipv4, ipv6, udp, vxlan};
use crate::{Family, UnderlayAddr};

/// Bytes of IPv4, UDP and VXLAN.
const IPV4_L3_LEN: usize = ipv4::LEN + udp::LEN + vxlan::LEN;
/// Bytes of IPv6, UDP and VXLAN.
const IPV6_L3_LEN: usize = ipv6::LEN + udp::LEN + vxlan::LEN;

/// Bytes of all outer headers over IPv4: Ethernet, IPv4, UDP, VXLAN.
pub const IPV4_LEN: usize = eth::LEN + IPV4_L3_LEN;
/// Bytes of all outer headers over IPv6: Ethernet, IPv6, UDP, VXLAN.
pub const IPV6_LEN: usize = eth::LEN + IPV6_L3_LEN;

/// Bytes of all outer headers over a family.
#[inline(always)]
#[must_use]
pub const fn len(family: Family) -> usize {
    match family {
        Family::Ipv4 => IPV4_LEN,
        Family::Ipv6 => IPV6_LEN,
    }
}

/// What IP, UDP and VXLAN add to the inner frame, in bytes: an uplink's MTU has to hold this much and the frame.
#[inline(always)]
#[must_use]
pub const fn overhead(family: Family) -> usize {
    match family {
        Family::Ipv4 => IPV4_L3_LEN,
        Family::Ipv6 => IPV6_L3_LEN,
    }
}

/// The outer headers towards one remote VTEP, from IP on, but for what differs from frame to frame: lengths, TTL, DSCP and
/// ECN, don't-fragment bit and id, IPv4 checksum, IPv6 flow label, UDP source port, VXLAN flags and VNI.
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

impl Template {
    /// Headers from `local` to `remote` (network byte order) and UDP port `port` (host byte order).
    #[must_use]
    pub fn ipv4(local: [u8; 4], remote: [u8; 4], port: u16) -> Self {
        let mut bytes = [0; IPV6_L3_LEN];
        let (ip, rest) = bytes.split_at_mut(ipv4::LEN);
        ip[0] = 0x45;
        ip[9] = ipv4::IpProto::Udp as u8;
        ip[12..16].copy_from_slice(&local);
        ip[16..20].copy_from_slice(&remote);
        let sum = checksum::sum(ip);
        rest[2..4].copy_from_slice(&port.to_be_bytes());
        Self { bytes, sum }
    }

    /// Headers from `local` to `remote` (network byte order) and UDP port `port` (host byte order).
    #[must_use]
    pub fn ipv6(local: [u8; 16], remote: [u8; 16], port: u16) -> Self {
        let mut bytes = [0; IPV6_L3_LEN];
        let (ip, rest) = bytes.split_at_mut(ipv6::LEN);
        ip[0] = 0x60;
        ip[6] = ipv4::IpProto::Udp as u8;
        ip[8..24].copy_from_slice(&local);
        ip[24..40].copy_from_slice(&remote);
        rest[2..4].copy_from_slice(&port.to_be_bytes());
        let sum = checksum::sum(&ip[8..]) + u32::from(ip[6]) + checksum::sum(rest);
        Self { bytes, sum }
    }

    /// The UDP port that packets go to, host byte order.
    #[must_use]
    pub const fn port(&self) -> u16 {
        let udp = if self.bytes[0] >> 4 == 6 { ipv6::LEN } else { ipv4::LEN };
        u16::from_be_bytes([self.bytes[udp + 2], self.bytes[udp + 3]])
    }

    /// The same from another address, of the same family.
    #[must_use]
    pub fn with_local(self, local: UnderlayAddr) -> Self {
        let bytes = &self.bytes;
        if let Some(local) = local.to_ipv4() {
            return Self::ipv4(local, [bytes[16], bytes[17], bytes[18], bytes[19]], self.port());
        }
        let mut remote = [0; 16];
        remote.copy_from_slice(&bytes[24..40]);
        Self::ipv6(local.bytes(), remote, self.port())
    }

    /// The same towards `remote`, an address of the same family.
    #[inline(always)]
    #[must_use]
    pub fn with_remote(&self, remote: UnderlayAddr) -> Self {
        const IPV4_REMOTE: core::ops::Range<usize> = 16..20;
        const IPV6_REMOTE: core::ops::Range<usize> = 24..40;
        let mut new = *self;
        if let Some(remote) = remote.to_ipv4() {
            new.sum = new.sum - checksum::sum(&new.bytes[IPV4_REMOTE]) + checksum::sum(&remote);
            new.bytes[IPV4_REMOTE].copy_from_slice(&remote);
        } else {
            let remote = remote.bytes();
            new.sum = new.sum - checksum::sum(&new.bytes[IPV6_REMOTE]) + checksum::sum(&remote);
            new.bytes[IPV6_REMOTE].copy_from_slice(&remote);
        }
        new
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
        let Fields { traits, id, .. } = *fields;
        let high = (u32::from(traits.ttl()) + u32::from(traits.df())) << 8;
        let sum = self.sum + u32::from(ip_len) + u32::from(traits.tos()) + u32::from(id) + high;
        let check = !checksum::fold(sum);

        let (head, rest) = out.split_at_mut(IP);
        head.copy_from_slice(ethernet);
        rest.copy_from_slice(&self.bytes[..IPV4_L3_LEN]);
        out[IP + 1] = traits.tos();
        [out[IP + 2], out[IP + 3]] = ip_len.to_be_bytes();
        [out[IP + 4], out[IP + 5]] = id.to_be_bytes();
        out[IP + 6] = traits.df();
        out[IP + 8] = traits.ttl();
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
        let tos = fields.traits.tos();

        let (head, rest) = out.split_at_mut(IP);
        head.copy_from_slice(ethernet);
        rest.copy_from_slice(&self.bytes);
        out[IP] |= tos >> 4;
        out[IP + 1] = (tos << 4) | (label_1 & 0x0f);
        [out[IP + 2], out[IP + 3]] = [label_2, label_3];
        [out[IP + 4], out[IP + 5]] = udp_len.to_be_bytes();
        out[IP + 7] = fields.traits.ttl();
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
        let flags = checksum::sum(&vxlan::flags_of_mark(fields.mark));
        let sum = self.sum + lengths + u32::from(fields.source_port) + flags + vni;
        match !checksum::fold(sum + u32::from(inner)) {
            // Zero says that there is none (RFC 768).
            0 => 0xffff,
            check => check,
        }
    }
}

/// Writes what differs from frame to frame into the UDP header at `at` and the VXLAN header behind it.
#[inline(always)]
fn write_udp_and_vxlan<const N: usize>(out: &mut [u8; N], at: usize, udp_len: u16, fields: &Fields) {
    let vxlan = at + udp::LEN;
    [out[at], out[at + 1]] = fields.source_port.to_be_bytes();
    [out[at + 4], out[at + 5]] = udp_len.to_be_bytes();
    [out[vxlan], out[vxlan + 1], out[vxlan + 2], out[vxlan + 3]] = vxlan::flags_of_mark(fields.mark);
    [out[vxlan + 4], out[vxlan + 5], out[vxlan + 6]] = fields.vni.to_be_bytes();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{MacAddr, Vni, header::traits::Traits};

    const DESTINATION: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 2]);
    const SOURCE: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);

    fn fields(frame_len: u32, vni: u32) -> Fields {
        Fields {
            vni: Vni::new(vni).unwrap(),
            frame_len,
            flow_hash: 0x0378,
            source_port: 0xc0de,
            id: 0,
            traits: Traits::new(0, 64, 0x40),
            mark: 0,
        }
    }

    fn write_ipv4(fields: &Fields) -> [u8; IPV4_LEN] {
        let mut out = [0xaa; IPV4_LEN];
        let ethernet = eth::header(DESTINATION, SOURCE, Family::Ipv4);
        Template::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 4789).write_ipv4(&mut out, &ethernet, fields);
        out
    }

    fn write_ipv6(fields: &Fields) -> [u8; IPV6_LEN] {
        let mut out = [0xaa; IPV6_LEN];
        let (mut local, mut remote) = ([0; 16], [0; 16]);
        (local[0], local[15], remote[0], remote[15]) = (0xfd, 1, 0xfd, 2);
        let ethernet = eth::header(DESTINATION, SOURCE, Family::Ipv6);
        Template::ipv6(local, remote, 4789).write_ipv6(&mut out, &ethernet, fields, None);
        out
    }

    fn write(frame_len: u32, vni: u32) -> [u8; IPV4_LEN] {
        write_ipv4(&fields(frame_len, vni))
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
    fn another_source() {
        let other = UnderlayAddr::from_ipv4([10, 0, 0, 9]);
        let moved = Template::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 4789).with_local(other);
        assert_eq!(moved, Template::ipv4([10, 0, 0, 9], [10, 0, 0, 2], 4789));
        let moved =
            Template::ipv6([1; 16], [2; 16], 4789).with_local(core::net::IpAddr::from([3; 16]).into());
        assert_eq!(moved, Template::ipv6([3; 16], [2; 16], 4789));
        assert_eq!(moved.port(), 4789);
    }

    #[test]
    fn bytes_of_a_packet_over_ipv6() {
        #[rustfmt::skip]
        let expected = [
            2, 0, 0, 0, 0, 2,  2, 0, 0, 0, 0, 1,  0x86, 0xdd,
            0x60, 0, 0x03, 0x78,  0, 116, 17, 64,
            0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
            0xc0, 0xde, 0x12, 0xb5,  0, 116, 0, 0,
            0x08, 0, 0, 0,  0, 0, 100, 0,
        ];
        assert_eq!(write_ipv6(&fields(100, 100)), expected);
    }

    #[test]
    fn bytes_that_are_not_as_by_default() {
        let traits = Traits::new(0xb9, 7, 0);
        let (flow_hash, mark, source_port, id) = (0xdead_beef, 0x0048_abcd, 0x1234, 0xff00);
        let fields = Fields { flow_hash, source_port, id, traits, mark, ..fields(100, 1) };
        let ipv4 = write_ipv4(&fields);
        assert_eq!(ipv4[14..24], [0x45, 0xb9, 0, 136, 0xff, 0, 0, 0, 7, 17]);
        assert_eq!(ipv4[34..38], [0x12, 0x34, 0x12, 0xb5]);
        assert_eq!(ipv4[42..], [0x88, 0x48, 0xab, 0xcd, 0, 0, 1, 0]);
        let ipv6 = write_ipv6(&fields);
        assert_eq!(ipv6[14..22], [0x6b, 0x9d, 0xbe, 0xef, 0, 116, 17, 7]);
        assert_eq!(ipv6[54..58], [0x12, 0x34, 0x12, 0xb5]);
        assert_eq!(ipv6[62..], [0x88, 0x48, 0xab, 0xcd, 0, 0, 1, 0]);
    }

    #[test]
    fn the_port_reads_back() {
        assert_eq!(Template::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 8472).port(), 8472);
        assert_eq!(Template::ipv6([0xfd; 16], [0xfe; 16], 8472).port(), 8472);
    }

    #[test]
    fn lengths_that_do_not_fit_are_zero() {
        assert_eq!(write(65535 - 36, 1)[16..18], [0xff, 0xff]);
        assert_eq!(write(65535 - 35, 1)[16..18], [0, 0]);
        assert_eq!(write(65535 - 35, 1)[38..40], [0, 0]);
    }

    proptest! {
        #[test]
        fn checksum_is_right_whatever_the_fields(
            frame_len in 14u32..70_000, vni in 1u32..=0x00ff_ffff, tos: u8, ttl: u8, unset: bool, id: u16,
        ) {
            let traits = Traits::new(tos, ttl, if unset { 0 } else { 0x40 });
            let out = write_ipv4(&Fields { id, traits, ..fields(frame_len, vni) });
            let ip: [u8; ipv4::LEN] = out[14..34].try_into().unwrap();
            prop_assert!(ipv4::checksum_is_right(&ip, 0));
            prop_assert_eq!(&out[46..49], &Vni::new(vni).unwrap().to_be_bytes());
        }
    }
}
