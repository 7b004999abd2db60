use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    UnderlayAddr, Vni, VtepId,
    maps::member::{MAX_ENTRIES, MemberKey},
};

use super::NO_PREALLOC;

#[btf_map]
static MEMBERS: HashMap<MemberKey, u32, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// The remote VTEP at `remote`, if it may send into segment `vni`.
#[inline(always)]
pub(crate) fn get(vni: Vni, remote: UnderlayAddr) -> Option<VtepId> {
    // SAFETY: a shared read of one word.
    let id = *unsafe { MEMBERS.get(MemberKey::new(vni, remote)) }?;
    VtepId::new(id as u16)
}
