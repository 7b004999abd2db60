use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    UnderlayAddr, Vni, VtepId,
    explain::Step,
    maps::member::{GROUP, MAX_ENTRIES, MemberKey},
};

use super::NO_PREALLOC;
use crate::explain;

/// `-EEXIST`.
const EEXIST: i32 = -17;

#[btf_map]
static MEMBERS: HashMap<MemberKey, u32, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// The remote VTEP at `remote`, if it may send into segment `vni`.
#[inline(always)]
pub(crate) fn get(vni: Vni, remote: UnderlayAddr) -> Option<VtepId> {
    // SAFETY: a shared read of one word.
    let found = unsafe { MEMBERS.get(MemberKey::new(vni, remote)) };
    let id = found.filter(|id| **id & GROUP == 0).and_then(|id| VtepId::new(*id as u16));
    // One arm each: the verifier refuses an id that only one of them has set.
    match id {
        Some(id) => explain::note(|| Step::Member(Some(vni), Some(id))),
        None => explain::note(|| Step::Member(Some(vni), None)),
    }
    id
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
    explain::note(|| Step::Admit(Some(vni), remote));
    let added = MEMBERS.insert(MemberKey::new(vni, remote), id.index(), u64::from(BPF_NOEXIST));
    matches!(added, Ok(()) | Err(EEXIST))
}
