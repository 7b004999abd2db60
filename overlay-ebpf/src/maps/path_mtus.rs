use aya_ebpf::{btf_maps::Array, macros::btf_map};
use overlay_common::{
    VtepId,
    explain::Step,
    maps::path_mtu::{MAX_ENTRIES, PathMtu},
};

use crate::explain;

#[btf_map]
static PATH_MTUS: Array<PathMtu, MAX_ENTRIES> = Array::new();

/// The largest outer IP packet, in bytes, that the underlay is known to carry to `vtep` at `now`, nanoseconds of the
/// monotonic clock; the largest there is where nothing is known.
#[inline(always)]
pub(crate) fn get(vtep: VtepId, now: u64) -> u16 {
    PATH_MTUS.get(vtep.index()).and_then(|path| path.mtu(now)).unwrap_or(u16::MAX)
}

/// Notes that the underlay carries no more than `mtu` bytes to `vtep`. Never raises what is known.
#[inline(always)]
pub(crate) fn lower(vtep: VtepId, mtu: u16, now: u64) {
    explain::note(|| Step::PathMtu(Some(vtep), mtu));
    if mtu > get(vtep, now) {
        return;
    }
    if let Some(path) = PATH_MTUS.get_ptr_mut(vtep.index()) {
        // SAFETY: the map outlives the program; CPUs race for a whole word, and each writes what it was told.
        unsafe { *path = PathMtu::new(mtu, now) };
    }
}
