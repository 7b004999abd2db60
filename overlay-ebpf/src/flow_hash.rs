//! What tells flows apart, for the underlay's hashing.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use overlay_common::{
    UnderlayAddr,
    header::{
        eth::{self, Payload},
        flow_hash::{FlowHash, PORTS_LEN, has_ports},
        ipv4::{self, Fragment},
        ipv6,
    },
};

use crate::{frame::Frame, packet::Packet as _, skb::Skb};

/// A hash of the flow of a frame: the kernel's own where it has made one, as for what its sockets send. To have the kernel make
/// one costs as much as all else that happens to a small packet here.
#[inline(always)]
pub(crate) fn of(skb: &Skb, frame: &Frame) -> u32 {
    if skb.has_flow_hash() { skb.flow_hash() } else { by_headers(skb, frame) }
}

/// A hash of the addresses, and of the ports of TCP and UDP that is not in fragments.
#[inline(always)]
fn by_headers(skb: &Skb, frame: &Frame) -> u32 {
    let stations = FlowHash::of_stations(frame.source(), frame.destination());
    let network = match frame.payload() {
        Payload::Ipv4 => skb.get::<Ipv4Hdr>(eth::LEN).map(|ip| {
            let transport = ipv4::header_len(ip).filter(|_| ipv4::fragment(ip) == Fragment::Whole);
            let hash = stations
                .and_addresses(UnderlayAddr::from_ipv4(ip.src_addr), UnderlayAddr::from_ipv4(ip.dst_addr));
            (hash, ip.proto, transport)
        }),
        Payload::Ipv6 => skb.get::<Ipv6Hdr>(eth::LEN).map(|ip| {
            let (source, destination) =
                (UnderlayAddr::from_ipv6(ip.src_addr), UnderlayAddr::from_ipv6(ip.dst_addr));
            (stations.and_addresses(source, destination), ip.next_hdr, Some(ipv6::LEN))
        }),
        Payload::Vlan | Payload::Other => None,
    };
    let Some((hash, protocol, transport)) = network else {
        return stations.finish();
    };
    let ports = transport
        .filter(|_| has_ports(protocol))
        .and_then(|len| skb.get::<[u8; PORTS_LEN]>(eth::LEN + len))
        .copied()
        .unwrap_or_default();
    hash.and_ports(protocol, ports).finish()
}
