//! The outer headers of a tunnel packet: all that stands in front of the inner frame.

use bytemuck::{Pod, Zeroable};

use super::{checksum, eth, ipv4, udp, vxlan};
use crate::Vni;

/// Bytes of IPv4, UDP and VXLAN.
const IPV4_L3_LEN: usize = ipv4::LEN + udp::LEN + vxlan::LEN;

/// Bytes of all outer headers over IPv4: Ethernet, IPv4, UDP, VXLAN.
pub const IPV4_LEN: usize = eth::LEN + IPV4_L3_LEN;

/// What IPv4, UDP and VXLAN add to the inner frame, in bytes: an uplink's MTU has to hold this much and the frame.
pub const IPV4_OVERHEAD: usize = IPV4_L3_LEN;

/// Where the headers stand.
const IP: usize = eth::LEN;
const UDP: usize = IP + ipv4::LEN;
const VXLAN: usize = UDP + udp::LEN;

/// Hops a tunnel packet may take, as the kernel's `vxlan` device has it (`drivers/net/vxlan`).
const TTL: u8 = 64;
/// Don't fragment: a VTEP must not (RFC 7348, section 4.3). An atomic packet needs no id (RFC 6864, section 4.1).
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

/// The outer headers towards one remote VTEP, from IPv4 on, but for what differs from frame to frame: lengths, IPv4
/// checksum, UDP source port and VNI.
///
/// The UDP checksum is zero, as RFC 7348, section 4.3, has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Template {
    bytes: [u8; IPV4_L3_LEN],
    /// Sum over the IPv4 header as it stands in `bytes`, not folded.
    ip_sum: u32,
}

impl Template {
    /// Headers from `local` to `remote` (network byte order) and UDP port `port` (host byte order).
    #[must_use]
    pub fn ipv4(local: [u8; 4], remote: [u8; 4], port: u16) -> Self {
        let mut bytes = [0; IPV4_L3_LEN];
        let ip = &mut bytes[..ipv4::LEN];
        ip[0] = 0x45;
        ip[6..8].copy_from_slice(&DONT_FRAGMENT);
        ip[8] = TTL;
        ip[9] = ipv4::IpProto::Udp as u8;
        ip[12..16].copy_from_slice(&local);
        ip[16..20].copy_from_slice(&remote);
        let ip_sum = checksum::sum(ip);
        bytes[ipv4::LEN + 2..ipv4::LEN + 4].copy_from_slice(&port.to_be_bytes());
        bytes[ipv4::LEN + udp::LEN] = vxlan::I_FLAG;
        Self { bytes, ip_sum }
    }

    /// Writes the outer headers of an inner frame of `frame_len` bytes.
    ///
    /// A frame too long for a 16-bit length can only be one that will be segmented, which sets the lengths anew: they
    /// are written as 0 then, as the kernel does (`iph_set_totlen` in `include/net/ip.h`).
    #[inline(always)]
    pub fn write(
        &self,
        out: &mut [u8; IPV4_LEN],
        ethernet: &[u8; eth::LEN],
        vni: Vni,
        frame_len: u32,
        source_port: u16,
    ) {
        let ip_len = u16::try_from(frame_len + IPV4_L3_LEN as u32).unwrap_or(0);
        let udp_len = ip_len.saturating_sub(ipv4::LEN as u16);
        let check = !checksum::fold(self.ip_sum + u32::from(ip_len));
        let [ip_len_0, ip_len_1] = ip_len.to_be_bytes();
        let [check_0, check_1] = check.to_be_bytes();
        let [port_0, port_1] = source_port.to_be_bytes();
        let [udp_len_0, udp_len_1] = udp_len.to_be_bytes();
        let [vni_0, vni_1, vni_2] = vni.to_be_bytes();

        out[..eth::LEN].copy_from_slice(ethernet);
        out[eth::LEN..].copy_from_slice(&self.bytes);
        out[IP + 2] = ip_len_0;
        out[IP + 3] = ip_len_1;
        out[IP + 10] = check_0;
        out[IP + 11] = check_1;
        out[UDP] = port_0;
        out[UDP + 1] = port_1;
        out[UDP + 4] = udp_len_0;
        out[UDP + 5] = udp_len_1;
        out[VXLAN + 4] = vni_0;
        out[VXLAN + 5] = vni_1;
        out[VXLAN + 6] = vni_2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MacAddr;

    fn write(frame_len: u32, vni: u32) -> [u8; IPV4_LEN] {
        let mut out = [0xaa; IPV4_LEN];
        let ethernet = eth::ipv4_header(MacAddr::new([2, 0, 0, 0, 0, 2]), MacAddr::new([2, 0, 0, 0, 0, 1]));
        let template = Template::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 4789);
        template.write(&mut out, &ethernet, Vni::new(vni).unwrap(), frame_len, 0xc0de);
        out
    }

    #[test]
    fn bytes_of_a_packet() {
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
