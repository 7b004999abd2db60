//! Neighbor Solicitation and Advertisement (RFC 4861, sections 4.3 and 4.4), and what we make of them.
//!
//! What extension headers or more than one option come with is not looked at: only the station itself can answer it
//! right (secure ND, RFC 3971).

use network_types::icmp::Icmpv6Hdr;

use super::{
    checksum,
    claim::{Claim, Heard, Strength},
    ipv6::{self, Ipv6Hdr},
};
use crate::{MacAddr, OverlayAddr};

/// Bytes of a message without options: `ICMPv6` header and target.
pub const MESSAGE_LEN: usize = Icmpv6Hdr::LEN + 16;
/// Bytes of the one option that is understood: a link-layer address.
pub const OPTION_LEN: usize = 8;
/// Bytes of a packet with it.
pub const LEN: usize = ipv6::LEN + MESSAGE_LEN + OPTION_LEN;

/// `ICMPv6` type of a solicitation.
pub const SOLICITATION: u8 = 135;
/// `ICMPv6` type of an advertisement.
pub const ADVERTISEMENT: u8 = 136;

const ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 255;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// The packet of a solicitation or an advertisement.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// The IPv6 header.
    pub ip: Ipv6Hdr,
    /// The message without options.
    pub message: [u8; MESSAGE_LEN],
}

/// An advertisement that answers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The packet up to its option.
    pub packet: Packet,
    /// The target's link-layer address.
    pub option: [u8; OPTION_LEN],
}

/// What a frame can tell from its first bytes: whether it may be one of the two.
#[inline(always)]
#[must_use]
pub const fn may_be(next_header: u8, icmp_type: u8) -> bool {
    next_header == ICMPV6 && matches!(icmp_type, SOLICITATION | ADVERTISEMENT)
}

/// Whether an IPv6 header is followed by a message with one option.
#[inline(always)]
#[must_use]
pub const fn has_option(ip: &Ipv6Hdr) -> bool {
    ipv6::payload_len(ip) as usize == MESSAGE_LEN + OPTION_LEN
}

/// What a packet says, in a frame from `source` to `destination`. `option` is what follows the message, if
/// [`has_option`] says so.
#[inline(always)]
#[must_use]
pub fn heard(
    packet: &Packet,
    option: Option<[u8; OPTION_LEN]>,
    source: MacAddr,
    destination: MacAddr,
) -> Heard {
    let Packet { ip, message } = packet;
    let (len, option_sum) = match option {
        Some(option) => (MESSAGE_LEN + OPTION_LEN, checksum::sum(&option)),
        None => (MESSAGE_LEN, 0),
    };
    let is_right = ip.vcf[0] >> 4 == 6
        && ip.next_hdr == ICMPV6
        && ip.hop_limit == HOP_LIMIT
        && ipv6::payload_len(ip) as usize == len
        && message[1] == 0
        && checksum::fold(sum(packet) + option_sum) == 0xffff;
    let Some(target) = OverlayAddr::from_ipv6(target(message)).filter(|_| is_right) else {
        return Heard::NOTHING;
    };
    match message[0] {
        SOLICITATION => solicitation(ip, target, option, source, destination),
        ADVERTISEMENT => advertisement(message[4], target, option, source),
        _ => Heard::NOTHING,
    }
}

/// One without a source address probes for a duplicate (RFC 4862, section 5.4). Whoever asks everybody says its own
/// link-layer address; without that there is nobody to answer.
#[inline(always)]
fn solicitation(
    ip: &Ipv6Hdr,
    target: OverlayAddr,
    option: Option<[u8; OPTION_LEN]>,
    source: MacAddr,
    destination: MacAddr,
) -> Heard {
    let (Some(address), Some(option)) = (OverlayAddr::from_ipv6(ip.src_addr), option) else {
        return Heard::NOTHING;
    };
    if option != link_layer(SOURCE_LINK_LAYER, source) {
        return Heard::NOTHING;
    }
    let is_question = destination.is_group() && ip.dst_addr == solicited_node(target) && target != address;
    Heard {
        claim: Some(Claim { address, mac: source, strength: Strength::Replaces, router: None }),
        asks_for: if is_question { Some(target) } else { None },
    }
}

/// One without an option answers a question to that station alone, whose asker knows its link-layer address.
#[inline(always)]
fn advertisement(flags: u8, target: OverlayAddr, option: Option<[u8; OPTION_LEN]>, source: MacAddr) -> Heard {
    let strength = match option {
        None => Strength::Confirms,
        Some(option) if option != link_layer(TARGET_LINK_LAYER, source) => return Heard::NOTHING,
        Some(_) if flags & OVERRIDE != 0 => Strength::Replaces,
        Some(_) => Strength::Adds,
    };
    let router = Some(flags & ROUTER != 0);
    Heard { claim: Some(Claim { address: target, mac: source, strength, router }), asks_for: None }
}

/// The answer to a solicitation: that the station asked for has the address `mac`, and whether it is a router.
#[inline(always)]
#[must_use]
pub fn answer(solicitation: &Packet, mac: MacAddr, router: bool) -> Answer {
    let target = target(&solicitation.message);
    let mut message = solicitation.message;
    message[0] = ADVERTISEMENT;
    message[2] = 0;
    message[3] = 0;
    message[4] = SOLICITED | OVERRIDE | if router { ROUTER } else { 0 };
    let ip = Ipv6Hdr {
        vcf: [0x60, 0, 0, 0],
        payload_len: ((MESSAGE_LEN + OPTION_LEN) as u16).to_be_bytes(),
        next_hdr: ICMPV6,
        hop_limit: HOP_LIMIT,
        src_addr: target,
        dst_addr: solicitation.ip.src_addr,
    };
    let option = link_layer(TARGET_LINK_LAYER, mac);
    let mut packet = Packet { ip, message };
    let [high, low] = (!checksum::fold(sum(&packet) + checksum::sum(&option))).to_be_bytes();
    packet.message[2] = high;
    packet.message[3] = low;
    Answer { packet, option }
}

/// The sum over the pseudo header (RFC 8200, section 8.1) and the message without its option.
#[inline(always)]
fn sum(Packet { ip, message }: &Packet) -> u32 {
    u32::from(ipv6::payload_len(ip))
        + u32::from(ICMPV6)
        + checksum::sum(&ip.src_addr)
        + checksum::sum(&ip.dst_addr)
        + checksum::sum(message)
}

/// A link-layer address option (RFC 4861, section 4.6.1).
#[inline(always)]
const fn link_layer(kind: u8, mac: MacAddr) -> [u8; OPTION_LEN] {
    let [a, b, c, d, e, f] = mac.bytes();
    [kind, 1, a, b, c, d, e, f]
}

/// The group that a station with the address `target` listens to (RFC 4291, section 2.7.1).
#[inline(always)]
const fn solicited_node(target: OverlayAddr) -> [u8; 16] {
    let [.., x, y, z] = target.bytes();
    [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z]
}

#[inline(always)]
const fn target(message: &[u8; MESSAGE_LEN]) -> [u8; 16] {
    let [.., a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *message;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

#[cfg(test)]
mod tests;
