//! Frames that need a closer look before they go on. Programs of their own have it, so that the hot path stays short.

use overlay_common::{
    header::{dhcp, eth::Payload, ipv6, nd},
    maps::{jump::Jump, segment::Segment},
};

use crate::{clamp_mss, frame::Frame, groups, hear::NETWORK, packet::Packet, skb::Skb};

/// The program that a frame from a port goes to first; it hands the frame on to [`Jump::ForwardFromPort`].
#[inline(always)]
pub(crate) fn from_port(skb: &Skb, segment: &Segment, frame: &Frame) -> Option<Jump> {
    if segment.suppress() && may_tell_of_neighbours(skb, NETWORK, segment, frame) {
        return Some(Jump::SuppressFromPort);
    }
    if segment.clamps_mss() && clamp_mss::is_handshake(skb, NETWORK, frame) {
        return Some(Jump::ClampMssFromPort);
    }
    None
}

/// The program that a frame out of a tunnel, whose outer headers are off, goes to first; it hands the frame on to
/// [`Jump::ForwardFromTunnel`].
#[inline(always)]
pub(crate) fn from_tunnel(skb: &Skb, segment: &Segment, frame: &Frame) -> Option<Jump> {
    if segment.suppress() && may_tell_of_neighbours(skb, NETWORK, segment, frame) {
        return Some(Jump::SnoopFromTunnel);
    }
    if segment.clamps_mss() && clamp_mss::is_handshake(skb, NETWORK, frame) {
        return Some(Jump::ClampMssFromTunnel);
    }
    if groups::concerns(segment, frame) {
        return Some(Jump::GroupsFromTunnel);
    }
    None
}

/// Whether [`from_tunnel`] may have a closer look at a frame to one station, whose IP header is at `network` still.
#[inline(always)]
pub(crate) fn may_concern(packet: &impl Packet, network: usize, segment: &Segment, frame: &Frame) -> bool {
    segment.suppress() && may_tell_of_neighbours(packet, network, segment, frame)
        || segment.clamps_mss() && clamp_mss::is_handshake(packet, network, frame)
}

/// The program that a frame out of a tunnel goes to after it was listened to.
#[inline(always)]
pub(crate) fn rest_from_tunnel(segment: &Segment, frame: &Frame) -> Jump {
    if groups::concerns(segment, frame) { Jump::GroupsFromTunnel } else { Jump::ForwardFromTunnel }
}

/// Bytes of a network header that tell: of IPv6, and the type of what follows if that is `ICMPv6`.
const TELLING: usize = ipv6::LEN + 1;

/// Whether a frame may be ARP, ND or, where that counts too, DHCP. IPv6 that is not linear may be.
#[inline(always)]
fn may_tell_of_neighbours(packet: &impl Packet, network: usize, segment: &Segment, frame: &Frame) -> bool {
    let bytes = packet.get::<[u8; TELLING]>(network);
    match frame.payload() {
        Payload::Ipv6 => bytes.is_none_or(|bytes| nd::may_be(bytes[6], bytes[ipv6::LEN])),
        Payload::Ipv4 => segment.snoop_dhcp() && bytes.is_some_and(dhcp::may_be),
        Payload::Other => frame.is_arp(),
        Payload::Vlan => false,
    }
}
