use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    IfIndex,
    explain::Step,
    maps::port::{MAX_ENTRIES, Port},
};

use super::NO_PREALLOC;
use crate::explain;

#[btf_map]
static PORTS: HashMap<u32, Port, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

/// The port that `device` is.
#[inline(always)]
pub(crate) fn get(device: IfIndex) -> Option<Port> {
    // SAFETY: userspace replaces the value as a whole.
    let port = unsafe { PORTS.get(device.get()) };
    explain::note(|| Step::Port(device, port.is_some()));
    port.copied()
}
