use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    IfIndex, Vid, Vni,
    explain::Step,
    maps::vlan::{MAX_ENTRIES, TagKey},
};

use super::NO_PREALLOC;
use crate::explain;

#[btf_map]
static TAGS: HashMap<TagKey, u32, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// The VLAN that segment `vni` is on the trunk port `device`.
#[inline(always)]
pub(crate) fn get(device: IfIndex, vni: Vni) -> Option<Vid> {
    // SAFETY: userspace replaces the value as a whole.
    let vid = unsafe { TAGS.get(TagKey::new(device, vni)) }.and_then(|vid| Vid::new(*vid as u16));
    explain::note(|| Step::Tag(device, Some(vni), vid));
    vid
}
