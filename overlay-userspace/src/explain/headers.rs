//! A packet's headers, field by field, for people to read.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpPacketSlice, Ethernet2HeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice, SingleVlanHeaderSlice,
    TcpHeaderSlice, UdpHeaderSlice,
};
use overlay_common::{
    MacAddr, Vni,
    header::{udp, vxlan},
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

/// One header of a packet.
#[derive(Clone, Debug, Serialize)]
pub struct Header {
    /// Its name; those inside a tunnel packet begin with `inner`.
    pub name: String,
    /// Where in the packet it starts, in bytes.
    pub offset: usize,
    /// Names and values of its fields, in the order of the wire.
    #[serde(serialize_with = "as_map")]
    pub fields: Vec<(&'static str, String)>,
}

fn as_map<S: Serializer>(fields: &[(&'static str, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(fields.len()))?;
    for (name, value) in fields {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

/// The headers of a packet as far as they can be read; `tunnel`: the first UDP header is followed by VXLAN.
pub(super) fn headers(packet: &[u8], tunnel: bool) -> Vec<Header> {
    let mut reader = Reader { packet, at: 0, inside: "", headers: Vec::new() };
    let _ = reader.frame(tunnel);
    reader.headers
}

/// `EtherType`s.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const TAGS: [u16; 2] = [0x8100, 0x88a8];

/// Reads header after header; `None` where the packet ends or goes on with something else.
struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
    inside: &'static str,
    headers: Vec<Header>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.packet.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, name: &str, len: usize, fields: Vec<(&'static str, String)>) {
        let name = format!("{}{name}", self.inside);
        self.headers.push(Header { name, offset: self.at, fields });
        self.at += len;
    }

    fn frame(&mut self, tunnel: bool) -> Option<()> {
        let header = Ethernet2HeaderSlice::from_slice(self.rest()).ok()?;
        let mut ether_type = header.ether_type().0;
        self.push(
            "Ethernet",
            header.slice().len(),
            vec![
                ("destination", MacAddr::new(header.destination()).to_string()),
                ("source", MacAddr::new(header.source()).to_string()),
                ("type", format!("0x{ether_type:04x}")),
            ],
        );
        while TAGS.contains(&ether_type) {
            let tag = SingleVlanHeaderSlice::from_slice(self.rest()).ok()?;
            ether_type = tag.ether_type().0;
            let fields = vec![
                ("vid", tag.vlan_identifier().value().to_string()),
                ("priority", tag.priority_code_point().value().to_string()),
                ("type", format!("0x{ether_type:04x}")),
            ];
            self.push("VLAN", tag.slice().len(), fields);
        }
        match ether_type {
            IPV4 => self.ipv4(tunnel),
            IPV6 => self.ipv6(tunnel),
            ARP => self.arp(),
            _ => None,
        }
    }

    fn ipv4(&mut self, tunnel: bool) -> Option<()> {
        let header = Ipv4HeaderSlice::from_slice(self.rest()).ok()?;
        let fields = vec![
            ("source", header.source_addr().to_string()),
            ("destination", header.destination_addr().to_string()),
            ("protocol", header.protocol().0.to_string()),
            ("length", header.total_len().to_string()),
            ("ttl", header.ttl().to_string()),
            ("dscp", header.dcp().value().to_string()),
            ("ecn", header.ecn().value().to_string()),
            ("df", if header.dont_fragment() { "set" } else { "unset" }.to_owned()),
            ("id", header.identification().to_string()),
            ("checksum", format!("0x{:04x}", header.header_checksum())),
        ];
        self.push("IPv4", header.slice().len(), fields);
        let is_later = header.fragments_offset().value() != 0;
        if is_later { None } else { self.transport(header.protocol(), tunnel) }
    }

    fn ipv6(&mut self, tunnel: bool) -> Option<()> {
        let header = Ipv6HeaderSlice::from_slice(self.rest()).ok()?;
        let fields = vec![
            ("source", header.source_addr().to_string()),
            ("destination", header.destination_addr().to_string()),
            ("protocol", header.next_header().0.to_string()),
            ("payload length", header.payload_length().to_string()),
            ("hop limit", header.hop_limit().to_string()),
            ("traffic class", header.traffic_class().to_string()),
            ("flow label", format!("0x{:05x}", header.flow_label().value())),
        ];
        self.push("IPv6", header.slice().len(), fields);
        self.transport(header.next_header(), tunnel)
    }

    fn transport(&mut self, protocol: IpNumber, tunnel: bool) -> Option<()> {
        match protocol {
            IpNumber::UDP => self.udp(tunnel),
            IpNumber::TCP => self.tcp(),
            IpNumber::ICMP | IpNumber::IPV6_ICMP => self.icmp(protocol),
            _ => None,
        }
    }

    fn udp(&mut self, tunnel: bool) -> Option<()> {
        let header = UdpHeaderSlice::from_slice(self.rest()).ok()?;
        let fields = vec![
            ("source port", header.source_port().to_string()),
            ("destination port", header.destination_port().to_string()),
            ("length", header.length().to_string()),
            ("checksum", format!("0x{:04x}", header.checksum())),
        ];
        self.push("UDP", udp::LEN, fields);
        if tunnel { self.vxlan() } else { None }
    }

    fn vxlan(&mut self) -> Option<()> {
        let [flags, _, a, b, c, d, e, _] = *self.rest().first_chunk::<{ vxlan::LEN }>()?;
        let vni = Vni::from_be_bytes([c, d, e]).map_or(0, Vni::get);
        let mut fields = vec![("flags", format!("0x{flags:02x}")), ("vni", vni.to_string())];
        if [a, b] != [0; 2] {
            fields.push(("policy", u16::from_be_bytes([a, b]).to_string()));
        }
        self.push("VXLAN", vxlan::LEN, fields);
        self.inside = "inner ";
        self.frame(false)
    }

    fn tcp(&mut self) -> Option<()> {
        let header = TcpHeaderSlice::from_slice(self.rest()).ok()?;
        let flags =
            [("SYN", header.syn()), ("ACK", header.ack()), ("FIN", header.fin()), ("RST", header.rst())];
        let flags: Vec<_> = flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
        let fields = vec![
            ("source port", header.source_port().to_string()),
            ("destination port", header.destination_port().to_string()),
            ("flags", flags.join(" ")),
        ];
        self.push("TCP", header.slice().len(), fields);
        None
    }

    fn icmp(&mut self, protocol: IpNumber) -> Option<()> {
        let [kind, code, _, _, a, b, c, d] = *self.rest().first_chunk::<8>()?;
        let mut fields = vec![("type", kind.to_string()), ("code", code.to_string())];
        match (protocol, kind, code) {
            (IpNumber::ICMP, 3, 4) => fields.push(("mtu", u16::from_be_bytes([c, d]).to_string())),
            (IpNumber::IPV6_ICMP, 2, _) => fields.push(("mtu", u32::from_be_bytes([a, b, c, d]).to_string())),
            _ => {}
        }
        let name = if protocol == IpNumber::ICMP { "ICMP" } else { "ICMPv6" };
        self.push(name, 8, fields);
        None
    }

    fn arp(&mut self) -> Option<()> {
        let packet = ArpPacketSlice::from_slice(self.rest()).ok()?;
        let address = |bytes: &[u8]| match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
            (Ok(bytes), _) => Ipv4Addr::from(bytes).to_string(),
            (_, Ok(bytes)) => Ipv6Addr::from(bytes).to_string(),
            _ => "?".to_owned(),
        };
        let mac = |bytes: &[u8]| {
            <[u8; 6]>::try_from(bytes).map_or("?".to_owned(), |bytes| MacAddr::new(bytes).to_string())
        };
        let fields = vec![
            ("operation", packet.operation().0.to_string()),
            ("sender", mac(packet.sender_hw_addr())),
            ("sender address", address(packet.sender_protocol_addr())),
            ("target", mac(packet.target_hw_addr())),
            ("target address", address(packet.target_protocol_addr())),
        ];
        self.push("ARP", packet.slice().len(), fields);
        None
    }
}

/// Bytes in lines of sixteen, each with its offset.
#[must_use]
pub fn dump(bytes: &[u8]) -> Vec<String> {
    let line = |(at, bytes): (usize, &[u8])| {
        let half =
            |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        let (left, right) = bytes.split_at(bytes.len().min(8));
        format!("{:04x}  {}  {}", at * 16, half(left), half(right)).trim_end().to_owned()
    };
    bytes.chunks(16).enumerate().map(line).collect()
}
