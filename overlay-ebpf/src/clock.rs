//! The monotonic clock.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;

/// Nanoseconds of the monotonic clock, at the resolution of a timer tick.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_ktime_get_coarse_ns() }
}
