use aya_ebpf::{btf_maps::Array, macros::btf_map};
use overlay_common::maps::flow::{OF_COMMANDS, OF_PROGRAMS};

use crate::atomic;

#[btf_map]
static GENERATION: Array<u64, 2> = Array::new();

/// The generation of what flows go by.
#[inline(always)]
pub(crate) fn now() -> u64 {
    let count = |at| GENERATION.get(at).copied().unwrap_or_default();
    count(OF_PROGRAMS) + count(OF_COMMANDS)
}

/// Begins a new one: what was known of a station does not hold any more.
#[inline(always)]
pub(crate) fn begin() {
    if let Some(count) = GENERATION.get_ptr_mut(OF_PROGRAMS) {
        // SAFETY: the word of an entry of the map.
        unsafe { atomic::fetch_add(count, 1) };
    }
}
