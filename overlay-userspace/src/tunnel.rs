//! Tunnels: `overlay tunnel`.

mod adopted;
mod again;
mod change;
mod group;
mod ids;
mod moved;
mod neighbours;
mod remote;

pub(crate) use adopted::{KernelWay, admit, dismiss};
pub use again::complete;
pub(crate) use change::{change, check};
pub(crate) use group::others_joined;
pub use group::{add as add_group, sweep};
pub use moved::replace;
pub(crate) use neighbours::{follow as follow_neighbours, release_neighbours, tidy as tidy_neighbours};

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use overlay_common::{
    IfIndex, MacAddr, UnderlayAddr, Vni, VtepId,
    maps::{
        admitted,
        config::Config,
        fdb::{FdbKey, Origin, Place, Removal},
        mdb::{Group, Listener},
        member::{self, MemberKey},
        next_hop::NextHop,
        vtep::Vtep,
    },
};

use crate::{
    adopt, cutter,
    error::{Error, Result},
    fdb, grace,
    instance::Instance,
    maps::{self, vteps::Vteps},
    mdb,
    netlink::{Netlink, Route},
    say, segment,
    undo::Undo,
};

/// A tunnel.
#[derive(Clone, Debug)]
pub struct View {
    /// Its segment.
    pub vni: Vni,
    /// The remote VTEP's address.
    pub remote: UnderlayAddr,
    /// The remote VTEP's id.
    pub vtep: VtepId,
    /// Whether it gets UDP checksums over IPv6.
    pub udp_checksum: bool,
    /// The UDP port that the remote VTEP listens on, host byte order.
    pub port: u16,
    /// How packets last left for it, if any did.
    pub next_hop: Option<NextHop>,
    /// What the underlay said about packets that were too big for it, if that still counts, and for how many seconds.
    pub told_mtu: Option<(u16, u64)>,
    /// Whether it is a multicast group of the underlay.
    pub is_group: bool,
    /// Whether it became a member by speaking to a group.
    pub is_learned: bool,
}

/// How a remote VTEP shall be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// With UDP checksums over IPv6, instead of zeros (RFC 6935).
    pub udp_checksum: bool,
    /// The UDP port that it listens on, host byte order; `None`: the same as the local VTEP.
    pub port: Option<u16>,
}

/// Lets a segment reach a remote VTEP, which may send into it from now on, and puts `macs` behind that VTEP.
///
/// # Errors
///
/// [`Error::Exists`] if the tunnel is there already, perhaps without some of the `macs`; [`Error::Conflict`] if one of the `macs` is, or if the VTEP is
/// reached already with other settings; [`Error::Usage`] for an address that cannot be a remote VTEP's.
pub async fn add(
    instance: &Instance,
    netlink: &Netlink,
    vni: Vni,
    remote: IpAddr,
    settings: Settings,
    macs: &[MacAddr],
) -> Result<()> {
    let config = instance.config()?;
    let remote = checked(&config, remote, settings)?;
    if remote.is_multicast() {
        return Err(Error::Usage(format!(
            "--remote {remote} is a multicast group, which no stations are behind"
        )));
    }
    remote::refuse_no_hosts(netlink, remote).await?;
    let addr = UnderlayAddr::from(remote);
    let key = MemberKey::new(vni, addr);
    let mut members = maps::members(instance)?;
    let is_learned = group::is_learned(instance, key)?;
    if !is_learned && members.get(key)?.is_some() {
        again::refuse_changed(instance, &config, remote, settings)?;
        return Err(Error::Exists(format!(
            "VNI {vni} reaches {remote} already; `overlay tunnel show` lists all tunnels"
        )));
    }
    let known = known(instance, &config, key, settings)?;
    refuse_static(instance, vni, macs)?;
    let route = route(instance, netlink, remote).await?;
    if settings.udp_checksum {
        cutter::have(instance, netlink).await?;
    }

    let mut undo = Undo::new();
    segment::ensure(instance, &netlink.links().await?, vni, &mut undo)?;
    let id = if let Some(id) = known {
        id
    } else {
        let is_multipath = !netlink.equal_routes(remote).await.is_empty();
        let vtep = vtep(&config, addr, &route, settings)?.with_multipath(is_multipath);
        let id = ids::claim(instance, &vtep)?;
        undo.push(move || {
            let _ = ids::drop_vtep(instance, id);
        });
        id
    };
    ids::unify(instance, addr, id)?;
    undo.push(move || {
        let _ = if is_learned { unname(instance, vni, id, macs) } else { forget(instance, key, id) };
    });
    maps::counters::start(instance, vni, Some(id))?;
    members.put(key, &id.index())?;
    maps::flood::change(instance, vni, |list| list.add_vtep(id, key.remote().family()))?;
    mdb::forget_queriers(instance, vni)?;
    for mac in macs {
        fdb::add_static(instance, vni, *mac, Place::Vtep(id)).map_err(Error::as_conflict)?;
    }
    // From now on a command vouches for it.
    group::vouch(instance, key)?;
    neighbours::keep_ways(instance, netlink, remote).await?;
    undo.disarm();
    for mac in macs {
        fdb::forget_waiting(instance, vni, *mac)?;
    }
    Ok(())
}

