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

/// Puts a VTEP into a slot that is nobody's.
#[inline(always)]
pub(crate) fn set(id: VtepId, vtep: &Vtep) {
    // An id that is a slot's cannot fail.
    let _ = VTEPS.set(id.index(), vtep, 0);
}

/// Empties a slot.
#[inline(always)]
pub(crate) fn clear(id: VtepId) {
    set(id, &Vtep::none());
}
