use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::HashMap, macros::btf_map};
use overlay_common::{UnderlayAddr, VtepId, maps::vtep_ids::MAX_ENTRIES};

use super::NO_PREALLOC;

#[btf_map]
static VTEP_IDS: HashMap<UnderlayAddr, u32, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// The remote VTEP at `addr`.
#[inline(always)]
pub(crate) fn get(addr: UnderlayAddr) -> Option<VtepId> {
    // SAFETY: a shared read of one word.
    let id = *unsafe { VTEP_IDS.get(addr) }?;
    VtepId::new(id as u16)
}

/// Gives the VTEP at `addr` an id; `false` if it has one by now.
#[inline(always)]
pub(crate) fn add(addr: UnderlayAddr, id: VtepId) -> bool {
    VTEP_IDS.insert(addr, id.index(), u64::from(BPF_NOEXIST)).is_ok()
}
