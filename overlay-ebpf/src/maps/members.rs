use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    UnderlayAddr, Vni, VtepId,
    maps::member::{GROUP, MAX_ENTRIES, MemberKey},
};

use super::NO_PREALLOC;

/// `-EEXIST`.
const EEXIST: i32 = -17;

#[btf_map]
static MEMBERS: HashMap<MemberKey, u32, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// The remote VTEP at `remote`, if it may send into segment `vni`.
#[inline(always)]
pub(crate) fn get(vni: Vni, remote: UnderlayAddr) -> Option<VtepId> {
    // SAFETY: a shared read of one word.
    let id = *unsafe { MEMBERS.get(MemberKey::new(vni, remote)) }?;
    if id & GROUP != 0 { None } else { VtepId::new(id as u16) }
}

/// Whether the multicast group `group` stands for VTEPs of segment `vni`.
#[inline(always)]
pub(crate) fn has_group(vni: Vni, group: UnderlayAddr) -> bool {
    // SAFETY: a shared read of one word.
    unsafe { MEMBERS.get(MemberKey::new(vni, group)) }.is_some_and(|id| id & GROUP != 0)
}

/// Lets the VTEP at `remote` send into segment `vni`, under that id, unless it does already; `false` if there is no room.
#[inline(always)]
pub(crate) fn add(vni: Vni, remote: UnderlayAddr, id: VtepId) -> bool {
    let added = MEMBERS.insert(MemberKey::new(vni, remote), id.index(), u64::from(BPF_NOEXIST));
    matches!(added, Ok(()) | Err(EEXIST))
}
