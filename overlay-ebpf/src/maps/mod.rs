//! The maps, one module each: nothing else touches a map.

pub(crate) mod admitted;
pub(crate) mod adopted;
pub(crate) mod ageing;
pub(crate) mod answers;
pub(crate) mod arrivals;
pub(crate) mod bum_rates;
pub(crate) mod config;
pub(crate) mod counters;
pub(crate) mod departures;
pub(crate) mod drops;
pub(crate) mod early;
pub(crate) mod events;
pub(crate) mod fdb;
pub(crate) mod flood;
pub(crate) mod flooding;
pub(crate) mod flows;
pub(crate) mod generation;
pub(crate) mod jumps;
pub(crate) mod learned;
pub(crate) mod mdb;
pub(crate) mod members;
pub(crate) mod neighbours;
pub(crate) mod next_hops;
pub(crate) mod notices;
pub(crate) mod path_mtus;
pub(crate) mod ports;
pub(crate) mod scratch;
pub(crate) mod segments;
pub(crate) mod swept;
pub(crate) mod tags;
pub(crate) mod uplinks;
pub(crate) mod vlans;
pub(crate) mod vtep_ids;
pub(crate) mod vteps;

use aya_ebpf::btf_maps::PerCpuArray;

/// `BPF_F_NO_PREALLOC`: entries take memory as they come, so that generous sizes cost nothing.
const NO_PREALLOC: usize = aya_ebpf::bindings::BPF_F_NO_PREALLOC as usize;

/// What stands at a place of a per-CPU array, for this CPU alone; `None` for a place out of range.
#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "the map is the kernel's, and the place this CPU's own")]
fn of_this_cpu<T, const SIZE: usize>(
    map: &'static PerCpuArray<T, SIZE>,
    index: u32,
) -> Option<&'static mut T> {
    let value = map.get_ptr_mut(index)?;
    // SAFETY: the place is this CPU's own, programs on one CPU do not interrupt each other, and the map outlives them.
    Some(unsafe { &mut *value })
}
