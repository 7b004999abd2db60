//! A tunnel packet, header by header: pure, for people to read.

use std::{mem, net::Ipv4Addr};

use network_types::{icmp::Icmpv4Hdr, tcp::TcpHdr};
use overlay_common::{
    MacAddr,
    header::{
        checksum,
        eth::{self, EthHdr, Payload},
        ipv4::{self, IpProto, Ipv4Hdr},
        udp::{self, UdpHdr, VXLAN_PORT},
        vxlan::{self, VxlanHdr},
    },
};

/// One header of a packet.
pub(super) struct Layer {
    pub(super) name: &'static str,
    /// Where in the packet it starts.
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
    /// Name and value of each field, in the order of the wire.
    pub(super) fields: Vec<(&'static str, String)>,
}

/// The headers of a VXLAN packet that carries ICMP or TCP over IPv4; `None` for any other.
pub(super) fn layers(packet: &[u8]) -> Option<Vec<Layer>> {
    let mut reader = Reader { packet, offset: 0, layers: Vec::new() };
    reader.ethernet("outer Ethernet")?;
    if reader.ipv4("outer IPv4")? != IpProto::Udp as u8 || reader.udp()? != VXLAN_PORT {
        return None;
    }
    reader.vxlan()?;
    reader.ethernet("inner Ethernet")?;
    match reader.ipv4("inner IPv4")? {
        ICMP => reader.icmp()?,
        TCP => reader.tcp()?,
        _ => return None,
    }
    Some(reader.layers)
}

const ICMP: u8 = IpProto::Icmp as u8;
const TCP: u8 = IpProto::Tcp as u8;

/// Types that any bytes are a valid value of.
///
/// # Safety
///
/// Every bit pattern is valid.
unsafe trait Header: Copy {}

// SAFETY: byte arrays and one `u16`.
unsafe impl Header for EthHdr {}
// SAFETY: byte arrays.
unsafe impl Header for Ipv4Hdr {}
// SAFETY: byte arrays.
unsafe impl Header for UdpHdr {}
// SAFETY: byte arrays.
unsafe impl Header for VxlanHdr {}
// SAFETY: byte arrays.
unsafe impl Header for Icmpv4Hdr {}
// SAFETY: byte arrays.
unsafe impl Header for TcpHdr {}

/// Reads header after header; `None` where the packet ends or is another than expected.
struct Reader<'a> {
    packet: &'a [u8],
    offset: usize,
    layers: Vec<Layer>,
}

