//! Neighbours: `overlay neigh`.

use overlay_common::{
    MacAddr, OverlayAddr, Vni,
    maps::{
        fdb::Origin,
        neighbour::{Neighbour, NeighbourKey},
    },
};

use crate::{
    error::{Error, Result},
    fdb,
    instance::Instance,
    maps::{self, Added},
    segment,
};

/// The station that a command gives an IP address to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// Its MAC address.
    pub mac: MacAddr,
    /// Whether it is a router, which IPv6 stations say of themselves.
    pub router: bool,
}

/// Gives an IP address to a station, for good. What was learned makes way.
///
/// # Errors
///
/// [`Error::Exists`] or [`Error::Conflict`] if a command or a control plane gave it to one already; [`Error::Missing`] if
/// the segment is not there; [`Error::Usage`] if no station can be so.
pub fn add(instance: &Instance, vni: Vni, address: OverlayAddr, station: Station) -> Result<()> {
    let known = maps::neighbours::open(instance)?.get(NeighbourKey::new(vni, address))?;
    if let Some(known) = known.filter(|entry| entry.origin() != Origin::Learned) {
        let same = known.station(NeighbourKey::new(vni, address)) == Some((station.mac, station.router));
        return Err(if same {
            Error::Exists(format!("{address} of VNI {vni} is there already"))
        } else {
            Error::Conflict(format!(
                "{address} of VNI {vni} is another's already; `overlay neigh replace` changes it"
            ))
        });
    }
    replace(instance, vni, address, station)
}

/// The same, whoever has it.
///
/// # Errors
///
/// [`Error::Missing`] if the segment is not there; [`Error::Usage`] if no station can be so.
pub fn replace(instance: &Instance, vni: Vni, address: OverlayAddr, station: Station) -> Result<()> {
    let Station { mac, router } = station;
    if !mac.is_station() {
        return Err(Error::Usage(format!("{mac} is a group address or zero, and no station can have it")));
    }
    if router && address.ip().is_ipv4() {
        return Err(Error::Usage(format!("--router: {address} is IPv4, whose routers do not say so in ARP")));
    }
    if maps::segments(instance)?.get(vni.get())?.is_none() {
        return Err(segment::missing(vni));
    }
    let key = NeighbourKey::new(vni, address);
    put(instance, key, &Neighbour::new(key, mac, router, Origin::Static, fdb::now()?))
}

/// Where the map is full, the oldest learned entry makes way.
fn put(instance: &Instance, key: NeighbourKey, entry: &Neighbour) -> Result<()> {
    let mut map = maps::neighbours::open(instance)?;
    match map.add(key, entry)? {
        Added::New => return Ok(()),
        Added::Known => return map.put(key, entry),
        Added::Full => {}
    }
    let learned = map.entries()?.into_iter().filter(|(_, entry)| entry.origin() == Origin::Learned);
    let Some((oldest, _)) = learned.min_by_key(|(_, entry)| entry.last_seen()) else {
        return Err(Error::Failed(
            "there are as many neighbours as there can be; `overlay neigh del` makes room".to_owned(),
        ));
    };
    map.remove(oldest)?;
    map.put(key, entry)
}

/// Removes the neighbours that were not heard of for too long; the programs take no notice of them any more.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn sweep(instance: &Instance) -> Result<usize> {
    let segments = maps::segments(instance)?.entries()?;
    let now = fdb::now()?;
    maps::neighbours::remove_where(instance, |key, entry| {
        let segment = key.vni().and_then(|vni| segments.get(&vni.get()));
        segment.is_none_or(|segment| entry.is_aged(segment.ageing(), now))
    })
}

/// Takes an IP address from its station.
///
/// # Errors
///
/// [`Error::Missing`] if none has it.
pub fn del(instance: &Instance, vni: Vni, address: OverlayAddr) -> Result<()> {
    if maps::neighbours::open(instance)?.remove(NeighbourKey::new(vni, address))? {
        return Ok(());
    }
    Err(Error::Missing(format!(
        "{address} of VNI {vni} is no neighbour's; `overlay neigh show --vni {vni}` lists those there are"
    )))
}

/// Removes the learned neighbours of a segment; how many there were.
///
/// # Errors
///
/// [`Error::Missing`] if the segment is not there.
pub fn flush(instance: &Instance, vni: Vni) -> Result<usize> {
    if maps::segments(instance)?.get(vni.get())?.is_none() {
        return Err(segment::missing(vni));
    }
    maps::neighbours::remove_where(instance, |key, entry| {
        key.vni() == Some(vni) && entry.origin() == Origin::Learned
    })
}

/// The neighbours of a segment, or of all, by VNI and address.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn show(instance: &Instance, only: Option<Vni>) -> Result<Vec<(NeighbourKey, Neighbour)>> {
    let entries = maps::neighbours::open(instance)?.entries()?;
    Ok(entries.into_iter().filter(|(key, _)| only.is_none() || key.vni() == only).collect())
}
