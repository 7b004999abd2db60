//! Tunnels: `overlay tunnel`.

use std::net::{IpAddr, Ipv4Addr};

use overlay_common::{
    IfIndex, MacAddr, UnderlayAddr, Vni, VtepId,
    maps::{config::Config, fdb::Place, member::MemberKey, next_hop::NextHop, vtep::Vtep},
};

use crate::{
    error::{Error, Result},
    fdb,
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
    /// How packets last left for it, if any did.
    pub next_hop: Option<NextHop>,
    /// What the underlay said about packets that were too big for it, if that still counts, and for how many seconds.
    pub told_mtu: Option<(u16, u64)>,
}

/// Lets a segment reach a remote VTEP, which may send into it from now on, and puts `macs` behind that VTEP.
///
/// # Errors
///
/// [`Error::Exists`] if the tunnel is there already, [`Error::Conflict`] if one of the `macs` is; [`Error::Usage`] for an address
/// that cannot be a remote VTEP's.
pub async fn add(
    instance: &Instance,
    netlink: &Netlink,
    vni: Vni,
    remote: IpAddr,
    macs: &[MacAddr],
) -> Result<()> {
    let config = instance.config()?;
    let addr = checked(&config, remote)?;
    let key = MemberKey::new(vni, remote.into());
    let mut members = maps::members(instance)?;
    if members.get(key)?.is_some() {
        return Err(Error::Exists(format!(
            "VNI {vni} reaches {remote} already; `overlay tunnel show` lists all tunnels"
        )));
    }
    let route = route(instance, netlink, addr).await?;

    let mut undo = Undo::new();
    segment::ensure(instance, &netlink.links().await?, vni, &mut undo)?;
    let id = claim(instance, &config, addr, &route, &mut undo)?;
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
    Ok(())
}

/// An address that can be a remote VTEP's.
fn checked(config: &Config, remote: IpAddr) -> Result<Ipv4Addr> {
    let IpAddr::V4(addr) = remote else {
        return Err(Error::Usage(format!("--remote {remote}: the local VTEP speaks IPv4 only")));
    };
    if addr.is_unspecified() || addr.is_loopback() || addr.is_multicast() || addr.is_broadcast() {
        return Err(Error::Usage(format!(
            "--remote {remote} cannot be the address of a VTEP; name a host's"
        )));
    }
    if config.locals().contains(&remote.into()) {
        return Err(Error::Usage(format!("--remote {remote} is the local VTEP itself; name another host's")));
    }
    Ok(addr)
}

/// The route to a remote VTEP. Where there is none yet, the first uplink stands in until there is.
async fn route(instance: &Instance, netlink: &Netlink, addr: Ipv4Addr) -> Result<Route> {
    let uplinks = maps::uplinks(instance)?.entries()?;
    let Some(route) = netlink.route(addr).await else {
        eprintln!("overlay: there is no route to {addr} yet; packets are dropped until there is one");
        let first = uplinks.into_keys().next().and_then(IfIndex::new);
        let device = first.ok_or_else(|| Error::Failed("this instance has no uplink".to_owned()))?;
        return Ok(Route { device, via: addr.into(), source: None });
    };
    if uplinks.contains_key(&route.device.get()) {
        return Ok(route);
    }
    let links = netlink.links().await?;
    let name =
        links.iter().find(|link| link.index == route.device).map_or("another device", |link| &link.name);
    Err(Error::Failed(format!(
        "the route to {addr} leaves by {name}, which is no uplink; name it at `overlay up`"
    )))
}

/// The slot of the VTEP at `addr`: the one it has, or a free one.
fn claim<'a>(
    instance: &'a Instance,
    config: &Config,
    addr: Ipv4Addr,
    route: &Route,
    undo: &mut Undo<'a>,
) -> Result<VtepId> {
    let mut vteps = Vteps::open(instance)?;
    let remote = IpAddr::V4(addr).into();
    if let Some(id) = vteps.find(remote)? {
        return Ok(id);
    }
    let preferred = route.source.map(|source| IpAddr::V4(source).into());
    let local =
        preferred.filter(|source| config.locals().contains(source)).or(config.locals().first().copied());
    let vtep = local
        .and_then(|local| Vtep::new(local, remote, config.port(), route.device))
        .ok_or_else(|| Error::Failed(format!("the local VTEP has no IPv4 address to reach {addr} from")))?;
    let id = vteps.free()?;
    maps::next_hops::forget(instance, id)?;
    maps::path_mtus::forget(instance, id)?;
    undo.push(move || {
        let _ = Vteps::open(instance).and_then(|mut vteps| vteps.clear(id));
    });
    vteps.put(id, &vtep)?;
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
    maps::fdb::remove_where(instance, |station, entry| {
        station.vni() == Some(vni) && entry.place(vni) == Some(Place::Vtep(id))
    })?;
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
    let addr = Ipv4Addr::from(vtep.remote().to_ipv4()?);
    match netlink.route(addr).await {
        Some(route) => Some((route.device, route.via)),
        None => Some((vtep.uplink()?, addr.into())),
    }
}

/// All tunnels, by segment and address.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn show(instance: &Instance) -> Result<Vec<View>> {
    let mut views = Vec::new();
    let now = fdb::now()?;
    for (key, id) in maps::members(instance)?.entries()? {
        let id = u16::try_from(id).ok().and_then(VtepId::new);
        let (Some(vni), Some(vtep)) = (key.vni(), id) else { continue };
        let hops = maps::next_hops::read(instance, vtep)?;
        let next_hop = hops.into_iter().filter(|hop| hop.uplink().is_some()).max_by_key(NextHop::fresh_until);
        let told = maps::path_mtus::read(instance, vtep)?;
        let told_mtu = told.mtu(now).map(|mtu| (mtu, told.seconds_left(now)));
        views.push(View { vni, remote: key.remote(), vtep, next_hop, told_mtu });
    }
    Ok(views)
}
