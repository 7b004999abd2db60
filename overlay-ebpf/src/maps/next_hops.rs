use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use overlay_common::{
    VtepId,
    maps::{next_hop::NextHop, vtep},
};

#[btf_map]
static NEXT_HOPS: PerCpuArray<NextHop, { vtep::MAX_ENTRIES }> = PerCpuArray::new();

/// This CPU's slot for `vtep`; `None` for an id out of range.
#[inline(always)]
pub(crate) fn slot(vtep: VtepId) -> Option<&'static mut NextHop> {
    let slot = NEXT_HOPS.get_ptr_mut(vtep.index())?;
    // SAFETY: the slot is this CPU's own, programs on one CPU do not interrupt each other, and the map outlives them.
    Some(unsafe { &mut *slot })
}
