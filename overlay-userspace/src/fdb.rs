//! Stations: `overlay fdb`.

mod bulk;
mod edit;
mod file;

use std::net::IpAddr;

use nix::{
    sys::time::TimeValLike as _,
    time::{ClockId, clock_gettime},
};
use overlay_common::{
    MacAddr, Vni, VtepId,
    maps::{
        fdb::{FdbEntry, FdbKey, Origin, Place, Placing, Removal},
        learned::LearnedKey,
        member::MemberKey,
        port::{Port, PortKind},
        vlan::TagKey,
    },
};

use self::edit::edit;
pub use self::{
    bulk::{Change, Fault, To, change_all},
    file::{Action, Stations},
};

use crate::{
    error::{Context as _, Error, Result},
    instance::Instance,
    maps::{self, vteps::Vteps},
    netlink::Netlink,
    port, segment,
};

/// Where a command says that a station is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// Behind the VTEP with that address, which has to be a member of the segment.
    Remote(IpAddr),
    /// Behind the port of that name, which has to be a port of the segment.
    Port(String),
}

/// Which stations a command is about: those that all of it holds of.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of that segment.
    pub vni: Option<Vni>,
    /// With that address.
    pub mac: Option<MacAddr>,
    /// Behind the port of that name.
    pub port: Option<String>,
    /// Behind the VTEP with that address.
    pub remote: Option<IpAddr>,
    /// Whose entries were made so.
    pub origin: Option<Origin>,
}

/// What to do where a command or a control plane put a station somewhere already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It stays there, which is an error.
    Stays,
    /// It stays there, which is an error unless it is where it is to be.
    StaysIfSame,
    /// It is put elsewhere.
    Moves,
}

/// Puts a station where it is said to be, for good.
///
/// # Errors
///
/// [`Error::Exists`] or [`Error::Conflict`] if a command or a control plane put it somewhere already, and it
/// [`Known::Stays`]; [`Error::Missing`] if the segment, or the place in it, is not there.
pub async fn add(
    instance: &Instance,
    netlink: &Netlink,
    vni: Vni,
    mac: MacAddr,
    at: &At,
    known: Known,
) -> Result<()> {
    let place = place(instance, netlink, vni, at).await?;
    put(instance, vni, mac, (place, Origin::Static), known)
}

/// The place in a segment.
///
/// # Errors
///
/// [`Error::Missing`] if the segment, or the place in it, is not there.
pub(crate) async fn place(instance: &Instance, netlink: &Netlink, vni: Vni, at: &At) -> Result<Place> {
    if maps::segments(instance)?.get(vni.get())?.is_none() {
        return Err(segment::missing(vni));
    }
    match at {
        At::Remote(remote) => remote_place(instance, vni, *remote),
        At::Port(name) => port_place(instance, netlink, vni, name).await,
    }
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

/// Puts a station somewhere for good. Where the map is full, a learned entry makes way. If it waits for a port, it does so
/// until [`forget_waiting`].
pub(crate) fn add_static(instance: &Instance, vni: Vni, mac: MacAddr, place: Place) -> Result<()> {
    settle(instance, vni, mac, (place, Origin::Static), Known::Stays)
}

/// Has a station wait for no port any more: what is said now counts, and not where it was to be once a port is back.
pub(crate) fn forget_waiting(instance: &Instance, vni: Vni, mac: MacAddr) -> Result<()> {
    maps::parked(instance)?.remove(FdbKey::new(vni, mac)).map(drop)
}

/// Puts a station somewhere for good, in the name of `origin`; it waits for no port any more.
pub(crate) fn put(
    instance: &Instance,
    vni: Vni,
    mac: MacAddr,
    at: (Place, Origin),
    policy: Known,
) -> Result<()> {
    settle(instance, vni, mac, at, policy)?;
    forget_waiting(instance, vni, mac)
}

fn settle(
    instance: &Instance,
    vni: Vni,
    mac: MacAddr,
    (place, origin): (Place, Origin),
    policy: Known,
) -> Result<()> {
    refuse_group(mac)?;
    if policy != Known::Moves {
        let known = maps::fdb::open(instance)?.get(FdbKey::new(vni, mac))?;
        match refuse_elsewhere(vni, mac, place, known.as_ref()) {
            Err(Error::Exists(_)) if policy == Known::StaysIfSame => return Ok(()),
            refused => refused?,
        }
    }
    Ok(edit(instance, &[Placing::new(vni, mac, place, origin)])?)
}

/// Refuses an address that no station can have.
fn refuse_group(mac: MacAddr) -> Result<()> {
    if mac.is_station() {
        return Ok(());
    }
    Err(Error::Usage(format!("{mac} is a group address or zero, and no station can have it")))
}

/// Refuses a station that a command or a control plane put somewhere already.
fn refuse_elsewhere(vni: Vni, mac: MacAddr, place: Place, known: Option<&FdbEntry>) -> Result<()> {
    match known.filter(|entry| entry.origin() != Origin::Learned) {
        None => Ok(()),
        Some(known) if known.place(vni) == Some(place) => {
            Err(Error::Exists(format!("{mac} of VNI {vni} is there already")))
        }
        Some(_) => Err(Error::Conflict(format!(
            "{mac} of VNI {vni} is elsewhere already; `overlay fdb replace` moves it"
        ))),
    }
}

fn missing(vni: Vni, mac: MacAddr) -> Error {
    Error::Missing(format!(
        "{mac} of VNI {vni} is not in the FDB; `overlay fdb show --vni {vni}` lists what is"
    ))
}

fn count_learned(instance: &Instance) -> Result<u64> {
    let mut learned = 0;
    for number in maps::segments(instance)?.entries()?.into_keys() {
        if let Some(vni) = Vni::new(number) {
            learned += maps::learned::count(instance, LearnedKey::segment(vni))?;
        }
    }
    Ok(learned)
}

/// Refuses a limit of learned stations that is below the number of those there are. `of` is what they are learned of, and
/// `flush` the option of `overlay fdb flush` that removes them.
pub(crate) fn check_limit(limit: u32, learned: u64, of: &str, flush: &str) -> Result<()> {
    if limit == 0 || u64::from(limit) >= learned {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "--learn-limit {limit}: {learned} stations of {of} are learned already; `overlay fdb flush {flush}` removes them"
    )))
}

