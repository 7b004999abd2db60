use aya_ebpf::{btf_maps::Array, macros::btf_map};
use overlay_common::{
    VtepId,
    maps::vtep::{MAX_ENTRIES, Vtep},
};

#[btf_map]
static VTEPS: Array<Vtep, MAX_ENTRIES> = Array::new();

/// The remote VTEP with that id.
#[inline(always)]
pub(crate) fn get(id: VtepId) -> Option<&'static Vtep> {
    VTEPS.get(id.index()).filter(|vtep| vtep.is_some())
}
