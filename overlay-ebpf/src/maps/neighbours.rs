use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    MacAddr, OverlayAddr, Vni,
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

/// The MAC address of the station that has `address` in segment `vni`, and whether it is a router, unless it was heard of
/// too long ago; `now` is nanoseconds of the monotonic clock.
#[inline(always)]
pub(crate) fn station(
    vni: Vni,
    segment: &Segment,
    address: OverlayAddr,
    now: u64,
) -> Option<(MacAddr, bool)> {
    let key = NeighbourKey::new(vni, address);
    // SAFETY: a shared read of words that writers change as a whole.
    let entry = unsafe { NEIGHBOURS.get(key) }?;
    if entry.is_aged(segment.ageing(), now) {
        return None;
    }
    entry.station(key)
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
