use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use overlay_common::{Notice, explain::Step, maps::notices::MAX_ENTRIES};

use crate::explain;

#[btf_map]
static NOTICES: PerCpuArray<u64, MAX_ENTRIES> = PerCpuArray::new();

/// Counts what was done.
#[inline(always)]
pub(crate) fn count(notice: Notice) {
    explain::note(|| Step::Notice(notice));
    if let Some(slot) = NOTICES.get_ptr_mut(notice.index()) {
        // SAFETY: the slot is this CPU's own, and the map outlives the program.
        unsafe { *slot += 1 };
    }
}
