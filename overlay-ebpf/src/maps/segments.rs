use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    Vni,
    explain::Step,
    maps::segment::{MAX_ENTRIES, Segment},
};

use super::NO_PREALLOC;
use crate::explain;

#[btf_map]
static SEGMENTS: HashMap<u32, Segment, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// The settings of segment `vni`.
#[inline(always)]
pub(crate) fn get(vni: Vni) -> Option<&'static Segment> {
    // SAFETY: userspace replaces the value as a whole.
    let segment = unsafe { SEGMENTS.get(vni.get()) };
    explain::note(|| Step::Segment(Some(vni), segment.is_some()));
    segment
}
