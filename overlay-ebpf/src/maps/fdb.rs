use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    MacAddr, Vni,
    explain::Step,
    maps::{
        fdb::{DEFAULT_ENTRIES, FdbEntry, FdbKey, Place, Standing},
        segment::Segment,
    },
};

use super::{NO_PREALLOC, generation};
use crate::{atomic, explain};

/// `-EEXIST`.
const EEXIST: i32 = -17;
/// `-E2BIG`.
const E2BIG: i32 = -7;

#[btf_map]
static FDB: HashMap<FdbKey, FdbEntry, { DEFAULT_ENTRIES as usize }, NO_PREALLOC> = HashMap::new();

/// Where the station `mac` of segment `vni` is, unless it was learned too long ago; `now` is nanoseconds of the monotonic
/// clock.
#[inline(always)]
pub(crate) fn place(vni: Vni, segment: &Segment, mac: MacAddr, now: u64) -> Option<Place> {
    standing(vni, segment, mac, now).0.place(vni)
}

/// The same as the entry has it, and until when that holds if no frame of the station is seen from now on; 0 for a station
/// that is not known, and for a group, which is nowhere.
#[inline(always)]
pub(crate) fn standing(vni: Vni, segment: &Segment, mac: MacAddr, now: u64) -> (Standing, u64) {
    if mac.is_group() {
        return (Standing::NOWHERE, 0);
    }
    // SAFETY: a shared read of words that writers change as a whole.
    let found = match unsafe { FDB.get(FdbKey::new(vni, mac)) } {
        Some(entry) if !entry.is_aged(segment.ageing(), now) => {
            (entry.standing(), entry.holds_until(segment.ageing()))
        }
        _ => (Standing::NOWHERE, 0),
    };
    explain::note(|| Step::Station(Some(vni), mac, found.0));
    found
}

/// The entry of the station `mac` of segment `vni`, to be changed in place by [`FdbEntry::touch`],
/// [`put_at`] and what follows that.
#[inline(always)]
pub(crate) fn entry_mut(vni: Vni, mac: MacAddr) -> Option<&'static mut FdbEntry> {
    let entry = FDB.get_ptr_mut(FdbKey::new(vni, mac))?;
    // SAFETY: the map outlives the program; CPUs race for whole words only, and the last one wins.
    Some(unsafe { &mut *entry })
}

/// Puts a learned entry of segment `vni` at `place`, if it still stands as it was `seen`.
#[inline(always)]
pub(crate) fn put_at(entry: &mut FdbEntry, seen: Standing, vni: Vni, place: Place) -> bool {
    exchange(entry, seen, Standing::learned_at(vni, place))
}

/// Has an entry stand otherwise, if it still stands as it was `seen`.
#[inline(always)]
pub(crate) fn stand(entry: &mut FdbEntry, seen: Standing, new: Standing) -> bool {
    exchange(entry, seen, new)
}

/// Removes an entry, if it still stands as it was `seen`: of several CPUs that try at once, one succeeds.
#[inline(always)]
pub(crate) fn remove(key: FdbKey, entry: &mut FdbEntry, seen: Standing) -> bool {
    if !exchange(entry, seen, Standing::NOWHERE) {
        return false;
    }
    if FDB.remove(key).is_ok() {
        return true;
    }
    // The kernel was busy with the map, or gave the entry's memory to another station meanwhile.
    exchange(entry, Standing::NOWHERE, seen);
    false
}

#[inline(always)]
fn exchange(entry: &mut FdbEntry, seen: Standing, new: Standing) -> bool {
    // SAFETY: the word of an entry of the map.
    let is_done = unsafe { atomic::compare_exchange(entry.standing_word(), seen.word(), new.word()) };
    if is_done {
        generation::begin();
    }
    is_done
}

/// Why an entry was not added.
pub(crate) enum NotAdded {
    /// There is one by now.
    Known,
    /// The kernel was busy with the map, or had no memory at hand.
    Busy,
    /// The map is full.
    Full,
}

/// Adds an entry. Whoever adds a learned one counts it first.
#[inline(always)]
pub(crate) fn add(key: FdbKey, entry: FdbEntry) -> Result<(), NotAdded> {
    match FDB.insert(key, entry, u64::from(BPF_NOEXIST)) {
        Ok(()) => Ok(()),
        Err(EEXIST) => Err(NotAdded::Known),
        Err(E2BIG) => Err(NotAdded::Full),
        Err(_) => Err(NotAdded::Busy),
    }
}
