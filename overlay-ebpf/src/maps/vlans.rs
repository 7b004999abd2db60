use core::hint;

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
    let number = unsafe { VLANS.get(VlanKey::new(device, vid)) }.copied().unwrap_or_default();
    // The compiler would have what nobody set stand for the number where there is none, which the verifier refuses.
    explain::note(|| Step::Vlan(device, Some(vid), Vni::new(hint::black_box(number))));
    Vni::new(number)
}
