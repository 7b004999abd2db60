//! Stations: `overlay fdb`.

use std::net::IpAddr;

use nix::{
    sys::time::TimeValLike as _,
    time::{ClockId, clock_gettime},
};
use overlay_common::{
    MacAddr, Vni, VtepId,
    maps::{
        fdb::{FdbEntry, FdbKey, Origin, Place},
        member::MemberKey,
        port::{Port, PortKind},
        vlan::TagKey,
    },
};

use crate::{
    error::{Context as _, Error, Result},
    instance::Instance,
    maps,
    netlink::Netlink,
    segment,
};

/// Where a command says that a station is.
#[derive(Clone, Debug)]
pub enum At {
    /// Behind the VTEP with that address, which has to be a member of the segment.
    Remote(IpAddr),
    /// Behind the port of that name, which has to be a port of the segment.
    Port(String),
}

/// Puts a station where it is said to be, for good.
///
/// # Errors
///
/// [`Error::Exists`] or [`Error::Conflict`] if a command or a control plane put it somewhere already; [`Error::Missing`] if the segment, or the
/// place in it, is not there.
pub async fn add(instance: &Instance, netlink: &Netlink, vni: Vni, mac: MacAddr, at: &At) -> Result<()> {
    if maps::segments(instance)?.get(vni.get())?.is_none() {
        return Err(segment::missing(vni));
    }
    let place = match at {
        At::Remote(remote) => remote_place(instance, vni, *remote)?,
        At::Port(name) => port_place(instance, netlink, vni, name).await?,
    };
    add_static(instance, vni, mac, place)
}

fn remote_place(instance: &Instance, vni: Vni, remote: IpAddr) -> Result<Place> {
    let id = maps::members(instance)?.get(MemberKey::new(vni, remote.into()))?;
    let id = id.and_then(|id| u16::try_from(id).ok()).and_then(VtepId::new);
    id.map(Place::Vtep).ok_or_else(|| {
        Error::Missing(format!(
            "VNI {vni} has no tunnel to {remote}; `overlay tunnel add --vni {vni} --remote {remote}` makes one"
        ))
    })
}

async fn port_place(instance: &Instance, netlink: &Netlink, vni: Vni, name: &str) -> Result<Place> {
    let link = netlink.link(name).await?;
    let is_mapped = maps::tags(instance)?.get(TagKey::new(link.index, vni))?.is_some();
    let is_of = |port: &Port| port.vni() == Some(vni) || (port.is_trunk() && is_mapped);
    let port = maps::ports(instance)?.get(link.index.get())?.filter(is_of);
    let port = port.ok_or_else(|| {
        Error::Missing(format!(
            "{name} is no port of VNI {vni}; `overlay port add {name} --vni {vni}` makes it one"
        ))
    })?;
    Ok(Place::Port { device: link.index, peer: port.kind() == PortKind::VethPeer })
}

/// Puts a station somewhere for good. Where the map is full, a learned entry makes way.
pub(crate) fn add_static(instance: &Instance, vni: Vni, mac: MacAddr, place: Place) -> Result<()> {
    if !mac.is_station() {
        return Err(Error::Usage(format!("{mac} is a group address or zero, and no station can have it")));
    }
    let key = FdbKey::new(vni, mac);
    let mut fdb = maps::fdb::open(instance)?;
    if let Some(known) = fdb.get(key)?.filter(|entry| entry.origin() != Origin::Learned) {
        return Err(if known.place(vni) == Some(place) {
            Error::Exists(format!("{mac} of VNI {vni} is there already"))
        } else {
            Error::Conflict(format!("{mac} of VNI {vni} is elsewhere already; `overlay fdb del` first"))
        });
    }
    let entry = FdbEntry::new(vni, place, Origin::Static, now()?);
    if fdb.try_put(key, &entry)? {
        return Ok(());
    }
    let learned = fdb.entries()?.into_iter().filter(|(_, entry)| entry.origin() == Origin::Learned);
    let Some((oldest, _)) = learned.min_by_key(|(_, entry)| entry.last_seen()) else {
        return Err(Error::Failed(
            "the FDB is full; `overlay fdb del` makes room, `up --fdb-size` sets it".to_owned(),
        ));
    };
    fdb.remove(oldest)?;
    fdb.put(key, &entry)
}

/// Removes the stations that were learned too long ago; the programs take no notice of them any more.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn sweep(instance: &Instance) -> Result<usize> {
    let segments = maps::segments(instance)?.entries()?;
    let now = now()?;
    maps::fdb::remove_where(instance, |key, entry| {
        let segment = key.vni().and_then(|vni| segments.get(&vni.get()));
        segment.is_some_and(|segment| entry.is_aged(segment.ageing(), now))
    })
}

/// Removes a station.
///
/// # Errors
///
/// [`Error::Missing`] if it is not there.
pub fn del(instance: &Instance, vni: Vni, mac: MacAddr) -> Result<()> {
    if maps::fdb::open(instance)?.remove(FdbKey::new(vni, mac))? {
        return Ok(());
    }
    Err(Error::Missing(format!(
        "{mac} of VNI {vni} is not in the FDB; `overlay fdb show --vni {vni}` lists what is"
    )))
}

/// Removes the learned stations of a segment; how many there were.
///
/// # Errors
///
/// [`Error::Missing`] if the segment is not there.
pub fn flush(instance: &Instance, vni: Vni) -> Result<usize> {
    if maps::segments(instance)?.get(vni.get())?.is_none() {
        return Err(segment::missing(vni));
    }
    maps::fdb::remove_where(instance, |key, entry| {
        key.vni() == Some(vni) && entry.origin() == Origin::Learned
    })
}

/// The stations of a segment, or of all, by VNI and MAC.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn show(instance: &Instance, only: Option<Vni>) -> Result<Vec<(FdbKey, FdbEntry)>> {
    let entries = maps::fdb::open(instance)?.entries()?;
    Ok(entries.into_iter().filter(|(key, _)| only.is_none() || key.vni() == only).collect())
}

/// Nanoseconds of the monotonic clock, as the programs have it.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn now() -> Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).context(|| "cannot read the clock")?;
    u64::try_from(time.num_nanoseconds()).context(|| "the clock is before its beginning")
}
