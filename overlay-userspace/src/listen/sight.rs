//! What can be seen of a packet.

use std::{fmt::Write as _, net::IpAddr};

use etherparse::{LaxNetSlice, LaxSlicedPacket, LinkSlice, TransportSlice};
use overlay_common::{MacAddr, Vni, header::vxlan};

/// A packet of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel<'a> {
    /// Who sent it.
    pub sender: IpAddr,
    /// The segment; `None` if it names none.
    pub vni: Option<Vni>,
    /// What there is of the inner frame.
    pub inner: &'a [u8],
}

/// The tunnel packet that these bytes are, if it is one for a VTEP's UDP port, host byte order.
#[must_use]
pub fn tunnel(packet: &[u8], port: u16) -> Option<Tunnel<'_>> {
    let sliced = LaxSlicedPacket::from_ethernet(packet).ok()?;
    let (sender, _) = addresses(sliced.net.as_ref()?)?;
    let Some(TransportSlice::Udp(udp)) = sliced.transport else { return None };
    if udp.destination_port() != port {
        return None;
    }
    let (header, inner) = udp.payload().split_at_checked(vxlan::LEN)?;
    let vni = u32::from_be_bytes([0, header[4], header[5], header[6]]);
    Some(Tunnel { sender, vni: Vni::new(vni), inner })
}

/// Source and destination of a frame.
#[must_use]
pub fn stations(frame: &[u8]) -> Option<(MacAddr, MacAddr)> {
    let sliced = LaxSlicedPacket::from_ethernet(frame).ok()?;
    let Some(LinkSlice::Ethernet2(ethernet)) = sliced.link else { return None };
    Some((MacAddr::new(ethernet.source()), MacAddr::new(ethernet.destination())))
}

fn addresses(net: &LaxNetSlice<'_>) -> Option<(IpAddr, IpAddr)> {
    match net {
        LaxNetSlice::Ipv4(ip) => {
            Some((ip.header().source_addr().into(), ip.header().destination_addr().into()))
        }
        LaxNetSlice::Ipv6(ip) => {
            Some((ip.header().source_addr().into(), ip.header().destination_addr().into()))
        }
        LaxNetSlice::Arp(_) => None,
    }
}

/// A frame in a few words.
#[must_use]
pub fn describe(frame: &[u8]) -> String {
    let Some((source, destination)) = stations(frame) else { return "a fragment of a frame".to_owned() };
    let mut text = format!("{source} > {destination}");
    let Ok(sliced) = LaxSlicedPacket::from_ethernet(frame) else { return text };
    let (from, to) = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => (Some(tcp.source_port()), Some(tcp.destination_port())),
        Some(TransportSlice::Udp(udp)) => (Some(udp.source_port()), Some(udp.destination_port())),
        _ => (None, None),
    };
    let port = |port: Option<u16>| port.map(|port| format!(":{port}")).unwrap_or_default();
    let bracketed = |address: IpAddr, port: Option<u16>| match address {
        IpAddr::V6(address) if port.is_some() => format!("[{address}]"),
        address => address.to_string(),
    };
    // Writing to a string does not fail.
    let _ = match sliced.net.as_ref() {
        Some(LaxNetSlice::Arp(_)) => write!(text, ", ARP"),
        Some(net) => match addresses(net) {
            Some((source, destination)) => write!(
                text,
                ", {}{} > {}{}",
                bracketed(source, from),
                port(from),
                bracketed(destination, to),
                port(to)
            ),
            None => Ok(()),
        },
        None => Ok(()),
    };
    let protocol = match sliced.transport {
        Some(TransportSlice::Tcp(_)) => " TCP",
        Some(TransportSlice::Udp(_)) => " UDP",
        Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_)) => " ICMP",
        Some(TransportSlice::Igmp(_)) => " IGMP",
        None => "",
    };
    text + protocol
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn frame() -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64)
            .tcp(1000, 80, 0, 0);
        let mut frame = Vec::new();
        builder.write(&mut frame, &[7; 40]).unwrap();
        frame
    }

    fn tunnel_packet() -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 9, 1], [2, 0, 0, 0, 9, 2])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(50000, 4789);
        let mut packet = Vec::new();
        builder.write(&mut packet, &[&[8, 0, 0, 0, 0, 0, 100, 0][..], &frame()].concat()).unwrap();
        packet
    }

    #[test]
    fn a_frame_is_described() {
        let text = "02:00:00:00:00:01 > 02:00:00:00:00:02, 10.1.0.1:1000 > 10.1.0.2:80 TCP";
        assert_eq!(describe(&frame()), text);
        assert_eq!(describe(&frame()[..8]), "a fragment of a frame");
    }

    #[test]
    fn a_tunnel_packet_is_seen_through_whole_or_cut_off() {
        let packet = tunnel_packet();
        let (sender, vni) = ("10.0.0.1".parse().unwrap(), Vni::new(100));
        assert_eq!(tunnel(&packet, 4789), Some(Tunnel { sender, vni, inner: &frame() }));
        assert_eq!(tunnel(&packet[..64], 4789), Some(Tunnel { sender, vni, inner: &frame()[..14] }));
        assert_eq!(tunnel(&packet, 4790), None);
        for len in 0..50 {
            assert_eq!(tunnel(&packet[..len], 4789), None, "{len}");
        }
    }
}
