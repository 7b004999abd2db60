use aya_ebpf::{
    bindings::BPF_NOEXIST,
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

/// `-EEXIST`.
const EEXIST: i32 = -17;

#[btf_map]
static ADMITTED: HashMap<MemberKey, Admitted, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

#[btf_map]
static FREE_VTEPS: Queue<u32, MAX_FREE> = Queue::new();

/// Whether there was room to note a VTEP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    New,
    Before,
    Full,
}

/// Notes that the VTEP at `remote` came to segment `vni` by itself at `now`, nanoseconds of the monotonic clock.
#[inline(always)]
pub(crate) fn add(vni: Vni, remote: UnderlayAddr, now: u64) -> Noted {
    match ADMITTED.insert(MemberKey::new(vni, remote), Admitted::new(now), u64::from(BPF_NOEXIST)) {
        Ok(()) => Noted::New,
        Err(EEXIST) => Noted::Before,
        Err(_) => Noted::Full,
    }
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
