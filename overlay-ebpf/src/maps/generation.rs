use aya_ebpf::{btf_maps::Array, macros::btf_map};
use overlay_common::maps::flow::{CAPTURING, OF_COMMANDS, OF_PROGRAMS};

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

/// Whether somebody captures in a generation.
#[inline(always)]
pub(crate) const fn is_capturing(generation: u64) -> bool {
    generation & CAPTURING != 0
}

/// Begins a generation in which somebody captures; whether that is done: another CPU may have been quicker to begin one.
#[inline(always)]
pub(crate) fn begin_capture() -> bool {
    change(|count| count | CAPTURING)
}

/// Begins one in which nobody does. Where another CPU was quicker, the next packet does it.
#[inline(always)]
pub(crate) fn end_capture() {
    change(|count| count & !CAPTURING);
}

/// Begins a new one, with another bit. A count that did not change would not tell one who captures from one who did.
#[inline(always)]
fn change(bit: impl FnOnce(u64) -> u64) -> bool {
    let Some(count) = GENERATION.get_ptr_mut(OF_PROGRAMS) else { return false };
    // SAFETY: a word of the map.
    let seen = unsafe { *count };
    // SAFETY: the same.
    unsafe { atomic::compare_exchange(count, seen, bit(seen.wrapping_add(1))) }
}
