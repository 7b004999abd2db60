use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    MacAddr, Vni,
    maps::{
        fdb::{DEFAULT_ENTRIES, FdbEntry, FdbKey, Origin, Place},
        segment::Segment,
    },
};

use super::NO_PREALLOC;

/// `-EEXIST`.
const EEXIST: i32 = -17;

#[btf_map]
static FDB: HashMap<FdbKey, FdbEntry, { DEFAULT_ENTRIES as usize }, NO_PREALLOC> = HashMap::new();

/// Where the station `mac` of segment `vni` is, unless it was learned too long ago; `now` is nanoseconds of the monotonic
/// clock.
#[inline(always)]
pub(crate) fn place(vni: Vni, segment: &Segment, mac: MacAddr, now: u64) -> Option<Place> {
    // SAFETY: a shared read of words that writers change as a whole.
    let entry = unsafe { FDB.get(FdbKey::new(vni, mac)) }?;
    if entry.is_aged(segment.ageing(), now) {
        return None;
    }
    entry.place(vni)
}

/// The entry of the station `mac` of segment `vni`, to be changed in place by [`FdbEntry::touch`] and
/// [`FdbEntry::move_to`].
#[inline(always)]
pub(crate) fn entry_mut(vni: Vni, mac: MacAddr) -> Option<&'static mut FdbEntry> {
    let entry = FDB.get_ptr_mut(FdbKey::new(vni, mac))?;
    // SAFETY: the map outlives the program; CPUs race for whole words only, and the last one wins.
    Some(unsafe { &mut *entry })
}

/// Adds a learned entry, unless there is one by now; whether there is room for it.
#[inline(always)]
pub(crate) fn add_learned(vni: Vni, mac: MacAddr, place: Place, now: u64) -> bool {
    let entry = FdbEntry::new(vni, place, Origin::Learned, now);
    match FDB.insert(FdbKey::new(vni, mac), entry, u64::from(BPF_NOEXIST)) {
        Ok(()) | Err(EEXIST) => true,
        Err(_) => false,
    }
}
