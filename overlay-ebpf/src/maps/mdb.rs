use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::HashMap, macros::btf_map};
use overlay_common::maps::mdb::{MAX_ENTRIES, MdbEntry, MdbKey};

use super::NO_PREALLOC;

/// `-EEXIST`.
const EEXIST: i32 = -17;

#[btf_map]
static MDB: HashMap<MdbKey, MdbEntry, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// Whether the entry of `key` holds at `now`, nanoseconds of the monotonic clock.
#[inline(always)]
pub(crate) fn holds(key: &MdbKey, now: u64) -> bool {
    // SAFETY: a shared read of words that writers change as a whole.
    unsafe { MDB.get(key) }.is_some_and(|entry| entry.holds(now))
}

/// The entry of `key`, to be changed in place.
#[inline(always)]
pub(crate) fn entry_mut(key: &MdbKey) -> Option<&'static mut MdbEntry> {
    let entry = MDB.get_ptr_mut(key)?;
    // SAFETY: the map outlives the program; CPUs race for whole words only, and the last one wins.
    Some(unsafe { &mut *entry })
}

/// Adds an entry, unless there is one by now; whether there is room for it.
#[inline(always)]
pub(crate) fn add(key: &MdbKey, entry: &MdbEntry) -> bool {
    matches!(MDB.insert(key, entry, u64::from(BPF_NOEXIST)), Ok(()) | Err(EEXIST))
}
