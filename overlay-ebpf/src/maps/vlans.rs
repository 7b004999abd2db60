use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    IfIndex, Vid, Vni,
    explain::Step,
    maps::vlan::{MAX_ENTRIES, VlanKey},
};

use super::NO_PREALLOC;
use crate::explain;

#[btf_map]
static VLANS: HashMap<VlanKey, u32, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// The segment that the VLAN `vid` of the trunk port `device` is.
#[inline(always)]
pub(crate) fn get(device: IfIndex, vid: Vid) -> Option<Vni> {
    // SAFETY: userspace replaces the value as a whole.
    let vni = unsafe { VLANS.get(VlanKey::new(device, vid)) }.and_then(|vni| Vni::new(*vni));
    // One arm each: the verifier refuses a number that only one of them has set.
    match vni {
        Some(vni) => explain::note(|| Step::Vlan(device, Some(vid), Some(vni))),
        None => explain::note(|| Step::Vlan(device, Some(vid), None)),
    }
    vni
}
