use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    IfIndex,
    maps::uplink::{MAX_ENTRIES, Uplink},
};

use super::NO_PREALLOC;

#[btf_map]
static UPLINKS: HashMap<u32, Uplink, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// The uplink that `device` is.
#[inline(always)]
pub(crate) fn get(device: IfIndex) -> Option<Uplink> {
    // SAFETY: userspace replaces the value as a whole.
    unsafe { UPLINKS.get(device.get()) }.copied()
}
