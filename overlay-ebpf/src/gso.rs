//! Packets that the kernel carries as one and cuts up later (GSO), as far as a tunnel has to understand them.

use network_types::{
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
    tcp::TcpHdr,
};
use overlay_common::header::{
    eth::{self, Payload},
    ipv4, udp,
};

use crate::packet::Packet;

/// What is in front of the data that will be cut up.
pub(crate) struct Headers {
    /// Whether it is TCP.
    pub(crate) is_tcp: bool,
    /// Bytes of all headers of a segment, from Ethernet on.
    pub(crate) len: u32,
    /// Where the IP packet ends, in bytes from the start of the Ethernet header; `None` for one too long to say so.
    pub(crate) end: Option<u32>,
}

impl Headers {
    /// Reads the headers of the frame at `offset`. `None` if it is neither TCP nor UDP right behind IP.
    #[inline(always)]
    pub(crate) fn parse(packet: &impl Packet, offset: usize, payload: Payload) -> Option<Self> {
        let network = offset + eth::LEN;
        let (transport, protocol, end) = match payload {
            Payload::Ipv4 => {
                let ip = packet.get::<Ipv4Hdr>(network)?;
                let len = ipv4::total_len(ip);
                (network + ipv4::header_len(ip)?, ip.proto, u32::from(len))
            }
            Payload::Ipv6 => {
                let ip = packet.get::<Ipv6Hdr>(network)?;
                let len = u32::from(u16::from_be_bytes(ip.payload_len));
                (network + Ipv6Hdr::LEN, ip.next_hdr, if len == 0 { 0 } else { len + Ipv6Hdr::LEN as u32 })
            }
            Payload::Vlan | Payload::Other => return None,
        };
        let is_tcp = protocol == IpProto::Tcp as u8;
        let transport_len = if is_tcp {
            // The upper half of the 13th byte counts words of four bytes (RFC 9293, section 3.1).
            usize::from(packet.get::<[u8; TcpHdr::LEN]>(transport)?[12] >> 4) * 4
        } else if protocol == IpProto::Udp as u8 {
            udp::LEN
        } else {
            return None;
        };
        let end = (end != 0).then_some(end + eth::LEN as u32);
        Some(Self { is_tcp, len: (transport - offset + transport_len) as u32, end })
    }
}
