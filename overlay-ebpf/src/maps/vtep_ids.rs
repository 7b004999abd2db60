use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overlay_common::{UnderlayAddr, VtepId, maps::vtep_ids::MAX_ENTRIES};

use super::NO_PREALLOC;

#[btf_map]
static VTEP_IDS: HashMap<UnderlayAddr, u32, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// The remote VTEP at `remote`, of whatever segments.
#[inline(always)]
pub(crate) fn get(remote: UnderlayAddr) -> Option<VtepId> {
    // SAFETY: a shared read of one word.
    let id = *unsafe { VTEP_IDS.get(remote) }?;
    VtepId::new(id as u16)
}
