//! Making room for neighbours: those that have aged are removed where there is none, with no process of ours alive.

use core::{ffi::c_void, ptr};

use overlay_common::maps::neighbour::{Neighbour, NeighbourKey};

use crate::{
    maps::{neighbours, segments, swept},
    neighbour,
};

/// Nanoseconds from one time to the next, over all CPUs: going through all there can be takes some milliseconds.
const INTERVAL_NS: u64 = 1_000_000_000;

/// Removes the neighbours that have aged at `now`, nanoseconds of the monotonic clock, unless that was done just before;
/// whether it was done now.
#[inline(always)]
pub(crate) fn when_due(mut now: u64) -> bool {
    let is_due = swept::is_due(now, INTERVAL_NS);
    if is_due {
        neighbours::for_each(visit, ptr::from_mut(&mut now).cast());
    }
    is_due
}

const CONTINUE: i64 = 0;

unsafe extern "C" fn visit(
    _map: *mut c_void,
    key: *const NeighbourKey,
    entry: *mut Neighbour,
    now: *mut c_void,
) -> i64 {
    // SAFETY: the kernel passes a key and an entry of the map, and `when_due` the time.
    let (key, entry, now) = unsafe { (*key, &mut *entry, *now.cast::<u64>()) };
    let segment = key.vni().and_then(segments::get);
    if segment.is_none_or(|segment| entry.is_aged(segment.ageing(), now)) {
        neighbour::forget(key, entry);
    }
    CONTINUE
}