/// The id that a command gave the VTEP of `key`, if it is reached as `settings` say. `None`: it gets one.
fn known(instance: &Instance, config: &Config, key: MemberKey, settings: Settings) -> Result<Option<VtepId>> {
    let Some((id, vtep)) = Vteps::open(instance)?.find(key.remote())? else { return Ok(None) };
    let remote = key.remote().ip();
    let refused = refuse_other(&vtep, remote, settings)
        .and_then(|()| refuse_other_port(&vtep, remote, settings.port.unwrap_or(config.port())));
    let members = maps::members(instance)?.entries()?;
    if members.into_iter().any(|(other, of)| other != key && member::id(of) == Some(id)) {
        refused?;
    } else if refused.is_err() {
        return Ok(None);
    }
    Ok(Some(id).filter(|id| !admitted::is_one(*id)))
}

/// Refuses stations that a command or a control plane put somewhere already.
fn refuse_static(instance: &Instance, vni: Vni, macs: &[MacAddr]) -> Result<()> {
    let fdb = maps::fdb::open(instance)?;
    for mac in macs {
        if fdb.get(FdbKey::new(vni, *mac))?.is_some_and(|entry| entry.origin() != Origin::Learned) {
            return Err(Error::Conflict(format!("{mac} of VNI {vni} is in the FDB already")));
        }
    }
    Ok(())
}

/// Lets a segment have a member again that came by itself, as if no command had named it.
fn unname(instance: &Instance, vni: Vni, id: VtepId, macs: &[MacAddr]) -> Result<()> {
    maps::flood::change(instance, vni, |list| {
        list.remove_vtep(id);
        Ok(())
    })?;
    for mac in macs {
        maps::fdb::remove(instance, Removal::ALL.vni(vni).vtep(id).mac(*mac))?;
    }
    Ok(())
}

/// An address that can be a remote VTEP's.
fn checked(config: &Config, remote: IpAddr, settings: Settings) -> Result<IpAddr> {
    let remote = remote.to_canonical();
    let is_broadcast = remote == IpAddr::V4(Ipv4Addr::BROADCAST);
    // A group of a link only belongs to that link's own protocols.
    let is_of_a_link = remote.is_multicast() && Group::new(remote.into()).is_none();
    if remote.is_unspecified() || remote.is_loopback() || is_broadcast || is_of_a_link {
        return Err(Error::Usage(format!(
            "--remote {remote} cannot be the address of a VTEP; name a host's"
        )));
    }
    if let IpAddr::V6(addr) = remote
        && addr.is_unicast_link_local()
    {
        return Err(Error::Usage(format!(
            "--remote {addr} is an address of a link only; name one that reaches further"
        )));
    }
    if settings.udp_checksum && remote.is_ipv4() {
        return Err(Error::Usage(format!("--udp6-csum is for VTEPs over IPv6, which {remote} is not")));
    }
    let addr = UnderlayAddr::from(remote);
    if config.locals().contains(&addr) {
        return Err(Error::Usage(format!("--remote {remote} is the local VTEP itself; name another host's")));
    }
    if config.locals().iter().any(|local| local.family() == addr.family()) {
        return Ok(remote);
    }
    Err(Error::Usage(format!(
        "--remote {remote}: the local VTEP has no {} address; `overlay status` shows those it has",
        addr.family().name()
    )))
}

/// Refuses settings that are not those of a VTEP that is reached already.
fn refuse_other(vtep: &Vtep, remote: IpAddr, settings: Settings) -> Result<()> {
    if vtep.udp_checksum() == settings.udp_checksum {
        return Ok(());
    }
    let (has, other) = if settings.udp_checksum { ("without", "leave out") } else { ("with", "give") };
    Err(Error::Conflict(format!(
        "{remote} is reached {has} UDP checksums already; {other} --udp6-csum, or delete its tunnels first"
    )))
}

/// Refuses a port that is not the one by which a VTEP is reached already.
fn refuse_other_port(vtep: &Vtep, remote: IpAddr, port: u16) -> Result<()> {
    let known = vtep.outer().port();
    if known == port {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "{remote} is reached on port {known} already; give --port {known}, or delete its tunnels first"
    )))
}

