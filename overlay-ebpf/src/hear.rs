//! What frames say about neighbours: ARP, ND, and DHCP where the segment is set so.

use network_types::arp::ArpHdr;
use overlay_common::header::{
    arp,
    claim::{Claim, Heard, Strength},
    dhcp::{self, Step},
    eth::{self, Payload},
    nd,
};

use crate::{frame::Frame, packet::Packet as _, skb::Skb};

/// Where the network header of a frame is that was handed over: its VLAN tags are beside it.
pub(crate) const NETWORK: usize = eth::LEN;

/// DHCP options looked at: more come in front of the message type only to hide it.
const DHCP_OPTIONS: usize = 16;

/// What a frame says about neighbours.
#[inline(always)]
pub(crate) fn hear(skb: &mut Skb, frame: &Frame) -> Heard {
    match frame.payload() {
        Payload::Other if frame.is_arp() => hear_arp(skb, frame, NETWORK),
        Payload::Ipv6 => hear_nd(skb, frame, NETWORK),
        Payload::Ipv4 => hear_dhcp(skb, NETWORK).unwrap_or(Heard::NOTHING),
        Payload::Vlan | Payload::Other => Heard::NOTHING,
    }
}

/// Makes bytes linear where they are not. A short frame stays as it is, and says nothing.
#[inline(always)]
pub(crate) fn pull(skb: &mut Skb, len: usize) {
    if skb.bounds().1 - skb.bounds().0 < len {
        let _ = skb.pull((len as u32).min(skb.len()));
    }
}

#[inline(always)]
fn hear_arp(skb: &mut Skb, frame: &Frame, network: usize) -> Heard {
    pull(skb, network + arp::LEN);
    match skb.get::<ArpHdr>(network) {
        Some(packet) => arp::heard(packet, frame.source(), frame.destination()),
        None => Heard::NOTHING,
    }
}

#[inline(always)]
fn hear_nd(skb: &mut Skb, frame: &Frame, network: usize) -> Heard {
    pull(skb, network + nd::LEN);
    let Some(packet) = skb.get::<nd::Packet>(network) else { return Heard::NOTHING };
    let option = if nd::has_option(&packet.ip) {
        let Some(option) = skb.get(network + size_of::<nd::Packet>()) else { return Heard::NOTHING };
        Some(*option)
    } else {
        None
    };
    nd::heard(packet, option, frame.source(), frame.destination())
}

/// The UDP checksum may not be filled in yet, on a frame of this host's, and is not looked at.
#[inline(always)]
fn hear_dhcp(skb: &mut Skb, network: usize) -> Option<Heard> {
    let start = network + dhcp::OFFSET;
    pull(skb, start + dhcp::LEN);
    if !dhcp::may_be(skb.get::<[u8; dhcp::OFFSET]>(network)?) {
        return None;
    }
    let (address, mac) = dhcp::lease(skb.get(start)?)?;
    let mut at = start + dhcp::LEN;
    for _ in 0..DHCP_OPTIONS {
        let mut option = [0; 3];
        skb.load(at, &mut option, 3).ok()?;
        match dhcp::next(option) {
            Step::Skip(len) => at += len,
            Step::Ack => {
                let claim = Claim { address, mac, strength: Strength::Replaces, router: None };
                return Some(Heard { claim: Some(claim), asks_for: None });
            }
            Step::Other => return None,
        }
    }
    None
}
