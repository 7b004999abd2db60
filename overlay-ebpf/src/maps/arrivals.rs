use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use overlay_common::maps::early::{MAX_ENTRIES, Pattern};

#[btf_map]
static ARRIVALS: PerCpuArray<Pattern, MAX_ENTRIES> = PerCpuArray::new();

/// The pattern at a place. `None` does not happen: every place has one.
#[inline(always)]
pub(crate) fn at(index: u32) -> Option<&'static mut Pattern> {
    let pattern = ARRIVALS.get_ptr_mut(index)?;
    // SAFETY: the place is this CPU's own, programs on one CPU do not interrupt each other, and the map outlives them.
    Some(unsafe { &mut *pattern })
}
