use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use overlay_common::maps::scratch::{INDEX, Scratch};

#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// This CPU's.
#[inline(always)]
pub(crate) fn get() -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(INDEX)?;
    // SAFETY: it is this CPU's own, programs on one CPU do not interrupt each other, and the map outlives them.
    Some(unsafe { &mut *scratch })
}
