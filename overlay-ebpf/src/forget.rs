//! Removing FDB entries. All that are removed are removed here, so that the counts of what is learned stay right.

use core::{ffi::c_void, ptr};

use overlay_common::{
    Vni,
    header::eth,
    maps::fdb::{FdbEntry, FdbKey, Origin, Place, Removal},
};

use crate::{
    maps::{fdb, learned},
    packet::Packet as _,
    skb::Skb,
};

/// Removes an entry, unless another CPU is about to; whether it did.
#[inline(always)]
pub(crate) fn forget(vni: Vni, key: FdbKey, entry: &mut FdbEntry) -> bool {
    let seen = entry.standing();
    let Some(place) = seen.place(vni) else { return false };
    if !fdb::remove(key, entry, seen) {
        return false;
    }
    if seen.origin() == Origin::Learned {
        count_less(vni, place);
    }
    true
}

/// Counts a learned station of segment `vni` less, which was at `place`.
#[inline(always)]
pub(crate) fn count_less(vni: Vni, place: Place) {
    if let Some(count) = learned::of_segment(vni) {
        count.give_back();
    }
    learned::leave_port(place);
}

/// What a walk through the FDB needs.
struct Walk {
    removal: Removal,
    removed: u32,
}

/// Removes the entries that a command asks for; how many, or `None` if it did not ask right.
#[inline(always)]
pub(crate) fn handle(skb: &Skb) -> Option<u32> {
    let mut bytes = [0; Removal::LEN];
    skb.load(eth::LEN, &mut bytes, Removal::LEN).ok()?;
    let mut walk = Walk { removal: Removal::from_bytes(bytes), removed: 0 };
    match walk.removal.station() {
        Some(station) => {
            if let Some(vni) = station.vni()
                && let Some(entry) = fdb::entry_mut(vni, station.mac())
            {
                walk.consider(station, entry);
            }
        }
        None => fdb::for_each(visit, ptr::from_mut(&mut walk).cast()),
    }
    Some(walk.removed)
}

const CONTINUE: i64 = 0;

unsafe extern "C" fn visit(
    _map: *mut c_void,
    key: *const FdbKey,
    entry: *mut FdbEntry,
    walk: *mut c_void,
) -> i64 {
    // SAFETY: the kernel passes a key and an entry of the map, and `handle` a `Walk`.
    let (key, entry, walk) = unsafe { (*key, &mut *entry, &mut *walk.cast::<Walk>()) };
    walk.consider(key, entry);
    CONTINUE
}

impl Walk {
    #[inline(always)]
    fn consider(&mut self, key: FdbKey, entry: &mut FdbEntry) {
        let Some(vni) = key.vni() else { return };
        if !self.removal.holds(vni, key.mac(), entry) {
            return;
        }
        if forget(vni, key, entry) {
            self.removed += 1;
        }
    }
}
