use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    IfIndex, MacAddr, Vni,
    maps::{
        adopted::{Adopted, MAX_ENTRIES, MAX_PORTS, MAX_STATIONS, Station},
        fdb::FdbKey,
    },
};

use super::NO_PREALLOC;

#[btf_map]
static ADOPTED: HashMap<u32, Adopted, MAX_ENTRIES, NO_PREALLOC> = HashMap::new();

#[btf_map]
static ADOPTED_PORTS: HashMap<u32, u32, MAX_PORTS, NO_PREALLOC> = HashMap::new();

#[btf_map]
static ADOPTED_STATIONS: HashMap<FdbKey, Station, MAX_STATIONS, NO_PREALLOC> = HashMap::new();

/// Segment `vni`, if its frames may be taken at `now`.
#[inline(always)]
pub(crate) fn get(vni: Vni, now: u64) -> Option<&'static Adopted> {
    // SAFETY: userspace replaces the value as a whole.
    let adopted = unsafe { ADOPTED.get(vni.get()) }?;
    if adopted.lease() > now { Some(adopted) } else { None }
}

/// Whether segment `vni` is adopted, whatever its lease.
#[inline(always)]
pub(crate) fn has(vni: Vni) -> bool {
    ADOPTED.get_ptr(vni.get()).is_some()
}

/// The segment of a bridge member.
#[inline(always)]
pub(crate) fn vni_of(device: IfIndex) -> Option<Vni> {
    // SAFETY: userspace replaces the value as a whole.
    Vni::new(*unsafe { ADOPTED_PORTS.get(device.get()) }?)
}

/// What the kernel knows of the station `mac` of segment `vni`.
#[inline(always)]
pub(crate) fn station(vni: Vni, mac: MacAddr) -> Option<&'static mut Station> {
    let station = ADOPTED_STATIONS.get_ptr_mut(FdbKey::new(vni, mac))?;
    // SAFETY: the map outlives the program; CPUs race for whole words only, and the last one wins.
    Some(unsafe { &mut *station })
}
