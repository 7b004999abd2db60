//! Delivering a packet of a tunnel like one before it: to the same port, without the same headers.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use network_types::eth::EthHdr;
use overlay_common::{
    DropReason, Family, header,
    header::{
        eth::{self, Payload},
        ipv4, ipv6, outer,
        shape::Shape,
    },
    maps::early::{Pattern, Rule},
};

use crate::{
    decap::{Span, Tunnel},
    maps::{arrivals, counters},
    packet::{Packet as _, put_word, word},
    pattern, redirect,
    skb::Skb,
    verdict::Outcome,
};

/// `ARRIVALS`.
struct InTc;

impl pattern::Kept for InTc {
    #[inline(always)]
    fn at(index: u32) -> Option<&'static mut Pattern> {
        arrivals::at(index)
    }
}

/// Delivers a packet like one before it, which came at `now`. `None`: nothing is known of such packets, or it differs in what is
/// not compared; it is as it was.
#[inline(always)]
pub(crate) fn repeat(skb: &mut Skb, generation: u64, now: u64) -> Option<Outcome> {
    if skb.gso_size() != 0 {
        return None;
    }
    match family_of(skb)? {
        Family::Ipv4 => {
            repeat_as::<{ Shape::of_tunnel(Family::Ipv4).len }>(skb, Family::Ipv4, generation, now)
        }
        Family::Ipv6 => {
            repeat_as::<{ Shape::of_tunnel(Family::Ipv6).len }>(skb, Family::Ipv6, generation, now)
        }
    }
}

/// All outer headers and the inner Ethernet header take `LEN` bytes.
#[inline(always)]
fn repeat_as<const LEN: usize>(skb: &mut Skb, family: Family, generation: u64, now: u64) -> Option<Outcome> {
    let (rule, pattern) = pattern::known::<InTc>(skb, family, generation, now)?;
    let start = LEN - eth::LEN;
    let head = skb.get::<[u8; LEN]>(0)?;
    let ethernet = (word(head, start), word(head, LEN - 8));
    let payload = eth::payload(skb.get::<EthHdr>(start)?);
    // The kernel leaves no less than an IP header behind the Ethernet header.
    let shortest = LEN + if payload == Payload::Ipv6 { ipv6::LEN } else { ipv4::LEN };
    let len = skb.len();
    if (len as usize) < shortest {
        return None;
    }
    let bytes = len - start as u32;
    // What fails changes nothing.
    skb.remove_room(start as u32, payload).ok()?;
    Some(put_ethernet(skb, ethernet).and_then(|()| {
        counters::received_at(pattern.tally(), rule.vni, rule.vtep, bytes);
        if rule.to_host {
            return redirect::to_host(rule.port);
        }
        redirect::to_port(skb, rule.port, rule.peer, payload)
    }))
}

#[inline(always)]
fn put_ethernet(skb: &mut Skb, (first, last): (u64, u64)) -> Result<(), DropReason> {
    let header = skb.get_mut::<[u8; eth::LEN]>(0).ok_or(DropReason::DecapFailed)?;
    put_word(header, 0, first);
    put_word(header, eth::LEN - 8, last);
    Ok(())
}

/// Of a packet's outer header.
#[inline(always)]
fn family_of(skb: &Skb) -> Option<Family> {
    match eth::payload(skb.get::<EthHdr>(0)?) {
        Payload::Ipv4 => Some(Family::Ipv4),
        Payload::Ipv6 => Some(Family::Ipv6),
        Payload::Vlan | Payload::Other => None,
    }
}

/// Whether a packet of a tunnel is one whose headers tell all that matters: nothing in its outer header changes the frame, and no
/// program has a closer look at frames of its segment.
#[inline(always)]
pub(crate) fn is_plain(tunnel: &Tunnel, span: Span) -> bool {
    let segment = tunnel.segment;
    span.end.is_none()
        && tunnel.mark.is_none()
        && !header::ecn::matters(tunnel.outer_tos)
        && !(segment.suppress() || segment.clamps_mss() || segment.has_trunks())
}

/// What was found out about a packet.
pub(crate) struct Kept {
    pub(crate) rule: Rule,
    /// Bytes of its outer headers.
    pub(crate) start: usize,
    pub(crate) generation: u64,
    /// When it came, and until when what was found out can be used.
    pub(crate) time: (u64, u64),
}

/// Keeps what is done with a packet that has its outer headers still, for those like it.
#[inline(always)]
pub(crate) fn keep(skb: &mut Skb, kept: &Kept) {
    keep_apart(skb.raw(), kept);
}

/// In a stack frame of its own, since the caller's is short.
#[inline(never)]
fn keep_apart(skb: *mut __sk_buff, kept: &Kept) -> i32 {
    let skb = Skb::new(TcContext::new(skb));
    let family = if skb.gso_size() == 0 { family_of(&skb) } else { None };
    // Without IP options and extension headers.
    if let Some(family) = family
        && outer::len(family) == kept.start
    {
        pattern::keep::<InTc>(&skb, family, kept.generation, kept.rule, kept.time);
    }
    0
}
