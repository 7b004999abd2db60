use core::ptr;

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    IfIndex,
    explain::Step,
    maps::bum_rate::{BumRate, MAX_ENTRIES},
};

use super::NO_PREALLOC;
use crate::{atomic, explain};

/// How often a word is tried that other CPUs change too; after that the frame passes unpaid.
const TRIES: u32 = 4;

#[btf_map]
static BUM_RATES: HashMap<u32, BumRate, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// Whether the limit of the port `device` lets it have `packets` more packets flooded at `now`, nanoseconds of the
/// monotonic clock.
#[inline(always)]
pub(crate) fn allows(device: IfIndex, packets: u32, now: u64) -> bool {
    let Some(entry) = BUM_RATES.get_ptr_mut(device.get()) else {
        return true;
    };
    // SAFETY: the map outlives the program; of the words only one changes, and that as an atomic.
    let rate = unsafe { &mut *entry };
    for _ in 0..TRIES {
        let word = ptr::from_mut(rate.next_mut());
        // SAFETY: the word is in the map; other CPUs may change it at any time.
        let next = unsafe { word.read_volatile() };
        let Some(after) = rate.after(next, now, packets) else {
            explain::note(|| Step::BumRate(device, false));
            return false;
        };
        // SAFETY: the word is in the map, and aligned.
        if unsafe { atomic::compare_exchange(word, next, after) } {
            explain::note(|| Step::BumRate(device, true));
            return true;
        }
    }
    true
}
