//! Removing FDB entries. All that are removed are removed here, so that the counts of what is learned stay right.

use overlay_common::{
    Notice, Vni,
    header::eth,
    maps::{
        event::Kind,
        fdb::{FdbEntry, FdbKey, Origin, Place, Removal},
    },
};

use crate::{
    maps::{fdb, learned, notices},
    packet::Packet as _,
    skb::Skb,
    watch,
};

/// Removes an entry, unless another CPU is about to; whether it did. With `TELL`, that is told; where a packet waits, there is no
/// stack for that, and it counts as withheld.
#[inline(always)]
pub(crate) fn forget<const TELL: bool>(
    skb: &Skb,
    why: Kind,
    vni: Vni,
    key: FdbKey,
    entry: &mut FdbEntry,
) -> bool {
    let seen = entry.standing();
    let Some(place) = seen.place(vni) else { return false };
    if !fdb::remove(key, entry, seen) {
        return false;
    }
    if seen.origin() == Origin::Learned {
        count_less(vni, place);
    }
    if TELL {
        watch::station(skb, why as u8, vni, key.mac(), place);
    } else {
        notices::count(Notice::EventWithheld);
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

/// Removes the entry that a command asks for; how many that is, or `None` if it did not ask right.
#[inline(always)]
pub(crate) fn handle(skb: &Skb) -> Option<u32> {
    let mut bytes = [0; Removal::LEN];
    skb.load(eth::LEN, &mut bytes, Removal::LEN).ok()?;
    let removal = Removal::from_bytes(bytes);
    let station = removal.station()?;
    let vni = station.vni()?;
    let Some(entry) = fdb::entry_mut(vni, station.mac()) else { return Some(0) };
    let is_removed =
        removal.holds(vni, station.mac(), entry) && forget::<true>(skb, Kind::Removed, vni, station, entry);
    Some(u32::from(is_removed))
}
