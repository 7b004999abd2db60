use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{PerCpuArray, PerCpuHashMap},
    macros::btf_map,
};
use overlay_common::{
    Vni, VtepId,
    explain::{self as said, Step},
    maps::{
        counters::{Counters, CountersKey, MAX_ENTRIES},
        tally::{self, Tally},
    },
};

use super::NO_PREALLOC;
use crate::explain;

#[btf_map]
static STATS: PerCpuHashMap<CountersKey, Counters, MAX_ENTRIES, NO_PREALLOC> = PerCpuHashMap::new();

/// How much one skb counts for.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Frames: more than one where the kernel carries several whole.
    pub(crate) packets: u32,
    /// Bytes of the inner frame.
    pub(crate) bytes: u32,
}

#[btf_map]
static TALLIES: PerCpuArray<Tally, { tally::MAX_ENTRIES }> = PerCpuArray::new();

/// Where this CPU counts packets of `vni` to and from `vtep` that are known again: a place in `TALLIES`, or [`tally::NOWHERE`].
#[inline(always)]
pub(crate) fn tally(vni: Vni, vtep: VtepId) -> u32 {
    find_tally(vni.get(), vtep.index())
}

/// A function of its own, so that its stack does not add up with that of telling packets apart.
#[inline(never)]
fn find_tally(vni: u32, vtep: u32) -> u32 {
    let (Some(vni), Some(vtep)) = (Vni::new(vni), VtepId::new(vtep as u16)) else { return tally::NOWHERE };
    let key = CountersKey::new(vni, Some(vtep));
    let Some(counters) = STATS.get_ptr_mut(key) else { return tally::NOWHERE };
    // SAFETY: the slot is this CPU's own, and the map outlives the program.
    let counters = unsafe { &mut *counters };
    if counters.tally != 0 {
        return counters.tally as u32 - 1;
    }
    for tried in 0..tally::PROBES {
        let place = Tally::place(key, tried);
        let Some(found) = super::of_this_cpu(&TALLIES, place) else { return tally::NOWHERE };
        if !is_at(found.key, place) {
            *found = Tally { key, ..Tally::default() };
            counters.tally = u64::from(place) + 1;
            return place;
        }
    }
    tally::NOWHERE
}

/// Whether this CPU counts at `place` for `key`, still.
#[inline(always)]
fn is_at(key: CountersKey, place: u32) -> bool {
    match STATS.get_ptr_mut(key) {
        // SAFETY: the slot is this CPU's own, and the map outlives the program.
        Some(counters) => unsafe { (*counters).tally == u64::from(place) + 1 },
        None => false,
    }
}

/// Counts a frame from a port towards `vtep` as [`sent`] does, at the place that [`tally`] found.
#[inline(always)]
pub(crate) fn sent_at(place: u32, vni: Vni, vtep: VtepId, bytes: u32) {
    match super::of_this_cpu(&TALLIES, place) {
        Some(tally) => {
            tally.tx_packets += 1;
            tally.tx_bytes += u64::from(bytes);
        }
        None => sent(vni, Some(vtep), Size { packets: 1, bytes }),
    }
}

/// Counts a frame out of a tunnel from `vtep` as [`received`] does, at the place that [`tally`] found.
#[inline(always)]
pub(crate) fn received_at(place: u32, vni: Vni, vtep: VtepId, bytes: u32) {
    match super::of_this_cpu(&TALLIES, place) {
        Some(tally) => {
            tally.rx_packets += 1;
            tally.rx_bytes += u64::from(bytes);
        }
        None => received(vni, vtep, Size { packets: 1, bytes }),
    }
}

/// Counts a frame from a port towards `vtep`, or towards another port.
#[inline(always)]
pub(crate) fn sent(vni: Vni, vtep: Option<VtepId>, size: Size) {
    if let Some(counters) = STATS.get_ptr_mut(CountersKey::new(vni, vtep)) {
        // SAFETY: the slot is this CPU's own, and the map outlives the program.
        let counters = unsafe { &mut *counters };
        counters.tx_packets += u64::from(size.packets);
        counters.tx_bytes += u64::from(size.bytes);
    }
}

/// What learning did not do, or did too often.
#[derive(Clone, Copy)]
pub(crate) enum Unlearned {
    /// A station was not learned: the FDB is full.
    Full,
    /// A station was not learned: its segment or its port is at its limit.
    Limit,
    /// A station was not moved.
    Unmoved,
    /// A station began to flap.
    Flaps,
}

/// Counts what learning did not do.
#[inline(always)]
pub(crate) fn unlearned(vni: Vni, what: Unlearned) {
    explain::note(|| {
        Step::Unlearned(match what {
            Unlearned::Full => said::Unlearned::Full,
            Unlearned::Limit => said::Unlearned::Limit,
            Unlearned::Unmoved => said::Unlearned::Unmoved,
            Unlearned::Flaps => said::Unlearned::Flaps,
        })
    });
    let Some(counters) = STATS.get_ptr_mut(CountersKey::new(vni, None)) else { return };
    // SAFETY: the slot is this CPU's own, and the map outlives the program.
    let counters = unsafe { &mut *counters };
    match what {
        Unlearned::Full => counters.not_learned += 1,
        Unlearned::Limit => {
            counters.not_learned += 1;
            counters.not_learned_limit += 1;
        }
        Unlearned::Unmoved => counters.not_moved += 1,
        Unlearned::Flaps => counters.flaps += 1,
    }
}

/// Counts a request for a neighbour, and whether it is answered here.
#[inline(always)]
pub(crate) fn asked(vni: Vni, answered: bool) {
    explain::note(|| Step::Asked(answered));
    if let Some(counters) = STATS.get_ptr_mut(CountersKey::new(vni, None)) {
        // SAFETY: the slot is this CPU's own, and the map outlives the program.
        let counters = unsafe { &mut *counters };
        counters.neigh_requests += 1;
        counters.neigh_answered += u64::from(answered);
    }
}

/// Counts a neighbour that could not be learned.
#[inline(always)]
pub(crate) fn neighbour_not_learned(vni: Vni) {
    if let Some(counters) = STATS.get_ptr_mut(CountersKey::new(vni, None)) {
        // SAFETY: the slot is this CPU's own, and the map outlives the program.
        unsafe { (*counters).neigh_not_learned += 1 };
    }
}

/// Counts a claim of an address that stays another's.
#[inline(always)]
pub(crate) fn neighbour_refused(vni: Vni) {
    if let Some(counters) = STATS.get_ptr_mut(CountersKey::new(vni, None)) {
        // SAFETY: the slot is this CPU's own, and the map outlives the program.
        unsafe { (*counters).neigh_refused += 1 };
    }
}

/// Counts a frame out of a tunnel from `vtep`.
#[inline(always)]
pub(crate) fn received(vni: Vni, vtep: VtepId, size: Size) {
    if let Some(counters) = STATS.get_ptr_mut(CountersKey::new(vni, Some(vtep))) {
        // SAFETY: the slot is this CPU's own, and the map outlives the program.
        let counters = unsafe { &mut *counters };
        counters.rx_packets += u64::from(size.packets);
        counters.rx_bytes += u64::from(size.bytes);
    }
}

/// Starts to count for a remote VTEP in a segment, unless that is done.
#[inline(always)]
pub(crate) fn start(vni: Vni, vtep: VtepId) {
    // Where the map is full, all else works without.
    let _ = STATS.insert(CountersKey::new(vni, Some(vtep)), Counters::default(), u64::from(BPF_NOEXIST));
}
