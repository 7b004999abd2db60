//! Learning which MAC addresses neighbours have, out of what they say of themselves.

use aya_log_ebpf::info;
use overlay_common::{
    DropReason, Vni,
    header::claim::{Claim, Strength},
    maps::{
        fdb::Origin,
        neighbour::{Effect, Neighbour, NeighbourKey},
        segment::Segment,
    },
};

use crate::{
    clock, examine,
    frame::Frame,
    hear::hear,
    maps::{counters, jumps, neighbours, segments},
    neighbour,
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
    jumps::jump(skb, examine::rest_from_tunnel(segment, &frame))
}

/// Notes what a station said of itself at `now`, nanoseconds of the monotonic clock, in a segment that learns. Static and
/// control-plane entries stay as they are.
#[inline(always)]
pub(crate) fn snoop(skb: &Skb, vni: Vni, segment: &Segment, claim: &Claim, now: u64) {
    if !segment.learning() {
        return;
    }
    let key = NeighbourKey::new(vni, claim.address);
    let Some(entry) = neighbours::entry_mut(key) else {
        if claim.strength != Strength::Confirms {
            let router = claim.router.unwrap_or(false);
            let entry = Neighbour::new(key, claim.mac, router, Origin::Learned, now);
            let is_there = neighbour::learn(vni, key, entry)
                || sweep::when_due(now) && neighbour::learn(vni, key, entry);
            if !is_there {
                neighbour::refuse(vni, now);
                counters::neighbour_not_learned(vni);
            }
        }
        return;
    };
    let seen = entry.snapshot();
    match seen.effect(key, claim, seen.is_aged(segment.ageing(), now)) {
        Effect::Same => {
            if now.wrapping_sub(entry.last_seen()) > RENEW_NS {
                entry.touch(now);
            }
        }
        Effect::Replaced => {
            let mut new = seen;
            new.replace(key, claim, now);
            if neighbours::exchange(entry, &seen, &new) {
                info!(skb, "VNI {}: {:i} is {:mac} now", vni.get(), claim.address.bytes(), claim.mac.bytes());
            }
        }
        Effect::Refused => counters::neighbour_refused(vni),
        Effect::Ignored => {}
    }
}
