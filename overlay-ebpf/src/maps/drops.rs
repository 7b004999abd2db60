use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use overlay_common::{DropReason, explain::Step, maps::drops::MAX_ENTRIES};

use crate::explain;

#[btf_map]
static DROPS: PerCpuArray<u64, MAX_ENTRIES> = PerCpuArray::new();

/// Counts a dropped frame.
#[inline(always)]
pub(crate) fn count(reason: DropReason) {
    explain::note(|| Step::Drop(reason));
    count_number(reason.index());
}

/// The same by the number of the reason, for who has told of it.
#[inline(always)]
pub(crate) fn count_number(reason: u32) {
    if let Some(slot) = DROPS.get_ptr_mut(reason) {
        // SAFETY: the slot is this CPU's own, and the map outlives the program.
        unsafe { *slot += 1 };
    }
}
