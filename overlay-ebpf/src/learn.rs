//! Learning where stations are, out of the source addresses of their frames.

use overlay_common::{
    MacAddr, Vni,
    explain::{Learning, Step},
    maps::{
        fdb::{Origin, Place},
        segment::Segment,
    },
};

use crate::{explain, maps::fdb, sighting, skb::Skb};

/// How old the time of an entry may grow before a frame renews it, in nanoseconds: so that busy stations do not make
/// every packet write to shared memory.
const RENEW_NS: u64 = 1_000_000_000;

/// Notes that a frame from `source` came from `place` at `now`, nanoseconds of the monotonic clock. Static and
/// control-plane entries stay as they are. Returns whether there is nothing to note of its next frames from there either,
/// but the time.
#[inline(always)]
pub(crate) fn learn(skb: &Skb, vni: Vni, segment: &Segment, source: MacAddr, place: Place, now: u64) -> bool {
    if !segment.learning() {
        explain::note(|| Step::Learn(Some(vni), Learning::Off));
        return true;
    }
    if is_known_at(vni, source, place, now) {
        explain::note(|| Step::Learn(Some(vni), Learning::Known));
        return true;
    }
    sighting::note(skb, vni, source, place);
    false
}

/// Whether a station is known to be at `place`; then its frame from there has been noted.
#[inline(always)]
pub(crate) fn is_known_at(vni: Vni, source: MacAddr, place: Place, now: u64) -> bool {
    let Some(entry) = fdb::entry_mut(vni, source).filter(|entry| entry.is_at(vni, place)) else {
        return false;
    };
    if now.saturating_sub(entry.last_seen()) > RENEW_NS && entry.origin() == Origin::Learned {
        entry.touch(now);
    }
    true
}
