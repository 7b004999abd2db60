//! Learning which MAC addresses neighbours have, out of what they say of themselves.

use aya_log_ebpf::info;
use overlay_common::{
    DropReason, Vni,
    header::claim::{Claim, Strength},
    maps::{
        jump::Jump,
        neighbour::{Effect, Neighbour, NeighbourKey},
        segment::Segment,
    },
};

use crate::{
    clock,
    frame::Frame,
    hear::hear,
    maps::{counters, jumps, neighbours, segments},
    skb::Skb,
    sweep,
    verdict::Outcome,
};

/// How old the time of an entry may grow before it is renewed, in nanoseconds.
const RENEW_NS: u64 = 1_000_000_000;

/// Listens to a frame out of a tunnel in the segment that was handed over with it, and sends it on.
#[inline(always)]
pub(crate) fn from_tunnel(skb: &mut Skb) -> Outcome {
    let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    let frame = Frame::parse(skb, 0)?;
    if let Some(claim) = hear(skb, &frame).claim {
        snoop(skb, vni, segment, &claim, clock::now());
    }
    jumps::jump(skb, Jump::ForwardFromTunnel)
}

/// Notes what a station said of itself at `now`, nanoseconds of the monotonic clock, in the frame's VLANs of a segment that learns.
/// Static and control-plane entries stay as they are.
#[inline(always)]
pub(crate) fn snoop(skb: &Skb, vni: Vni, segment: &Segment, claim: &Claim, now: u64) {
    if !segment.learning() {
        return;
    }
    let key = NeighbourKey::new(vni, claim.address);
    let vlans = skb.tags_handed_over().vlans();
    let Some(entry) = neighbours::entry_mut(key) else {
        if claim.strength != Strength::Confirms {
            let entry = Neighbour::learned(key, claim, vlans, now);
            let is_there = neighbours::add(key, entry) || sweep::when_due(now) && neighbours::add(key, entry);
            if !is_there {
                counters::neighbour_not_learned(vni);
            }
        }
        return;
    };
    match entry.effect(key, claim, vlans, entry.is_aged(segment.ageing(), now)) {
        Effect::Same => {
            if now.wrapping_sub(entry.last_seen()) > RENEW_NS {
                entry.touch(now);
            }
        }
        Effect::Replaced => {
            entry.replace(key, claim, vlans, now);
            info!(skb, "VNI {}: {:i} is {:mac} now", vni.get(), claim.address.bytes(), claim.mac.bytes());
        }
        Effect::Refused => counters::neighbour_refused(vni),
        Effect::Ignored => {}
    }
}
