//! Putting stations where a command says that they are. Whatever is learned meanwhile, each try ends, and few are needed.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::bpf_loop;
use overlay_common::{
    Vni,
    header::eth,
    maps::fdb::{FdbEntry, FdbKey, Origin, Placed, Placing},
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
};

/// Learned stations among which the oldest makes way.
const CANDIDATES: u32 = 128;

/// Puts a station where a command says, or `None` if it did not ask right.
#[inline(always)]
pub(crate) fn handle(skb: &Skb) -> Option<Placed> {
    let mut bytes = [0; Placing::LEN];
    skb.load(eth::LEN, &mut bytes, Placing::LEN).ok()?;
    let placing = Placing::from_bytes(bytes);
    let vni = placing.key().vni()?;
    placing.entry().place(vni)?;
    Some(put(vni, &placing))
}

#[inline(always)]
fn put(vni: Vni, placing: &Placing) -> Placed {
    if let Some(known) = fdb::entry_mut(vni, placing.key().mac()) {
        return replace(vni, known, placing.entry());
    }
    match fdb::add(placing.key(), *placing.entry()) {
        Ok(()) => return Placed::Done,
        Err(NotAdded::Known) => return Placed::Again,
        Err(NotAdded::Full) => {}
    }
    reclaim::reclaim(clock::now());
    if !make_way() {
        return Placed::Full;
    }
    // Another CPU may be quicker to take the place, but that takes just as long.
    match fdb::add(placing.key(), *placing.entry()) {
        Ok(()) => Placed::Done,
        Err(NotAdded::Known | NotAdded::Full) => Placed::Again,
    }
}

/// Has an entry stand as `new` does: there is no moment at which the station is not known.
#[inline(always)]
fn replace(vni: Vni, known: &mut FdbEntry, new: &FdbEntry) -> Placed {
    let seen = known.standing();
    let Some(place) = seen.place(vni) else { return Placed::Again };
    if !fdb::stand(known, seen, new.standing()) {
        return Placed::Again;
    }
    known.forget_moves();
    known.touch(new.last_seen());
    if seen.origin() == Origin::Learned {
        forget::count_less(vni, place);
    }
    Placed::Done
}

/// Those whose turn it is to be looked at, and the one of them that was not seen for the longest time.
struct Candidates {
    is_none: bool,
    oldest: Option<(FdbKey, u64)>,
}

/// Removes the oldest of the next few learned stations, if one is; `false`: there are none at all.
#[inline(always)]
fn make_way() -> bool {
    let mut candidates = Candidates { is_none: true, oldest: None };
    // SAFETY: `look` takes the `Candidates` that it is given here, which outlive the loop.
    unsafe { bpf_loop(CANDIDATES, look as *mut c_void, ptr::from_mut(&mut candidates).cast(), 0) };
    if let Some((station, _)) = candidates.oldest
        && let Some(vni) = station.vni()
        && let Some(entry) = fdb::entry_mut(vni, station.mac())
        && entry.origin() == Origin::Learned
    {
        forget::forget(vni, station, entry);
    }
    !candidates.is_none
}

const CONTINUE: i64 = 0;
const STOP: i64 = 1;

unsafe extern "C" fn look(_at: u64, candidates: *mut c_void) -> i64 {
    // SAFETY: `make_way` passes `Candidates`.
    let candidates = unsafe { &mut *candidates.cast::<Candidates>() };
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
    reclaim::put_back(vni, next, entry);
    CONTINUE
}
