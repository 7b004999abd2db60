//! Putting stations where a command says that they are, and removing them. Whatever is learned meanwhile, each try ends, and
//! few are needed.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::bpf_loop;
use overlay_common::{
    Vni,
    header::eth,
    maps::{
        event::Kind,
        fdb::{FdbEntry, FdbKey, Origin, Placed, Placing, Report, Standing},
    },
};

use crate::{
    clock, forget,
    maps::{
        ageing,
        fdb::{self, NotAdded},
    },
    packet::Packet as _,
    reclaim,
    skb::Skb,
    watch,
};

/// Learned stations among which the oldest makes way.
const CANDIDATES: u32 = 128;

/// How far a command's request is done.
struct Progress<'a> {
    skb: &'a Skb,
    now: u64,
    done: u32,
    next: Placed,
    is_wrong: bool,
}

/// Does what a command asks for, in order, up to what cannot be done: there it makes way, where that helps. `None` if the
/// command did not ask right.
#[inline(always)]
pub(crate) fn handle(skb: &Skb) -> Option<Report> {
    let count = skb.len().checked_sub(eth::LEN as u32)? / Placing::LEN as u32;
    let mut progress = Progress { skb, now: clock::now(), done: 0, next: Placed::Done, is_wrong: false };
    // SAFETY: `place_next` takes the `Progress` that it is given here, which outlives the loop.
    unsafe { bpf_loop(count, place_next as *mut c_void, ptr::from_mut(&mut progress).cast(), 0) };
    if progress.is_wrong {
        return None;
    }
    if progress.next == Placed::Full {
        progress.next = make_room(skb, read(skb, progress.done)?, progress.now)?;
        if progress.next == Placed::Done {
            progress.done += 1;
        }
    }
    Some(Report::new(progress.done, progress.next))
}

const CONTINUE: i64 = 0;
const STOP: i64 = 1;

unsafe extern "C" fn place_next(at: u64, progress: *mut c_void) -> i64 {
    // SAFETY: `handle` passes a `Progress`.
    let progress = unsafe { &mut *progress.cast::<Progress<'_>>() };
    let placed =
        read(progress.skb, at as u32).and_then(|placing| place(progress.skb, &placing, progress.now));
    match placed {
        Some(Placed::Done) => {
            progress.done += 1;
            CONTINUE
        }
        Some(other) => {
            progress.next = other;
            STOP
        }
        None => {
            progress.is_wrong = true;
            STOP
        }
    }
}

#[inline(always)]
fn read(skb: &Skb, at: u32) -> Option<Placing> {
    let mut bytes = [0; Placing::LEN];
    skb.load(eth::LEN + at as usize * Placing::LEN, &mut bytes, Placing::LEN).ok()?;
    Some(Placing::from_bytes(bytes))
}

#[inline(always)]
fn place(skb: &Skb, placing: &Placing, now: u64) -> Option<Placed> {
    let (vni, key) = placing.station()?;
    let known = fdb::entry_mut(vni, key.mac());
    if placing.is_removal() {
        let Some(known) = known.filter(|known| known.standing() == placing.standing()) else {
            return Some(Placed::Done);
        };
        return Some(if forget::forget::<true>(skb, Kind::Removed, vni, key, known) {
            Placed::Done
        } else {
            Placed::Again
        });
    }
    Some(match known {
        Some(known) => replace(skb, (vni, key), known, placing.standing(), now),
        None => add(skb, key, placing, now),
    })
}

#[inline(always)]
fn add(skb: &Skb, key: FdbKey, placing: &Placing, now: u64) -> Placed {
    match fdb::add(key, FdbEntry::standing_as(placing.standing(), now)) {
        Ok(()) => {
            tell(skb, key, placing.standing());
            Placed::Done
        }
        Err(NotAdded::Known | NotAdded::Busy) => Placed::Again,
        Err(NotAdded::Full) => Placed::Full,
    }
}

/// Tells that a station was put where `standing` says.
#[inline(always)]
fn tell(skb: &Skb, key: FdbKey, standing: Standing) {
    if let Some(vni) = key.vni()
        && let Some(place) = standing.place(vni)
    {
        watch::station(skb, Kind::Placed as u8, vni, key.mac(), place);
    }
}

/// Has a learned station make way for one that found no room, and puts that in its place.
#[inline(always)]
fn make_room(skb: &Skb, placing: Placing, now: u64) -> Option<Placed> {
    let (_, key) = placing.station()?;
    reclaim::reclaim::<true>(skb, now);
    if !make_way(skb) {
        return Some(Placed::Full);
    }
    // Another CPU may be quicker to take the place, but that takes just as long.
    Some(match add(skb, key, &placing, now) {
        Placed::Full => Placed::Again,
        placed => placed,
    })
}

/// Has an entry stand otherwise: there is no moment at which the station is not known.
#[inline(always)]
fn replace(skb: &Skb, (vni, key): (Vni, FdbKey), known: &mut FdbEntry, new: Standing, now: u64) -> Placed {
    let seen = known.standing();
    let Some(place) = seen.place(vni) else { return Placed::Again };
    if !fdb::stand(known, seen, new) {
        return Placed::Again;
    }
    known.forget_moves();
    known.touch(now);
    if seen.origin() == Origin::Learned {
        forget::count_less(vni, place);
    }
    tell(skb, key, new);
    Placed::Done
}

/// Those whose turn it is to be looked at, and the one of them that was not seen for the longest time.
struct Candidates<'a> {
    skb: &'a Skb,
    is_none: bool,
    oldest: Option<(FdbKey, u64)>,
}

/// Removes the oldest of the next few learned stations, if one is; `false`: there are none at all.
#[inline(always)]
fn make_way(skb: &Skb) -> bool {
    let mut candidates = Candidates { skb, is_none: true, oldest: None };
    // SAFETY: `look` takes the `Candidates` that it is given here, which outlive the loop.
    unsafe { bpf_loop(CANDIDATES, look as *mut c_void, ptr::from_mut(&mut candidates).cast(), 0) };
    if let Some((station, _)) = candidates.oldest
        && let Some(vni) = station.vni()
        && let Some(entry) = fdb::entry_mut(vni, station.mac())
        && entry.origin() == Origin::Learned
    {
        forget::forget::<true>(skb, Kind::Removed, vni, station, entry);
    }
    !candidates.is_none
}

unsafe extern "C" fn look(_at: u64, candidates: *mut c_void) -> i64 {
    // SAFETY: `make_way` passes `Candidates`.
    let candidates = unsafe { &mut *candidates.cast::<Candidates<'_>>() };
    let Some(next) = ageing::pop() else { return STOP };
    candidates.is_none = false;
    let (station, tag) = next.split_tag();
    let Some(vni) = station.vni() else { return CONTINUE };
    let Some(entry) = fdb::entry_mut(vni, station.mac()) else { return CONTINUE };
    if entry.tag() != tag || entry.origin() != Origin::Learned {
        return CONTINUE;
    }
    if candidates.oldest.is_none_or(|(_, seen)| entry.last_seen() < seen) {
        candidates.oldest = Some((station, entry.last_seen()));
    }
    reclaim::put_back::<true>(candidates.skb, vni, next, entry);
    CONTINUE
}
