use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::PerCpuHashMap, macros::btf_map};
use overlay_common::{
    Vni, VtepId,
    explain::{self as said, Step},
    maps::counters::{Counters, CountersKey, MAX_ENTRIES},
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

/// Adds packets and bytes out of a tunnel from `vtep` that were counted elsewhere.
#[inline(always)]
pub(crate) fn received_before(vni: Vni, vtep: VtepId, [packets, bytes]: [u64; 2]) {
    if let Some(counters) = STATS.get_ptr_mut(CountersKey::new(vni, Some(vtep))) {
        // SAFETY: the slot is this CPU's own, and the map outlives the program.
        let counters = unsafe { &mut *counters };
        counters.rx_packets += packets;
        counters.rx_bytes += bytes;
    }
}

/// Starts to count for a remote VTEP in a segment, unless that is done.
#[inline(always)]
pub(crate) fn start(vni: Vni, vtep: VtepId) {
    // Where the map is full, all else works without.
    let _ = STATS.insert(CountersKey::new(vni, Some(vtep)), Counters::default(), u64::from(BPF_NOEXIST));
}
