use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use overlay_common::maps::early::{MAX_ENTRIES, Pattern};

#[btf_map]
static ARRIVALS: PerCpuArray<Pattern, MAX_ENTRIES> = PerCpuArray::new();

/// The pattern at a place. `None` does not happen: every place has one.
#[inline(always)]
pub(crate) fn at(index: u32) -> Option<&'static mut Pattern> {
    super::of_this_cpu(&ARRIVALS, index)
}
