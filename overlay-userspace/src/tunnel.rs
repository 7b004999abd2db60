//! Tunnels: `overlay tunnel`.

use std::net::{IpAddr, Ipv4Addr};

use overlay_common::{
    Family, IfIndex, MacAddr, UnderlayAddr, Vni, VtepId,
    maps::{
        config::Config,
        fdb::{Place, Removal},
        member::MemberKey,
        next_hop::NextHop,
        vtep::Vtep,
    },
};

use crate::{
    error::{Error, Result},
    fdb, grace,
    instance::Instance,
    maps::{self, vteps::Vteps},
    netlink::{Netlink, Route},
    segment,
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
/// [`Error::Exists`] if the tunnel is there already; [`Error::Conflict`] if one of the `macs` is, or if the VTEP is
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
    let addr = UnderlayAddr::from(remote);
    let known = Vteps::open(instance)?.find(addr)?;
    if let Some((_, vtep)) = &known {
        refuse_other(vtep, remote, settings)?;
        refuse_other_port(vtep, remote, settings.port.unwrap_or(config.port()))?;
    }
    let key = MemberKey::new(vni, addr);
    let mut members = maps::members(instance)?;
    if members.get(key)?.is_some() {
        return Err(Error::Exists(format!(
            "VNI {vni} reaches {remote} already; `overlay tunnel show` lists all tunnels"
        )));
    }
    let route = route(instance, netlink, remote).await?;

    let mut undo = Undo::new();
    segment::ensure(instance, &netlink.links().await?, vni, &mut undo)?;
    let id = if let Some((id, _)) = known {
        id
    } else {
        let is_multipath = !netlink.equal_routes(remote).await.is_empty();
        let vtep = vtep(&config, addr, &route, settings)?.with_multipath(is_multipath);
        claim(instance, &vtep, &mut undo)?
    };
    undo.push(move || {
        let _ = forget(instance, key, id);
    });
    maps::counters::start(instance, vni, Some(id))?;
    members.put(key, &id.index())?;
    maps::flood::change(instance, vni, |list| list.add_vtep(id, key.remote().family()))?;
    for mac in macs {
        fdb::add_static(instance, vni, *mac, Place::Vtep(id)).map_err(Error::as_conflict)?;
    }
    netlink.manage_neighbour(route.device, route.via).await?;
    undo.disarm();
    if settings.udp_checksum {
        eprintln!(
            "overlay: --udp6-csum: several packets in one from a workload are dropped as gso-checksum; `ethtool -K DEV tso off \
             gso off` on its device avoids them"
        );
    }
    if settings.udp_checksum {
        eprintln!(
            "overlay: what the kernel carries as one cannot get checksums, and is dropped on its way to {remote}; \
             `ethtool -K DEV tso off gso off` in workloads avoids it"
        );
    }
    Ok(())
}

/// An address that can be a remote VTEP's.
fn checked(config: &Config, remote: IpAddr, settings: Settings) -> Result<IpAddr> {
    let remote = remote.to_canonical();
    let is_broadcast = remote == IpAddr::V4(Ipv4Addr::BROADCAST);
    if remote.is_unspecified() || remote.is_loopback() || remote.is_multicast() || is_broadcast {
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
        name(addr.family())
    )))
}

const fn name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
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
    let uplinks = maps::uplinks(instance)?.entries()?;
    let Some(route) = netlink.route(remote).await else {
        eprintln!("overlay: there is no route to {remote} yet; packets are dropped until there is one");
        let first = uplinks.into_keys().next().and_then(IfIndex::new);
        let device = first.ok_or_else(|| Error::Failed("this instance has no uplink".to_owned()))?;
        return Ok(Route { device, via: remote, source: None });
    };
    if uplinks.contains_key(&route.device.get()) {
        return Ok(route);
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

/// Puts a VTEP into a free slot.
fn claim<'a>(instance: &'a Instance, vtep: &Vtep, undo: &mut Undo<'a>) -> Result<VtepId> {
    let mut vteps = Vteps::open(instance)?;
    let id = vteps.free()?;
    maps::next_hops::forget(instance, id)?;
    if vtep.is_multipath() {
        maps::next_hops::forget_flows(instance)?;
    }
    maps::path_mtus::forget(instance, id)?;
    undo.push(move || {
        let _ = Vteps::open(instance).and_then(|mut vteps| vteps.clear(id));
    });
    vteps.put(id, vtep)?;
    Ok(id)
}

