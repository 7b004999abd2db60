use aya_ebpf::{
    btf_maps::{HashMap, Queue},
    macros::btf_map,
};
use overlay_common::{
    UnderlayAddr, Vni, VtepId,
    maps::{
        admitted::{Admitted, MAX_ENTRIES, MAX_FREE},
        member::MemberKey,
    },
};

use super::NO_PREALLOC;

#[btf_map]
static ADMITTED: HashMap<MemberKey, Admitted, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

#[btf_map]
static FREE_VTEPS: Queue<u32, MAX_FREE> = Queue::new();

/// Notes that the VTEP at `remote` came to segment `vni` by itself at `now`, nanoseconds of the monotonic clock; `false`
/// if too many have.
#[inline(always)]
pub(crate) fn add(vni: Vni, remote: UnderlayAddr, now: u64) -> bool {
    ADMITTED.insert(MemberKey::new(vni, remote), Admitted::new(now), 0).is_ok()
}

/// Takes a free id.
#[inline(always)]
pub(crate) fn take_id() -> Option<VtepId> {
    VtepId::new(FREE_VTEPS.pop().ok()?? as u16)
}

/// Gives back an id that was taken.
#[inline(always)]
pub(crate) fn give_back(id: VtepId) {
    // There is room: it was taken from there.
    let _ = FREE_VTEPS.push(id.index(), 0);
}
