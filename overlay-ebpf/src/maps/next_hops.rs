use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use overlay_common::maps::next_hop::{MAX_ENTRIES, NextHop, Slot};

#[btf_map]
static NEXT_HOPS: PerCpuArray<NextHop, MAX_ENTRIES> = PerCpuArray::new();

/// What stands in this CPU's slot, whosever it is; `None` for one out of range.
#[inline(always)]
pub(crate) fn get(slot: Slot) -> Option<&'static mut NextHop> {
    super::of_this_cpu(&NEXT_HOPS, slot.index())
}
