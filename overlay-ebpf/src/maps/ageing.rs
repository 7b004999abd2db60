use aya_ebpf::{
    btf_maps::{Array, Queue},
    macros::btf_map,
};
use overlay_common::maps::fdb::{DEFAULT_ENTRIES, FdbKey};

use crate::atomic;

#[btf_map]
static AGEING: Queue<FdbKey, { DEFAULT_ENTRIES as usize }> = Queue::new();

#[btf_map]
static RECLAIMED: Array<u64, 1> = Array::new();

/// Puts a station, with the tag of its entry, at the end of the queue; whether there is room.
#[inline(always)]
pub(crate) fn push(station: FdbKey) -> bool {
    AGEING.push(station, 0).is_ok()
}

/// Takes the station whose turn it is.
#[inline(always)]
pub(crate) fn pop() -> Option<FdbKey> {
    AGEING.pop().ok()?
}

/// Whether the queue was not gone through within `interval` nanoseconds before `now`; of all CPUs that ask, one is told so.
#[inline(always)]
pub(crate) fn is_due(now: u64, interval: u64) -> bool {
    let Some(last) = RECLAIMED.get_ptr_mut(0) else { return false };
    // SAFETY: a word of the map, which outlives the program.
    unsafe {
        let before = last.read_volatile();
        now.wrapping_sub(before) >= interval && atomic::compare_exchange(last, before, now)
    }
}

/// Lets the queue be gone through again at once.
#[inline(always)]
pub(crate) fn make_due() {
    let _ = RECLAIMED.set(0, 0, 0);
}