/// The route to a remote VTEP. Where there is none yet, the first uplink stands in until there is.
async fn route(instance: &Instance, netlink: &Netlink, remote: IpAddr) -> Result<Route> {
    let uplinks: BTreeSet<u32> = maps::uplinks(instance)?.entries()?.into_keys().collect();
    let Some(route) = route_by(&uplinks, netlink, remote).await? else {
        say::aside(format_args!("there is no route to {remote} yet; packets are dropped until there is one"));
        let first = uplinks.into_iter().next().and_then(IfIndex::new);
        let device = first.ok_or_else(|| Error::Failed("this instance has no uplink".to_owned()))?;
        return Ok(Route { device, via: remote, source: None });
    };
    Ok(route)
}

/// The route to a remote VTEP, if there is one, which has to leave by one of these uplinks.
async fn route_by(uplinks: &BTreeSet<u32>, netlink: &Netlink, remote: IpAddr) -> Result<Option<Route>> {
    let Some(route) = netlink.route(remote).await else { return Ok(None) };
    if uplinks.contains(&route.device.get()) {
        return Ok(Some(route));
    }
    let links = netlink.links().await?;
    let name =
        links.iter().find(|link| link.index == route.device).map_or("another device", |link| &link.name);
    Err(Error::Failed(format!(
        "the route to {remote} leaves by {name}, which is no uplink; name it at `overlay up`"
    )))
}

/// The VTEP at `addr`, which sees us as the source address of the route, if that is one of the local VTEP's.
fn vtep(config: &Config, addr: UnderlayAddr, route: &Route, settings: Settings) -> Result<Vtep> {
    let source = route.source.map(UnderlayAddr::from).filter(|source| config.locals().contains(source));
    let first = config.locals().iter().copied().find(|local| local.family() == addr.family());
    source
        .or(first)
        .and_then(|local| Vtep::new(local, addr, settings.port.unwrap_or(config.port()), route.device))
        .map(|vtep| vtep.with_udp_checksum(settings.udp_checksum))
        .ok_or_else(|| Error::Failed(format!("the local VTEP has no address to reach {addr} from")))
}

/// Stops a segment from reaching a remote VTEP.
///
/// # Errors
///
/// [`Error::Missing`] if there is no such tunnel.
pub async fn del(instance: &Instance, netlink: &Netlink, vni: Vni, remote: IpAddr) -> Result<()> {
    adopt::refuse(instance, vni)?;
    let key = MemberKey::new(vni, remote.to_canonical().into());
    let id = maps::members(instance)?.get(key)?.and_then(member::id).ok_or_else(|| {
        Error::Missing(format!(
            "VNI {vni} has no tunnel to {remote}; `overlay tunnel show` lists all tunnels"
        ))
    })?;
    if group::is_learned(instance, key)? {
        group::forget_member(instance, key)?;
        return neighbours::tidy(instance, netlink).await;
    }
    if remote.is_multicast() {
        return group::del(instance, netlink, key, id).await;
    }
    forget(instance, key, id)?;
    ids::drop_vtep(instance, id)?;
    neighbours::tidy(instance, netlink).await
}

/// Removes a tunnel from every map: first the right to send, last the stations behind it.
fn forget(instance: &Instance, key: MemberKey, id: VtepId) -> Result<()> {
    maps::members(instance)?.remove(key)?;
    let Some(vni) = key.vni() else { return Ok(()) };
    maps::flood::change(instance, vni, |list| {
        list.remove_vtep(id);
        Ok(())
    })?;
    mdb::forget_listener(instance, vni, Listener::Vtep(id))?;
    grace::wait(instance)?;
    maps::fdb::purge(instance, Removal::ALL.vni(vni).vtep(id))?;
    maps::counters::stop(instance, vni, Some(id))?;
    if maps::members(instance)?.get(key)?.and_then(member::id) == Some(id) {
        // By a group it came again meanwhile.
        maps::counters::start(instance, vni, Some(id))?;
    }
    Ok(())
}

/// All tunnels, by segment and address.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn show(instance: &Instance) -> Result<Vec<View>> {
    let vteps = Vteps::open(instance)?;
    let mut views = Vec::new();
    let learned = maps::admitted::open(instance)?.entries()?;
    let now = fdb::now()?;
    for (key, id) in maps::members(instance)?.entries()? {
        let (Some(vni), Some(vtep)) = (key.vni(), member::id(id)) else { continue };
        let Some(known) = vteps.get(vtep)? else { continue };
        let hops = maps::next_hops::read(instance, vtep, known.is_multipath())?;
        let next_hop = hops.into_iter().filter(|hop| hop.uplink().is_some()).max_by_key(NextHop::fresh_until);
        let told = maps::path_mtus::read(instance, vtep)?;
        views.push(View {
            vni,
            remote: key.remote(),
            vtep,
            udp_checksum: known.udp_checksum(),
            port: known.outer().port(),
            next_hop,
            told_mtu: told.mtu(now).map(|mtu| (mtu, told.seconds_left(now))),
            is_group: key.remote().is_multicast(),
            is_learned: learned.contains_key(&key),
        });
    }
    Ok(views)
}
