use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    Vni,
    explain::Step,
    maps::{flood::FloodList, segment},
};

use super::NO_PREALLOC;
use crate::explain;

#[btf_map]
static FLOOD: HashMap<u32, FloodList, { segment::MAX_ENTRIES }, NO_PREALLOC> = HashMap::new();

/// Who gets a copy of what is flooded in segment `vni`.
#[inline(always)]
pub(crate) fn get(vni: Vni) -> Option<&'static FloodList> {
    // SAFETY: userspace replaces the value as a whole; the old one stays until the program is done.
    let list = unsafe { FLOOD.get(vni.get()) };
    explain::note(|| {
        let (ports, vteps) = list.map_or((0, 0), |list| (list.port_count(), list.vtep_count()));
        Step::Flood(Some(vni), ports, vteps)
    });
    list
}
