//! Making room: stations that have aged are removed where there is no room for others, with no process of ours alive.
//!
//! A hash cannot be searched from where the last search ended, and searching it as a whole takes too long for a packet. So
//! learned stations stand in a queue: a batch of those that have waited longest is looked at, and those that live go
//! back to its end.

use core::{ffi::c_void, ptr};

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_loop, programs::TcContext};
use overlay_common::{
    Vni,
    maps::{
        event::Kind,
        fdb::{FdbEntry, FdbKey, Origin, Swept},
    },
};

use crate::{
    clock, forget,
    maps::{ageing, fdb, segments},
    skb::Skb,
};

/// Stations looked at in one go.
const BATCH: u32 = 128;

/// Nanoseconds from one go to the next, over all CPUs: so a full FDB of 2^18 stations is gone through in 8 seconds, for
/// about a hundredth of one CPU. Where a go removes any, the next may follow at once.
const INTERVAL_NS: u64 = 4_000_000;

struct Batch {
    /// Not the `Skb` around it, for which the callers' stacks have no room.
    skb: *mut __sk_buff,
    now: u64,
    /// The first station that was put back: when its turn comes again, all have been looked at.
    first: Option<FdbKey>,
    /// At how many elements of the queue it looked, and how many of them were of learned stations.
    swept: (u32, u32),
}

/// Looks at a batch of stations because a command or the agent says so.
#[inline(always)]
pub(crate) fn sweep(skb: &Skb) -> Swept {
    let (looked, learned) = reclaim::<true>(skb, clock::now());
    Swept::new(looked, learned)
}

/// Looks at a batch of stations, unless one was looked at just before.
#[inline(always)]
pub(crate) fn when_due(skb: &Skb, now: u64) {
    if ageing::is_due(now, INTERVAL_NS) {
        reclaim::<false>(skb, now);
    }
}

/// Looks at a batch of stations, and removes those that have aged; at how many elements of the queue it looked, and how many
/// of them were of learned stations.
#[inline(always)]
pub(crate) fn reclaim<const TELL: bool>(skb: &Skb, now: u64) -> (u32, u32) {
    let mut batch = Batch { skb: skb.raw(), now, first: None, swept: (0, 0) };
    // SAFETY: `look` takes the `Batch` that it is given here, which outlives the loop.
    unsafe { bpf_loop(BATCH, look::<TELL> as *mut c_void, ptr::from_mut(&mut batch).cast(), 0) };
    batch.swept
}

/// Puts a station that was taken from the queue at its end. A learned station always stands in the queue, so that it can
/// age: if others took its place meanwhile, it is forgotten instead.
#[inline(always)]
pub(crate) fn put_back<const TELL: bool>(skb: &Skb, vni: Vni, element: FdbKey, entry: &mut FdbEntry) {
    if !ageing::push(element) {
        forget::forget::<TELL>(skb, Kind::Aged, vni, element.split_tag().0, entry);
    }
}

const CONTINUE: i64 = 0;
const STOP: i64 = 1;

unsafe extern "C" fn look<const TELL: bool>(_at: u64, batch: *mut c_void) -> i64 {
    // SAFETY: `reclaim` passes a `Batch`.
    let batch = unsafe { &mut *batch.cast::<Batch>() };
    let Some(next) = ageing::pop() else { return STOP };
    batch.swept.0 += 1;
    let (station, tag) = next.split_tag();
    let Some(vni) = station.vni() else { return CONTINUE };
    let Some(entry) = fdb::entry_mut(vni, station.mac()) else { return CONTINUE };
    // A station that was removed otherwise, and is there again, stands elsewhere in the queue.
    if entry.tag() != tag || entry.origin() != Origin::Learned {
        return CONTINUE;
    }
    batch.swept.1 += 1;
    let is_aged = segments::get(vni).is_none_or(|segment| entry.is_aged(segment.ageing(), batch.now));
    // As `put_back` does.
    if is_aged || !ageing::push(next) {
        if forget::forget::<TELL>(&Skb::new(TcContext::new(batch.skb)), Kind::Aged, vni, station, entry) {
            ageing::make_due();
        }
        return CONTINUE;
    }
    let is_round = batch.first == Some(next);
    batch.first.get_or_insert(next);
    if is_round { STOP } else { CONTINUE }
}