impl Reader<'_> {
    fn peek<T: Header>(&self) -> Option<T> {
        let bytes = self.packet.get(self.offset..)?.get(..mem::size_of::<T>())?;
        // SAFETY: as many bytes as `T` has, any of which are one; the read needs no alignment.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    /// Goes past a header of `len` bytes.
    fn push(&mut self, name: &'static str, len: usize, fields: Vec<(&'static str, String)>) -> Option<()> {
        let (offset, end) = (self.offset, self.offset + len);
        let bytes = self.packet.get(offset..end)?.to_vec();
        self.layers.push(Layer { name, offset, bytes, fields });
        self.offset = end;
        Some(())
    }

    fn ethernet(&mut self, name: &'static str) -> Option<()> {
        let header: EthHdr = self.peek()?;
        if eth::payload(&header) != Payload::Ipv4 {
            return None;
        }
        let fields = vec![
            ("destination", MacAddr::new(header.dst_addr).to_string()),
            ("source", MacAddr::new(header.src_addr).to_string()),
            ("type", "0x0800 (IPv4)".to_owned()),
        ];
        self.push(name, eth::LEN, fields)
    }

    /// The protocol it carries.
    fn ipv4(&mut self, name: &'static str) -> Option<u8> {
        let header: Ipv4Hdr = self.peek()?;
        let len = ipv4::header_len(&header)?;
        let bytes = self.packet.get(self.offset..)?.get(..len)?;
        let protocol = match header.proto {
            ICMP => "1 (ICMP)".to_owned(),
            TCP => "6 (TCP)".to_owned(),
            other if other == IpProto::Udp as u8 => format!("{other} (UDP)"),
            other => other.to_string(),
        };
        let fragments = if header.frags[0] & 0x40 != 0 { "don't fragment" } else { "may fragment" };
        let fields = vec![
            ("version", (header.vihl >> 4).to_string()),
            ("header length", len.to_string()),
            ("TOS", header.tos.to_string()),
            ("total length", ipv4::total_len(&header).to_string()),
            ("id", u16::from_be_bytes(header.id).to_string()),
            ("flags", fragments.to_owned()),
            ("TTL", header.ttl.to_string()),
            ("protocol", protocol),
            ("checksum", checked(u16::from_be_bytes(header.check), bytes)),
            ("source", Ipv4Addr::from(header.src_addr).to_string()),
            ("destination", Ipv4Addr::from(header.dst_addr).to_string()),
        ];
        self.push(name, len, fields)?;
        Some(header.proto)
    }

    /// The destination port.
    fn udp(&mut self) -> Option<u16> {
        let header: UdpHdr = self.peek()?;
        let port = udp::destination_port(&header);
        let checksum = match u16::from_be_bytes(header.check) {
            0 => "0 (none, as RFC 7348 has it)".to_owned(),
            checksum => format!("0x{checksum:04x}"),
        };
        let fields = vec![
            ("source port", format!("{} (hash of the inner flow)", u16::from_be_bytes(header.src))),
            ("destination port", format!("{port} (VXLAN)")),
            ("length", udp::len(&header).to_string()),
            ("checksum", checksum),
        ];
        self.push("outer UDP", udp::LEN, fields)?;
        Some(port)
    }

    fn vxlan(&mut self) -> Option<()> {
        let header: VxlanHdr = self.peek()?;
        let vni = vxlan::segment(&header).ok()?;
        let fields = vec![
            ("flags", format!("0x{:02x} (I: the VNI is valid)", header.flags)),
            ("VNI", vni.to_string()),
        ];
        self.push("VXLAN", vxlan::LEN, fields)
    }

    fn icmp(&mut self) -> Option<()> {
        let header: Icmpv4Hdr = self.peek()?;
        let message = self.packet.get(self.offset..)?;
        let kind = match header.type_ {
            0 => "0 (echo reply)".to_owned(),
            8 => "8 (echo request)".to_owned(),
            other => other.to_string(),
        };
        let [id_0, id_1, sequence_0, sequence_1] = header.data;
        let fields = vec![
            ("type", kind),
            ("code", header.code.to_string()),
            ("checksum", checked(u16::from_be_bytes(header.check), message)),
            ("id", u16::from_be_bytes([id_0, id_1]).to_string()),
            ("sequence", u16::from_be_bytes([sequence_0, sequence_1]).to_string()),
            ("payload", format!("{} bytes", message.len() - Icmpv4Hdr::LEN)),
        ];
        self.push("inner ICMP", Icmpv4Hdr::LEN, fields)
    }

    fn tcp(&mut self) -> Option<()> {
        let header: TcpHdr = self.peek()?;
        let len = usize::from(header.doff()) * 4;
        let flags =
            [("SYN", header.syn()), ("ACK", header.ack()), ("PSH", header.psh()), ("FIN", header.fin())];
        let flags: Vec<&str> = flags.iter().filter(|(_, set)| *set != 0).map(|(name, _)| *name).collect();
        let fields = vec![
            ("source port", u16::from_be_bytes(header.source).to_string()),
            ("destination port", u16::from_be_bytes(header.dest).to_string()),
            ("sequence", u32::from_be_bytes(header.seq).to_string()),
            ("acknowledgement", u32::from_be_bytes(header.ack_seq).to_string()),
            ("header length", len.to_string()),
            ("flags", flags.join(" ")),
            ("window", u16::from_be_bytes(header.window).to_string()),
            ("checksum", format!("0x{:04x}", u16::from_be_bytes(header.check))),
            ("payload", format!("{} bytes", (self.packet.len() - self.offset).checked_sub(len)?)),
        ];
        self.push("inner TCP", len, fields)
    }
}

/// A checksum, and whether it is that of `bytes`, in which it stands.
fn checked(checksum: u16, bytes: &[u8]) -> String {
    let right = if checksum::fold(checksum::sum(bytes)) == 0xffff { "right" } else { "wrong" };
    format!("0x{checksum:04x} ({right})")
}

#[cfg(test)]
mod tests {
    use overlay_common::{
        Family, Vni,
        header::{fields::Fields, outer, traits::Traits},
    };

    use super::*;