/// Removes the stations that were learned too long ago; the programs take no notice of them any more.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn sweep(instance: &Instance) -> Result<()> {
    maps::fdb::sweep(instance, count_learned(instance)?)
}

/// Removes a station.
///
/// # Errors
///
/// [`Error::Missing`] if it is not there.
pub fn del(instance: &Instance, vni: Vni, mac: MacAddr) -> Result<()> {
    let waited = maps::parked(instance)?.remove(FdbKey::new(vni, mac))?;
    if maps::fdb::remove(instance, Removal::ALL.vni(vni).mac(mac))? > 0 || waited {
        return Ok(());
    }
    Err(missing(vni, mac))
}

/// Removes the stations that a filter lets through, by default learned ones; how many there were.
///
/// # Errors
///
/// [`Error::Missing`] if the segment, the port or the remote VTEP is not there.
pub fn flush(instance: &Instance, filter: &Filter) -> Result<u32> {
    if let Some(vni) = filter.vni
        && maps::segments(instance)?.get(vni.get())?.is_none()
    {
        return Err(segment::missing(vni));
    }
    let conditions = conditions(instance, filter)?;
    maps::fdb::remove(instance, conditions.origin(filter.origin.unwrap_or(Origin::Learned)))
}

/// The stations that a filter lets through, by VNI and MAC.
///
/// # Errors
///
/// [`Error::Missing`] if the port or the remote VTEP is not there.
pub fn show(instance: &Instance, filter: &Filter) -> Result<Vec<(FdbKey, FdbEntry)>> {
    let conditions = conditions(instance, filter)?;
    let conditions = filter.origin.map_or(conditions, |origin| conditions.origin(origin));
    let fdb = maps::fdb::open(instance)?;
    let entries = match conditions.station() {
        Some(key) => fdb.get(key)?.map(|entry| (key, entry)).into_iter().collect(),
        None => fdb.entries()?,
    };
    let is_meant = |(key, entry): &(FdbKey, FdbEntry)| {
        key.vni().is_some_and(|vni| conditions.holds(vni, key.mac(), entry))
    };
    Ok(entries.into_iter().filter(is_meant).collect())
}

/// All of a filter but the origin.
fn conditions(instance: &Instance, filter: &Filter) -> Result<Removal> {
    let mut conditions = Removal::ALL;
    if let Some(vni) = filter.vni {
        conditions = conditions.vni(vni);
    }
    if let Some(mac) = filter.mac {
        conditions = conditions.mac(mac);
    }
    if let Some(name) = &filter.port {
        conditions = conditions.port(port::present(instance, name)?);
    }
    if let Some(remote) = filter.remote {
        let (id, _) = Vteps::open(instance)?.find(remote.into())?.ok_or_else(|| {
            Error::Missing(format!(
                "--remote {remote} is no remote VTEP; `overlay tunnel show` lists those there are"
            ))
        })?;
        conditions = conditions.vtep(id);
    }
    Ok(conditions)
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