/// Stops a segment from reaching a remote VTEP.
///
/// # Errors
///
/// [`Error::Missing`] if there is no such tunnel.
pub async fn del(instance: &Instance, netlink: &Netlink, vni: Vni, remote: IpAddr) -> Result<()> {
    let key = MemberKey::new(vni, remote.into());
    let id = maps::members(instance)?.get(key)?.and_then(|id| u16::try_from(id).ok()).and_then(VtepId::new);
    let id = id.ok_or_else(|| {
        Error::Missing(format!(
            "VNI {vni} has no tunnel to {remote}; `overlay tunnel show` lists all tunnels"
        ))
    })?;
    forget(instance, key, id)?;
    let still_used = maps::members(instance)?.entries()?.into_values().any(|other| other == id.index());
    if still_used {
        return Ok(());
    }
    release(instance, netlink, id).await?;
    Vteps::open(instance)?.clear(id)
}

/// Removes a tunnel from every map: first the right to send, last the stations behind it.
fn forget(instance: &Instance, key: MemberKey, id: VtepId) -> Result<()> {
    maps::members(instance)?.remove(key)?;
    let Some(vni) = key.vni() else { return Ok(()) };
    maps::flood::change(instance, vni, |list| {
        list.remove_vtep(id);
        Ok(())
    })?;
    grace::wait();
    maps::fdb::purge(instance, Removal::ALL.vni(vni).vtep(id))?;
    maps::counters::stop(instance, vni, Some(id))
}

/// Lets the kernel forget the neighbour that packets to a VTEP go to, unless packets to another VTEP go there too.
async fn release(instance: &Instance, netlink: &Netlink, id: VtepId) -> Result<()> {
    let mut others = Vec::new();
    let mut own = None;
    for (other, vtep) in Vteps::open(instance)?.all()? {
        let Some(neighbour) = neighbour(netlink, &vtep).await else { continue };
        if other == id {
            own = Some(neighbour);
        } else {
            others.push(neighbour);
        }
    }
    match own {
        Some((device, via)) if !others.contains(&(device, via)) => {
            netlink.release_neighbour(device, via).await
        }
        _ => Ok(()),
    }
}

/// Lets the kernel forget every neighbour that it keeps resolved for this instance.
pub(crate) async fn release_neighbours(instance: &Instance, netlink: &Netlink) -> Result<()> {
    for (_, vtep) in Vteps::open(instance)?.all()? {
        if let Some((device, via)) = neighbour(netlink, &vtep).await {
            netlink.release_neighbour(device, via).await?;
        }
    }
    Ok(())
}

/// The device and the neighbour that packets to a VTEP go to.
async fn neighbour(netlink: &Netlink, vtep: &Vtep) -> Option<(IfIndex, IpAddr)> {
    let addr = vtep.remote().ip();
    match netlink.route(addr).await {
        Some(route) => Some((route.device, route.via)),
        None => Some((vtep.uplink()?, addr)),
    }
}

/// All tunnels, by segment and address.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn show(instance: &Instance) -> Result<Vec<View>> {
    let vteps = Vteps::open(instance)?;
    let mut views = Vec::new();
    let now = fdb::now()?;
    for (key, id) in maps::members(instance)?.entries()? {
        let id = u16::try_from(id).ok().and_then(VtepId::new);
        let (Some(vni), Some(vtep)) = (key.vni(), id) else { continue };
        let is_multipath = vteps.get(vtep)?.is_some_and(|known| known.is_multipath());
        let hops = maps::next_hops::read(instance, vtep, is_multipath)?;
        let next_hop = hops.into_iter().filter(|hop| hop.uplink().is_some()).max_by_key(NextHop::fresh_until);
        let Some(known) = vteps.get(vtep)? else { continue };
        let (udp_checksum, port) = (known.udp_checksum(), known.outer().port());
        let told = maps::path_mtus::read(instance, vtep)?;
        let told_mtu = told.mtu(now).map(|mtu| (mtu, told.seconds_left(now)));
        views.push(View { vni, remote: key.remote(), vtep, udp_checksum, port, next_hop, told_mtu });
    }
    Ok(views)
}
