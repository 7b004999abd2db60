//! Learning where stations are, out of the source addresses of their frames.

use aya_log_ebpf::{debug, info};
use overlay_common::{
    MacAddr, Vni,
    maps::{
        fdb::{Origin, Place},
        segment::Segment,
    },
};

use crate::{
    maps::{counters, fdb},
    skb::Skb,
};

/// How old the time of an entry may grow before a frame renews it, in nanoseconds: so that busy stations do not make
/// every packet write to shared memory.
const RENEW_NS: u64 = 1_000_000_000;

/// Notes that a frame from `source` came from `place` at `now`, nanoseconds of the monotonic clock. Static and
/// control-plane entries stay as they are.
#[inline(always)]
pub(crate) fn learn(skb: &Skb, vni: Vni, segment: &Segment, source: MacAddr, place: Place, now: u64) {
    if !segment.learning() {
        return;
    }
    let Some(entry) = fdb::entry_mut(vni, source) else {
        if fdb::add_learned(vni, source, place, now) {
            debug!(skb, "VNI {}: learned {:mac}", vni.get(), source.bytes());
        } else {
            counters::not_learned(vni);
        }
        return;
    };
    if entry.is_learned_at(vni, place) {
        if now.wrapping_sub(entry.last_seen()) > RENEW_NS {
            entry.touch(now);
        }
    } else if entry.origin() == Origin::Learned {
        entry.move_to(vni, place, now);
        info!(skb, "VNI {}: {:mac} moved", vni.get(), source.bytes());
    }
}
