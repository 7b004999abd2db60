use aya_ebpf::{bindings::bpf_fib_lookup as FibParams, btf_maps::PerCpuArray, macros::btf_map};
use overlay_common::maps::{flooding::Headers, mdb::MdbKey};

use crate::encap::Inner;

/// What does not fit on the stack.
struct Flooding {
    inner: Inner,
    mdb_key: MdbKey,
    fib: FibParams,
    headers: Headers,
}

#[btf_map]
static FLOODING: PerCpuArray<Flooding, 1> = PerCpuArray::new();

/// This CPU's place for what is flooded.
#[inline(always)]
fn get() -> Option<&'static mut Flooding> {
    let slot = FLOODING.get_ptr_mut(0)?;
    // SAFETY: the slot is this CPU's own, programs on one CPU do not interrupt each other, and the map outlives them.
    Some(unsafe { &mut *slot })
}

/// This CPU's place to write headers to that do not fit on the stack.
#[inline(always)]
pub(crate) fn headers() -> Option<&'static mut Headers> {
    get().map(|flooding| &mut flooding.headers)
}

/// This CPU's place for a question to the FIB.
#[inline(always)]
pub(crate) fn fib() -> Option<&'static mut FibParams> {
    get().map(|flooding| &mut flooding.fib)
}

/// This CPU's place for the measures of a frame that is flooded.
#[inline(always)]
pub(crate) fn inner() -> Option<&'static mut Inner> {
    get().map(|flooding| &mut flooding.inner)
}

/// This CPU's place for the key of what was said about a group.
#[inline(always)]
pub(crate) fn mdb_key() -> Option<&'static mut MdbKey> {
    get().map(|flooding| &mut flooding.mdb_key)
}
