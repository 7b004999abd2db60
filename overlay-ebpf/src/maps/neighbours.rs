use core::ffi::c_void;

use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::HashMap, helpers::bpf_for_each_map_elem, macros::btf_map};
use overlay_common::{
    MacAddr, OverlayAddr, Vni,
    header::vlan::Vlans,
    maps::{
        neighbour::{MAX_ENTRIES, Neighbour, NeighbourKey},
        segment::Segment,
    },
};

use super::NO_PREALLOC;

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
    let entry = unsafe { NEIGHBOURS.get(key) }?;
    if entry.is_aged(segment.ageing(), now) {
        return None;
    }
    let (mac, router) = entry.station(key)?;
    Some((mac, router, entry.is_in(vlans)))
}

/// The entry of `key`, to be changed in place by [`Neighbour::touch`] and [`Neighbour::replace`].
#[inline(always)]
pub(crate) fn entry_mut(key: NeighbourKey) -> Option<&'static mut Neighbour> {
    let entry = NEIGHBOURS.get_ptr_mut(key)?;
    // SAFETY: the map outlives the program; CPUs race for whole words only, and the last one wins.
    Some(unsafe { &mut *entry })
}

/// Adds an entry, unless there is one by now; whether there is room for it.
#[inline(always)]
pub(crate) fn add(key: NeighbourKey, entry: Neighbour) -> bool {
    matches!(NEIGHBOURS.insert(key, entry, u64::from(BPF_NOEXIST)), Ok(()) | Err(EEXIST))
}

/// Removes an entry, if it is there.
#[inline(always)]
pub(crate) fn remove(key: &NeighbourKey) {
    let _ = NEIGHBOURS.remove(key);
}

/// What [`for_each`] calls: map, key, entry, and what it was given; returns 0 to go on.
pub(crate) type Visit =
    unsafe extern "C" fn(*mut c_void, *const NeighbourKey, *const Neighbour, *mut c_void) -> i64;

/// Calls `visit` with each entry and `context`. It may remove the entry.
#[inline(always)]
pub(crate) fn for_each(visit: Visit, context: *mut c_void) {
    let map = (&raw const NEIGHBOURS).cast_mut().cast();
    // SAFETY: the map is one, and `visit` takes what the kernel and the caller give it.
    unsafe { bpf_for_each_map_elem(map, visit as *mut c_void, context, 0) };
}
