//! Read-modify-write of a word that several CPUs change. The `core` of this target has none, but the kernel has: from
//! Linux 5.12 on (`BPF_FETCH`, `BPF_CMPXCHG` in `Documentation/bpf/standardization/instruction-set.rst`).

/// Puts `new` where `old` is; whether it was.
///
/// # Safety
///
/// `word` points to an aligned word in a map.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) unsafe fn compare_exchange(word: *mut u64, old: u64, new: u64) -> bool {
    let found: u64;
    // SAFETY: the instruction touches that word and the registers named.
    unsafe {
        core::arch::asm!(
            "r0 = cmpxchg_64({word} + 0, r0, {new})",
            word = in(reg) word,
            new = in(reg) new,
            inlateout("r0") old => found,
        );
    }
    found == old
}

/// Adds `change`, modulo 2^64; what was there before.
///
/// # Safety
///
/// `word` points to an aligned word in a map.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) unsafe fn fetch_add(word: *mut u64, change: u64) -> u64 {
    let before: u64;
    // SAFETY: the instruction touches that word and the registers named.
    unsafe {
        core::arch::asm!(
            "{change} = atomic_fetch_add((u64 *)({word} + 0), {change})",
            word = in(reg) word,
            change = inout(reg) change => before,
        );
    }
    before
}

/// The same on a host, where the programs are only checked.
///
/// # Safety
///
/// `word` points to an aligned word that all change as an atomic.
#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn compare_exchange(word: *mut u64, old: u64, new: u64) -> bool {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    // SAFETY: the caller promises it.
    unsafe { AtomicU64::from_ptr(word) }.compare_exchange(old, new, Relaxed, Relaxed).is_ok()
}

/// The same on a host, where the programs are only checked.
///
/// # Safety
///
/// `word` points to an aligned word that all change as an atomic.
#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn fetch_add(word: *mut u64, change: u64) -> u64 {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    // SAFETY: the caller promises it.
    unsafe { AtomicU64::from_ptr(word) }.fetch_add(change, Relaxed)
}
