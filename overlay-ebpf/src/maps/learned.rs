use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    IfIndex, Vni,
    maps::{
        fdb::Place,
        learned::{LearnedKey, MAX_ENTRIES},
    },
};

use super::NO_PREALLOC;
use crate::atomic;

#[btf_map]
static LEARNED: HashMap<LearnedKey, u64, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// How many stations are learned in a segment, or behind a port, or how many neighbours. Userspace removes it when no program has it
/// any more.
#[derive(Clone, Copy)]
pub(crate) struct Count(*mut u64);

/// Those of segment `vni`, unless it is gone.
#[inline(always)]
pub(crate) fn of_segment(vni: Vni) -> Option<Count> {
    of(LearnedKey::segment(vni))
}

/// Those behind the port `device`, unless it is none any more.
#[inline(always)]
pub(crate) fn of_port(device: IfIndex) -> Option<Count> {
    of(LearnedKey::port(device))
}

/// The VTEPs that came to segment `vni` by themselves, if it has a group.
#[inline(always)]
pub(crate) fn of_members(vni: Vni) -> Option<Count> {
    of(LearnedKey::members(vni))
}

/// The neighbours of segment `vni`, unless it is gone.
#[inline(always)]
pub(crate) fn neighbours_of(vni: Vni) -> Option<Count> {
    of(LearnedKey::neighbours(vni))
}

/// The neighbours of all segments.
#[inline(always)]
pub(crate) fn neighbours() -> Option<Count> {
    of(LearnedKey::all_neighbours())
}

/// When a neighbour of segment `vni` last found no room; 0: never.
#[inline(always)]
pub(crate) fn refused(vni: Vni) -> u64 {
    // SAFETY: a shared read of a word.
    unsafe { LEARNED.get(LearnedKey::refused(vni)) }.copied().unwrap_or(0)
}

/// Notes that one found none at `now`.
#[inline(always)]
pub(crate) fn note_refusal(vni: Vni, now: u64) {
    if let Some(time) = LEARNED.get_ptr_mut(LearnedKey::refused(vni)) {
        // SAFETY: a word of the map, which outlives the program; of several CPUs the last one wins.
        unsafe { time.write_volatile(now) };
    }
}

/// Counts a station less behind the port of a place, if it is one.
#[inline(always)]
pub(crate) fn leave_port(place: Place) {
    if let Some(count) = place.port().and_then(of_port) {
        count.give_back();
    }
}

#[inline(always)]
fn of(key: LearnedKey) -> Option<Count> {
    LEARNED.get_ptr_mut(key).map(Count)
}

impl Count {
    /// Counts one more station, if there are less than `limit`; 0: however many there are.
    #[inline(always)]
    pub(crate) fn take(self, limit: u32) -> bool {
        let before = self.add(1);
        if limit != 0 && before >= u64::from(limit) {
            self.give_back();
            return false;
        }
        true
    }

    /// Whether there are less than `limit`.
    #[inline(always)]
    pub(crate) fn is_below(self, limit: u64) -> bool {
        // SAFETY: a word of the map, which outlives the program.
        unsafe { self.0.read_volatile() < limit }
    }

    /// Counts one more.
    #[inline(always)]
    pub(crate) fn increase(self) {
        self.add(1);
    }

    /// Counts one station less.
    #[inline(always)]
    pub(crate) fn give_back(self) {
        self.add(u64::MAX);
    }

    #[inline(always)]
    fn add(self, change: u64) -> u64 {
        // SAFETY: a word of the map, which outlives the program.
        unsafe { atomic::fetch_add(self.0, change) }
    }
}
