use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use overlay_common::{
    IfIndex, MacAddr, Vni,
    explain::{Lease, Step},
    maps::{
        adopted::{Adopted, MAX_ENTRIES, MAX_PORTS, MAX_STATIONS, Station},
        fdb::{FdbKey, Standing},
    },
};

use super::NO_PREALLOC;
use crate::explain;

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
    let found = unsafe { ADOPTED.get(vni.get()) };
    let lease = match found {
        None => Lease::None,
        Some(adopted) if adopted.lease() > now => Lease::Good,
        Some(_) => Lease::Over,
    };
    explain::note_lease(vni, lease);
    found.filter(|_| lease == Lease::Good)
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
    let vni = unsafe { ADOPTED_PORTS.get(device.get()) }.and_then(|vni| Vni::new(*vni));
    explain::note_member(device, vni.map_or(0, Vni::get));
    vni
}

/// What the kernel knows of the station `mac` of segment `vni`.
#[inline(always)]
pub(crate) fn station(vni: Vni, mac: MacAddr) -> Option<&'static mut Station> {
    // SAFETY: the map outlives the program; CPUs race for whole words only, and the last one wins.
    let station = ADOPTED_STATIONS.get_ptr_mut(FdbKey::new(vni, mac)).map(|station| unsafe { &mut *station });
    explain::note(|| {
        let standing = station.as_ref().map_or(Standing::NOWHERE, |station| station.standing());
        Step::Station(Some(vni), mac, standing)
    });
    station
}
