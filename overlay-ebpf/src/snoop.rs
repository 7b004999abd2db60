//! Learning which MAC addresses neighbours have, out of what they say of themselves.

use overlay_common::{
    DropReason, Vni,
    header::{
        claim::{Claim, Strength},
        vlan::Vlans,
    },
    maps::{
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
    watch,
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

/// Notes what a station said of itself at `now`, nanoseconds of the monotonic clock, in the frame's VLANs of a segment that
/// learns. Static and control-plane entries stay as they are.
#[inline(always)]
pub(crate) fn snoop(skb: &Skb, vni: Vni, segment: &Segment, claim: &Claim, now: u64) {
    if !segment.learning() {
        return;
    }
    let mut noted = note(vni, skb.tags_handed_over().vlans(), segment, claim, now);
    if noted == NO_ROOM && sweep::when_due(now) {
        noted = note(vni, skb.tags_handed_over().vlans(), segment, claim, now);
    }
    if noted == NO_ROOM {
        neighbour::refuse(vni, now);
        counters::neighbour_not_learned(vni);
    }
    if noted == REPLACED {
        watch::neighbour(skb, vni, claim.mac, claim.address);
    }
}

// What noting a claim comes to, as numbers, which the kernel's verifier can follow out of a function.
const DONE: u32 = 0;
/// It takes the place of what was known.
const REPLACED: u32 = 1;
/// There are as many neighbours as there can be.
const NO_ROOM: u32 = 2;

/// Notes it, in a function of its own, so that its stack does not add up with those of telling and of making room.
#[inline(never)]
fn note(vni: Vni, vlans: Vlans, segment: &Segment, claim: &Claim, now: u64) -> u32 {
    let key = NeighbourKey::new(vni, claim.address);
    let Some(entry) = neighbours::entry_mut(key) else {
        let is_kept = claim.strength == Strength::Confirms
            || neighbour::learn(vni, key, Neighbour::learned(key, claim, vlans, now));
        return if is_kept { DONE } else { NO_ROOM };
    };
    let seen = entry.snapshot();
    match seen.effect(key, claim, vlans, seen.is_aged(segment.ageing(), now)) {
        Effect::Same => {
            if now.wrapping_sub(entry.last_seen()) > RENEW_NS {
                entry.touch(now);
            }
        }
        Effect::Replaced => {
            let mut new = seen;
            new.replace(key, claim, vlans, now);
            if neighbours::exchange(entry, &seen, &new) {
                return REPLACED;
            }
        }
        Effect::Refused => counters::neighbour_refused(vni),
        Effect::Ignored => {}
    }
    DONE
}
