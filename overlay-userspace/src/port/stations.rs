//! The stations behind a port that commands and control planes put there: they wait where its device goes away.

use overlay_common::{
    IfIndex, Vni,
    maps::{
        device::DeviceName,
        fdb::{FdbEntry, FdbKey, Origin, Place, Removal},
        parked::Parked,
        port::PortKind,
    },
};

use crate::{
    error::{Error, Result},
    fdb::{self, Known},
    instance::Instance,
    maps::{self, Added, Table},
};

/// Notes the stations behind a device as waiting for the port of that name; how many do not fit.
pub(crate) fn park(instance: &Instance, name: DeviceName, device: IfIndex) -> Result<usize> {
    let mut parked = maps::parked(instance)?;
    let mut lost = 0;
    for (key, entry, _) in behind(instance, device)? {
        if entry.origin() != Origin::Learned && !keep(&mut parked, key, &Parked::new(name, entry))? {
            lost += 1;
        }
    }
    Ok(lost)
}

/// `false`: there are as many as can be.
fn keep(parked: &mut Table<FdbKey, Parked>, key: FdbKey, station: &Parked) -> Result<bool> {
    match parked.add(key, station)? {
        Added::New => Ok(true),
        Added::Known => parked.put(key, station).map(|()| true),
        Added::Full => Ok(false),
    }
}

/// The stations that wait for a port.
pub(crate) fn waiting(instance: &Instance) -> Result<Vec<(FdbKey, Parked)>> {
    Ok(maps::parked(instance)?.entries()?.into_iter().collect())
}

/// Puts a station that waited for a port behind its device. One that is elsewhere by now stays there. Where that fails, it
/// waits on.
pub(crate) fn unpark(
    instance: &Instance,
    (key, station): &(FdbKey, Parked),
    device: IfIndex,
    kind: PortKind,
) -> Result<()> {
    if let Some(vni) = key.vni() {
        let place = (place_of(device, kind), station.entry().origin());
        match fdb::put(instance, vni, key.mac(), place, Known::Stays) {
            Ok(()) | Err(Error::Exists(_) | Error::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
    }
    maps::parked(instance)?.remove(*key).map(drop)
}

/// Forgets the stations that wait for the port of that name.
pub(crate) fn forget_parked(instance: &Instance, name: DeviceName) -> Result<()> {
    let mut parked = maps::parked(instance)?;
    for (key, _) in parked.entries()?.into_iter().filter(|(_, station)| station.port() == name) {
        parked.remove(key)?;
    }
    Ok(())
}

/// Has frames for the stations behind a device handed over in another way. Those that were learned are learned again.
pub(crate) fn hand_over(instance: &Instance, device: IfIndex, kind: PortKind) -> Result<()> {
    for (key, entry, vni) in behind(instance, device)? {
        if entry.origin() != Origin::Learned {
            let place = (place_of(device, kind), entry.origin());
            fdb::put(instance, vni, key.mac(), place, Known::Moves)?;
        }
    }
    maps::fdb::remove(instance, Removal::ALL.port(device).origin(Origin::Learned)).map(drop)
}

const fn place_of(device: IfIndex, kind: PortKind) -> Place {
    Place::Port { device, peer: matches!(kind, PortKind::VethPeer) }
}

fn behind(instance: &Instance, device: IfIndex) -> Result<Vec<(FdbKey, FdbEntry, Vni)>> {
    let is_there = |(key, entry): (FdbKey, FdbEntry)| {
        let vni = key.vni()?;
        match entry.place(vni)? {
            Place::Port { device: behind, .. } if behind == device => Some((key, entry, vni)),
            _ => None,
        }
    };
    Ok(maps::fdb::open(instance)?.entries()?.into_iter().filter_map(is_there).collect())
}
