use core::ffi::c_void;

use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::HashMap, helpers::bpf_for_each_map_elem, macros::btf_map};
use overlay_common::{
    MacAddr, OverlayAddr, Vni,
    explain::Step,
    header::vlan::Vlans,
    maps::{
        neighbour::{MAX_ENTRIES, Neighbour, NeighbourKey},
        segment::Segment,
    },
};

use super::NO_PREALLOC;
use crate::{atomic, explain};

/// `-EEXIST`.
const EEXIST: i32 = -17;

#[btf_map]
static NEIGHBOURS: HashMap<NeighbourKey, Neighbour, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// The MAC address of the station that has `address` in segment `vni`, whether it is a router, and whether it is a neighbour
/// of those in `vlans`; unless it was heard of too long ago: `now` is nanoseconds of the monotonic clock.
#[inline(always)]
pub(crate) fn station(
    vni: Vni,
    segment: &Segment,
    vlans: Vlans,
    address: OverlayAddr,
    now: u64,
) -> Option<(MacAddr, bool, bool)> {
    let key = NeighbourKey::new(vni, address);
    // SAFETY: a shared read of words that writers change as a whole.
    let entry = unsafe { NEIGHBOURS.get(key) };
    explain::note(|| {
        let known = entry.filter(|entry| !entry.is_aged(segment.ageing(), now));
        Step::Neighbour(Some(vni), Some(address), known.is_some())
    });
    let entry = entry?;
    if entry.is_aged(segment.ageing(), now) {
        return None;
    }
    let (mac, router) = entry.station(key)?;
    Some((mac, router, entry.is_in(vlans)))
}

/// The entry of `key`, to be changed in place by [`Neighbour::touch`] and [`exchange`].
#[inline(always)]
pub(crate) fn entry_mut(key: NeighbourKey) -> Option<&'static mut Neighbour> {
    let entry = NEIGHBOURS.get_ptr_mut(key)?;
    // SAFETY: the map outlives the program; CPUs race for whole words only, and the last one wins.
    Some(unsafe { &mut *entry })
}

/// Has `new` take the place of an entry, if that still says what it said when it was `seen`: it may have been changed
/// since, or the kernel given its memory to another neighbour.
#[inline(always)]
pub(crate) fn exchange(entry: &mut Neighbour, seen: &Neighbour, new: &Neighbour) -> bool {
    // SAFETY: the word of an entry of the map.
    let is_done = unsafe { atomic::compare_exchange(entry.word_mut(), seen.word(), new.word()) };
    if is_done {
        entry.follow(new);
    }
    is_done
}

/// What became of an entry that was to be added.
pub(crate) enum Added {
    /// It is there, and was not before.
    New,
    /// There was one before.
    Known,
    /// The map is full.
    Full,
}

/// Adds an entry. Whoever adds a learned one counts it first.
#[inline(always)]
pub(crate) fn add(key: NeighbourKey, entry: Neighbour) -> Added {
    match NEIGHBOURS.insert(key, entry, u64::from(BPF_NOEXIST)) {
        Ok(()) => Added::New,
        Err(EEXIST) => Added::Known,
        Err(_) => Added::Full,
    }
}

/// Removes an entry, if it still says what it said when it was `seen`: of several CPUs that try at once, one succeeds.
#[inline(always)]
pub(crate) fn remove(key: NeighbourKey, entry: &mut Neighbour, seen: &Neighbour) -> bool {
    let nowhere = Neighbour::nowhere();
    if seen.word() == nowhere.word() || !exchange(entry, seen, &nowhere) {
        return false;
    }
    if NEIGHBOURS.remove(key).is_ok() {
        return true;
    }
    // The kernel was busy with the map, or gave the entry's memory to another neighbour meanwhile.
    exchange(entry, &nowhere, seen);
    false
}

/// What [`for_each`] calls: map, key, entry, and what it was given; returns 0 to go on.
pub(crate) type Visit =
    unsafe extern "C" fn(*mut c_void, *const NeighbourKey, *mut Neighbour, *mut c_void) -> i64;

/// Calls `visit` with each entry and `context`. It may remove the entry.
#[inline(always)]
pub(crate) fn for_each(visit: Visit, context: *mut c_void) {
    let map = (&raw const NEIGHBOURS).cast_mut().cast();
    // SAFETY: the map is one, and `visit` takes what the kernel and the caller give it.
    unsafe { bpf_for_each_map_elem(map, visit as *mut c_void, context, 0) };
}
