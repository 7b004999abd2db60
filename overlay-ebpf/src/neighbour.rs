//! Adding and removing neighbours. All that are learned are added here, and all are removed here, so that the counts of
//! what is learned stay right.
//!
//! Segments share the map. What one has learned beyond a little must not keep others from learning that little, and
//! nothing that is learned takes the last places, which commands need.

use overlay_common::{
    Vni,
    header::eth,
    maps::{
        fdb::{Origin, Placed},
        neighbour::{Edit, LEARNED, Neighbour, NeighbourKey, OF_EACH, OF_ONE, SHARED, Wish},
        segment::Segment,
    },
};

use crate::{
    maps::{
        learned,
        neighbours::{self, Added},
    },
    packet::Packet as _,
    skb::Skb,
};

/// For how long nobody can tell who is not known, in nanoseconds, where neighbours never age.
const UNSURE_NS: u64 = 300_000_000_000;

/// Learns a neighbour, unless there is one by now; whether there is room for it.
#[inline(always)]
pub(crate) fn learn(vni: Vni, key: NeighbourKey, entry: Neighbour) -> bool {
    if !take(vni) {
        return false;
    }
    let added = neighbours::add(key, entry);
    if !matches!(added, Added::New) {
        count_less(vni);
    }
    !matches!(added, Added::Full)
}

/// Counts a neighbour more, if the segment has less than every segment can have, or there is enough room for all.
#[inline(always)]
fn take(vni: Vni) -> bool {
    let (Some(own), Some(all)) = (learned::neighbours_of(vni), learned::neighbours()) else { return false };
    let of_all = if own.take(OF_EACH) {
        LEARNED
    } else if own.take(OF_ONE) {
        SHARED
    } else {
        return false;
    };
    let is_room = all.take(of_all);
    if !is_room {
        own.give_back();
    }
    is_room
}

#[inline(always)]
fn count_less(vni: Vni) {
    if let Some(own) = learned::neighbours_of(vni) {
        own.give_back();
    }
    if let Some(all) = learned::neighbours() {
        all.give_back();
    }
}

/// Notes that a neighbour of the segment could not be learned at `now`, nanoseconds of the monotonic clock.
#[inline(always)]
pub(crate) fn refuse(vni: Vni, now: u64) {
    learned::note_refusal(vni, now);
}

/// Whether stations of the segment may be unknown for want of room: their neighbours have to ask everybody.
#[inline(always)]
pub(crate) fn is_short(vni: Vni, segment: &Segment, now: u64) -> bool {
    let refused = learned::refused(vni);
    let unsure = match segment.ageing() {
        0 => UNSURE_NS,
        seconds => u64::from(seconds) * 1_000_000_000,
    };
    refused != 0 && now.wrapping_sub(refused) < unsure
}

/// Removes an entry, unless another CPU is about to; whether it did.
#[inline(always)]
pub(crate) fn forget(key: NeighbourKey, entry: &mut Neighbour) -> bool {
    let seen = entry.snapshot();
    if !neighbours::remove(key, entry, &seen) {
        return false;
    }
    if seen.origin() == Origin::Learned
        && let Some(vni) = key.vni()
    {
        count_less(vni);
    }
    true
}

/// Changes what a command wants to be changed; `None` if it did not ask right.
#[inline(always)]
pub(crate) fn edit(skb: &Skb) -> Option<u32> {
    let mut bytes = [0; Edit::LEN];
    skb.load(eth::LEN, &mut bytes, Edit::LEN).ok()?;
    let edit = Edit::from_bytes(bytes);
    let (vni, wish) = (edit.key().vni()?, edit.wish()?);
    if wish == Wish::Put {
        return Some(put(vni, &edit) as u32);
    }
    let Some(entry) = neighbours::entry_mut(edit.key()) else { return Some(0) };
    if wish == Wish::RemoveLearned && entry.origin() != Origin::Learned {
        return Some(0);
    }
    Some(u32::from(forget(edit.key(), entry)))
}

#[inline(always)]
fn put(vni: Vni, edit: &Edit) -> Placed {
    if let Some(known) = neighbours::entry_mut(edit.key()) {
        let seen = known.snapshot();
        if !neighbours::exchange(known, &seen, &edit.entry()) {
            return Placed::Again;
        }
        if seen.origin() == Origin::Learned {
            count_less(vni);
        }
        return Placed::Done;
    }
    match neighbours::add(edit.key(), edit.entry()) {
        Added::New => return Placed::Done,
        Added::Known => return Placed::Again,
        Added::Full => {}
    }
    let Some((vni, address)) = edit.way() else { return Placed::Full };
    let way = NeighbourKey::new(vni, address);
    if let Some(entry) = neighbours::entry_mut(way)
        && entry.origin() == Origin::Learned
    {
        forget(way, entry);
    }
    match neighbours::add(edit.key(), edit.entry()) {
        Added::New => Placed::Done,
        Added::Known => Placed::Again,
        Added::Full => Placed::Full,
    }
}
