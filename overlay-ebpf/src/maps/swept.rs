use aya_ebpf::{btf_maps::Array, macros::btf_map};
use overlay_common::maps::swept::INDEX;

#[btf_map]
static NEIGHBOURS_SWEPT: Array<u64, 1> = Array::new();

/// Whether at least `interval` nanoseconds have passed since this was so last. Two CPUs that ask in the same moment may both
/// hear that it is.
#[inline(always)]
pub(crate) fn is_due(now: u64, interval: u64) -> bool {
    let Some(last) = NEIGHBOURS_SWEPT.get_ptr_mut(INDEX) else { return false };
    // SAFETY: the map outlives the program; CPUs race for the whole word only.
    let last = unsafe { &mut *last };
    if now.wrapping_sub(*last) < interval {
        return false;
    }
    *last = now;
    true
}