    #[rustfmt::skip]
    const ECHO_REQUEST: [u8; 46] = [
        2, 0, 0, 0, 0, 2,  2, 0, 0, 0, 0, 1,  0x08, 0x00,
        0x45, 0, 0, 32,  0xbe, 0xef, 0x40, 0,  64, 1, 0xfa, 0x99,  192, 168, 0, 1,  192, 168, 0, 2,
        8, 0, 0xf3, 0xf6,  0, 1, 0, 2,
        1, 2, 3, 4,
    ];
    #[rustfmt::skip]
    const SYN: [u8; 24] = [
        0x80, 0, 0x13, 0x89,  0, 0, 0, 7,  0, 0, 0, 0,  0x60, 0x02, 0xff, 0xff,  0xab, 0xcd, 0, 0,
        2, 4, 5, 0xb4,
    ];

    fn tunnel(inner: &[u8]) -> Vec<u8> {
        let (destination, source) = (MacAddr::new([2, 0, 0, 0, 1, 2]), MacAddr::new([2, 0, 0, 0, 1, 1]));
        let ethernet = eth::header(destination, source, Family::Ipv4);
        let template = outer::Template::ipv4([10, 0, 0, 1], [10, 0, 0, 2], VXLAN_PORT);
        let len = u32::try_from(inner.len()).unwrap();
        let mut packet = [0; outer::IPV4_LEN];
        let fields = Fields {
            vni: Vni::new(100).unwrap(),
            frame_len: len,
            flow_hash: 50000,
            source_port: 50000,
            id: 0,
            traits: Traits::new(0, 64, 0x40),
            mark: 0,
        };
        template.write_ipv4(&mut packet, &ethernet, &fields);
        [&packet, inner].concat()
    }

    fn field<'a>(layers: &'a [Layer], layer: &str, field: &str) -> &'a str {
        let layer = layers.iter().find(|found| found.name == layer).unwrap();
        &layer.fields.iter().find(|(name, _)| *name == field).unwrap().1
    }

    #[test]
    fn echo_request_in_a_tunnel() {
        let packet = tunnel(&ECHO_REQUEST);
        let layers = layers(&packet).unwrap();
        let spans: Vec<_> =
            layers.iter().map(|layer| (layer.name, layer.offset, layer.bytes.len())).collect();
        assert_eq!(
            spans,
            [
                ("outer Ethernet", 0, 14),
                ("outer IPv4", 14, 20),
                ("outer UDP", 34, 8),
                ("VXLAN", 42, 8),
                ("inner Ethernet", 50, 14),
                ("inner IPv4", 64, 20),
                ("inner ICMP", 84, 8),
            ]
        );
        assert_eq!(field(&layers, "outer Ethernet", "destination"), "02:00:00:00:01:02");
        assert_eq!(field(&layers, "outer IPv4", "source"), "10.0.0.1");
        assert_eq!(field(&layers, "outer UDP", "source port"), "50000 (hash of the inner flow)");
        assert_eq!(field(&layers, "VXLAN", "VNI"), "100");
        assert_eq!(field(&layers, "inner IPv4", "checksum"), "0xfa99 (right)");
        assert_eq!(field(&layers, "inner ICMP", "type"), "8 (echo request)");
        assert_eq!(field(&layers, "inner ICMP", "checksum"), "0xf3f6 (right)");
        assert_eq!(field(&layers, "inner ICMP", "sequence"), "2");
        assert_eq!(field(&layers, "inner ICMP", "payload"), "4 bytes");
    }

    #[test]
    fn syn_in_a_tunnel() {
        let mut inner = ECHO_REQUEST[..34].to_vec();
        inner[23] = TCP;
        inner.extend(SYN);
        let layers = layers(&tunnel(&inner)).unwrap();
        assert_eq!(field(&layers, "inner IPv4", "checksum"), "0xfa99 (wrong)");
        assert_eq!(field(&layers, "inner TCP", "destination port"), "5001");
        assert_eq!(field(&layers, "inner TCP", "flags"), "SYN");
        assert_eq!(field(&layers, "inner TCP", "header length"), "24");
        assert_eq!(field(&layers, "inner TCP", "payload"), "0 bytes");
    }

    #[test]
    fn what_ends_early_or_is_another_is_none() {
        let packet = tunnel(&ECHO_REQUEST);
        for len in 0..packet.len() - 4 {
            assert!(layers(&packet[..len]).is_none(), "{len}");
        }
        assert!(layers(&ECHO_REQUEST).is_none());
        for (offset, byte) in [(12, 0x86), (23, TCP), (37, 0), (42, 0), (62, 0x86), (73, 17)] {
            let mut other = packet.clone();
            other[offset] = byte;
            assert!(layers(&other).is_none(), "{offset}");
        }
    }
}
