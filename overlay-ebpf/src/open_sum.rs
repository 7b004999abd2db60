//! Whether the kernel has yet to fill something into a frame that XDP sees the bytes of, and not what is noted beside them.

use overlay_common::header::{eth::Payload, ipv4, ipv6, open_sum};

use crate::packet::{Packet, word};

/// Whether all checksums are as they shall be, for all that the bytes of a frame tell; its IP header is at `network`. What
/// nothing is known of is not.
#[inline(always)]
pub(crate) fn is_filled_in(packet: &impl Packet, network: usize, payload: Payload) -> bool {
    match payload {
        Payload::Ipv4 => is_ipv4_filled_in(packet, network).unwrap_or(false),
        Payload::Ipv6 => is_ipv6_filled_in(packet, network).unwrap_or(false),
        Payload::Other => true,
        Payload::Vlan => false,
    }
}

/// One with options is left to whoever knows.
#[inline(always)]
fn is_ipv4_filled_in(packet: &impl Packet, network: usize) -> Option<bool> {
    const NO_OPTIONS: u8 = 0x45;
    // More fragments, or an offset.
    const FRAGMENTED: u16 = 0x3fff;
    let ip = packet.get::<[u8; ipv4::LEN]>(network)?;
    let (protocol, len) = (ip[9], u16::from_be_bytes([ip[2], ip[3]]));
    // What is fragmented has been summed up first.
    if open_sum::is_never_open(protocol) || u16::from_be_bytes([ip[6], ip[7]]) & FRAGMENTED != 0 {
        return Some(true);
    }
    if ip[0] != NO_OPTIONS {
        return None;
    }
    let field = *packet.get(network + ipv4::LEN + open_sum::field(protocol)?)?;
    let len = len.wrapping_sub(ipv4::LEN as u16);
    Some(!open_sum::may_be_open([word(ip, 12)], len, protocol, field))
}

#[inline(always)]
fn is_ipv6_filled_in(packet: &impl Packet, network: usize) -> Option<bool> {
    let ip = packet.get::<[u8; ipv6::LEN]>(network)?;
    let (protocol, len) = (ip[6], u16::from_be_bytes([ip[4], ip[5]]));
    if open_sum::is_never_open(protocol) {
        return Some(true);
    }
    let field = *packet.get(network + ipv6::LEN + open_sum::field(protocol)?)?;
    let addresses = [word(ip, 8), word(ip, 16), word(ip, 24), word(ip, 32)];
    Some(!open_sum::may_be_open(addresses, len, protocol, field))
}
