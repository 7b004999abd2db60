use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use overlay_common::maps::departure::{Departure, MAX_ENTRIES};

#[btf_map]
static DEPARTURES: PerCpuArray<Departure, MAX_ENTRIES> = PerCpuArray::new();

/// What stands at a place. `None` does not happen: every place has something.
#[inline(always)]
pub(crate) fn at(index: u32) -> Option<&'static mut Departure> {
    super::of_this_cpu(&DEPARTURES, index)
}
