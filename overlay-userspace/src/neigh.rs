//! Neighbours: `overlay neigh`.

use overlay_common::{
    MacAddr, OverlayAddr, Vni,
    maps::{
        fdb::{Origin, Placed},
        neighbour::{Neighbour, NeighbourKey},
    },
};

use crate::{
    error::{Error, Result},
    fdb,
    instance::Instance,
    maps, segment,
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
    check(address, station)?;
    let Station { mac, router } = station;
    if maps::segments(instance)?.get(vni.get())?.is_none() {
        return Err(segment::missing(vni));
    }
    let key = NeighbourKey::new(vni, address);
    put(instance, key, &Neighbour::new(key, mac, router, Origin::Static, fdb::now()?))
}

/// Refuses what no station can be.
///
/// # Errors
///
/// [`Error::Usage`] if none can.
pub(crate) fn check(address: OverlayAddr, Station { mac, router }: Station) -> Result<()> {
    if !mac.is_station() {
        return Err(Error::Usage(format!("{mac} is a group address or zero, and no station can have it")));
    }
    if router && address.ip().is_ipv4() {
        return Err(Error::Usage(format!("--router: {address} is IPv4, whose routers do not say so in ARP")));
    }
    Ok(())
}

/// How often it is tried to change an entry. A try fails if another CPU changes the same within nanoseconds.
const TRIES: usize = 256;

/// Where the map is full, which learning alone does not bring about, the oldest learned entry makes way.
fn put(instance: &Instance, key: NeighbourKey, entry: &Neighbour) -> Result<()> {
    let mut ways: Option<Vec<NeighbourKey>> = None;
    let mut way = None;
    for _ in 0..TRIES {
        match maps::neighbours::put(instance, key, entry, way)? {
            Placed::Done => return Ok(()),
            Placed::Again => {}
            Placed::Full => {
                let oldest = match &mut ways {
                    Some(oldest) => oldest,
                    none => none.insert(oldest_learned(instance)?),
                };
                way = oldest.pop();
                if way.is_none() {
                    break;
                }
            }
        }
    }
    Err(Error::Failed(
        "there are as many neighbours as there can be; `overlay neigh del` makes room".to_owned(),
    ))
}

/// The learned neighbours that were not heard of for the longest time, the oldest last.
fn oldest_learned(instance: &Instance) -> Result<Vec<NeighbourKey>> {
    let entries = maps::neighbours::open(instance)?.entries()?.into_iter();
    let mut learned: Vec<_> = entries.filter(|(_, entry)| entry.origin() == Origin::Learned).collect();
    learned.sort_by_key(|(_, entry)| entry.last_seen());
    learned.truncate(TRIES);
    Ok(learned.into_iter().rev().map(|(key, _)| key).collect())
}

/// Removes the neighbours that were not heard of for too long; the programs take no notice of them any more.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn sweep(instance: &Instance) -> Result<usize> {
    let segments = maps::segments(instance)?.entries()?;
    let now = fdb::now()?;
    maps::neighbours::remove_where(instance, true, |key, entry| {
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
    let key = NeighbourKey::new(vni, address);
    for _ in 0..TRIES {
        if maps::neighbours::remove(instance, key)? {
            return Ok(());
        }
        if maps::neighbours::open(instance)?.get(key)?.is_none() {
            break;
        }
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
    maps::neighbours::remove_where(instance, true, |key, entry| {
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
