//! Multicast groups of the underlay that stand for remote VTEPs, and the VTEPs that come by them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use overlay_common::{
    Family, IfIndex, UnderlayAddr, Vni, VtepId,
    maps::{
        admitted::{self, Admitted},
        fdb::Place,
        learned::LearnedKey,
        member::{self, GROUP, MemberKey},
        segment::Segment,
        vtep::Vtep,
    },
};

use super::{Settings, checked, forget, ids, refuse_other, refuse_other_port, vtep};
use crate::{
    cutter,
    error::{Error, Result},
    fdb, grace,
    instance::Instance,
    maps::{self, vteps::Vteps},
    netlink::{Netlink, Route},
    segment,
    undo::Undo,
};

/// Lets a segment reach whoever listens to a multicast group of the underlay, by the uplink `device` or the one that
/// the route to the group names. Whoever speaks to the segment becomes a member of it from now on.
///
/// # Errors
///
/// [`Error::Exists`] if the segment has that group already; [`Error::Conflict`] if it has another one of the family, or if
/// the group is on another uplink; [`Error::Failed`] if there is no uplink to join it on.
pub async fn add(
    instance: &Instance,
    netlink: &Netlink,
    vni: Vni,
    group: IpAddr,
    device: Option<&str>,
    settings: Settings,
) -> Result<()> {
    let config = instance.config()?;
    let group = checked(&config, group, settings)?;
    let addr = UnderlayAddr::from(group);
    let key = MemberKey::new(vni, addr);
    let present = match refuse_present(instance, key, group) {
        Err(Error::Exists(message)) => Err(Error::Exists(message)),
        other => Ok(other?),
    };
    let known = Vteps::open(instance)?.find(addr)?;
    let route = route(instance, netlink, group, device, known.as_ref().map(|(_, vtep)| vtep)).await?;
    if let Some((_, vtep)) = &known {
        refuse_other(vtep, group, settings)?;
        refuse_other_port(vtep, group, settings.port.unwrap_or(config.port()))?;
    }
    present?;
    if settings.udp_checksum {
        cutter::have(instance, netlink).await?;
    }

    let mut undo = Undo::new();
    segment::ensure(instance, &netlink.links().await?, vni, &mut undo)?;
    let id = if let Some((id, _)) = known {
        id
    } else {
        let id = ids::claim(instance, &vtep(&config, addr, &route, settings)?)?;
        undo.push(move || {
            let _ = ids::drop_vtep(instance, id);
        });
        id
    };
    undo.push(move || {
        let _ = set_group(instance, vni, addr, None).and_then(|()| forget(instance, key, id));
    });
    maps::counters::start(instance, vni, Some(id))?;
    maps::members(instance)?.put(key, &(id.index() | GROUP))?;
    set_group(instance, vni, addr, Some(id))?;
    maps::flood::change(instance, vni, |list| list.add_vtep(id, addr.family()))?;
    join(instance, netlink, id, &route, group).await?;
    undo.disarm();
    Ok(())
}

/// Has the kernel join a group, and notes it unless somebody else, who is no instance of ours, had joined it there.
async fn join(
    instance: &Instance,
    netlink: &Netlink,
    id: VtepId,
    route: &Route,
    group: IpAddr,
) -> Result<()> {
    if !netlink.join_group(route.device, group).await? && !others_joined(instance, route.device, group)? {
        return Ok(());
    }
    let mut vteps = Vteps::open(instance)?;
    match vteps.get(id)? {
        Some(vtep) => vteps.put(id, &vtep.with_joined(true)),
        None => Ok(()),
    }
}

/// Has the kernel leave a group, if we had it join and no other instance did.
pub(super) async fn leave(instance: &Instance, netlink: &Netlink, id: VtepId, vtep: &Vtep) -> Result<()> {
    let Some(device) = vtep.uplink().filter(|_| vtep.is_joined()) else { return Ok(()) };
    let mut vteps = Vteps::open(instance)?;
    if vteps.get(id)?.is_some() {
        // Another instance that leaves it now must not take us for one that stays.
        vteps.put(id, &vtep.with_joined(false))?;
    }
    let group = vtep.remote().ip();
    if others_joined(instance, device, group)? { Ok(()) } else { netlink.leave_group(device, group).await }
}

/// Whether another instance of this network namespace had the kernel join a group.
pub(crate) fn others_joined(instance: &Instance, device: IfIndex, group: IpAddr) -> Result<bool> {
    let has = |other: &Instance| {
        // One that goes away meanwhile has not.
        let known = Vteps::open(other).and_then(|vteps| vteps.find(group.into()));
        let vtep = known.ok().flatten().map(|(_, vtep)| vtep);
        vtep.is_some_and(|vtep| vtep.is_joined() && vtep.uplink() == Some(device))
    };
    Ok(instance.others()?.iter().any(has))
}

fn refuse_present(instance: &Instance, key: MemberKey, group: IpAddr) -> Result<()> {
    let Some(vni) = key.vni() else { return Ok(()) };
    let segment = maps::segments(instance)?.get(vni.get())?;
    let Some(id) = segment.and_then(|segment| segment.group(key.remote().family())) else {
        return Ok(());
    };
    if maps::members(instance)?.get(key)?.is_some() {
        return Err(Error::Exists(format!(
            "VNI {vni} has the group {group} already; `overlay tunnel show` lists all tunnels"
        )));
    }
    let other =
        Vteps::open(instance)?.get(id)?.map_or_else(|| id.to_string(), |vtep| vtep.remote().to_string());
    Err(Error::Conflict(format!(
        "VNI {vni} has the group {other} already, and can have one of each family; \
         `overlay tunnel del --vni {vni} --remote {other}` first"
    )))
}

/// The uplink that a group is to be joined on.
async fn route(
    instance: &Instance,
    netlink: &Netlink,
    group: IpAddr,
    device: Option<&str>,
    known: Option<&Vtep>,
) -> Result<Route> {
    let joined_on = known.and_then(Vtep::uplink);
    let device = match device {
        Some(name) => Some(netlink.link(name).await?.index),
        None => joined_on,
    };
    let route = match device {
        Some(device) => Route { device, via: group, source: source(instance, netlink, device, group).await? },
        None => netlink.route(group).await.ok_or_else(|| no_route(group))?,
    };
    let links = netlink.links().await?;
    let name = |index| {
        links
            .iter()
            .find(|link| link.index == index)
            .map_or("another device".to_owned(), |link| link.name.clone())
    };
    if maps::uplinks(instance)?.get(route.device.get())?.is_none() {
        return Err(Error::Failed(format!(
            "the group {group} would be joined on {}, which is no uplink; name one with --dev",
            name(route.device)
        )));
    }
    match joined_on.filter(|joined_on| *joined_on != route.device) {
        None => Ok(route),
        Some(joined_on) => {
            Err(Error::Conflict(format!("the group {group} is on uplink {} already", name(joined_on))))
        }
    }
}

/// There is no route to a group, which would say where to join it.
pub(super) fn no_route(group: IpAddr) -> Error {
    Error::Failed(format!("there is no route to the group {group}; name an uplink with --dev"))
}

/// An address of the local VTEP that is on a device, for packets to a group.
async fn source(
    instance: &Instance,
    netlink: &Netlink,
    device: IfIndex,
    group: IpAddr,
) -> Result<Option<IpAddr>> {
    let config = instance.config()?;
    let addresses = netlink.addresses().await?;
    let fits = |addr: &IpAddr| addr.is_ipv4() == group.is_ipv4() && config.locals().contains(&(*addr).into());
    Ok(addresses
        .into_iter()
        .filter(|address| address.device == device)
        .map(|address| address.addr)
        .find(fits))
}

fn set_group(instance: &Instance, vni: Vni, group: UnderlayAddr, id: Option<VtepId>) -> Result<()> {
    let mut segments = maps::segments(instance)?;
    let Some(segment) = segments.get(vni.get())? else { return Ok(()) };
    let (had, segment) = (has_group(&segment), segment.with_group(group.family(), id));
    if has_group(&segment) && !had {
        maps::learned::start(instance, LearnedKey::members(vni))?;
    }
    segments.put(vni.get(), &segment)?;
    if had && !has_group(&segment) {
        maps::learned::stop(instance, LearnedKey::members(vni))?;
    }
    Ok(())
}

/// Stops a segment from reaching a group, and forgets whoever came by it.
pub(super) async fn del(instance: &Instance, netlink: &Netlink, key: MemberKey, id: VtepId) -> Result<()> {
    let Some(vni) = key.vni() else { return Ok(()) };
    set_group(instance, vni, key.remote(), None)?;
    forget(instance, key, id)?;
    for (other, _) in maps::admitted::open(instance)?.entries()? {
        if other.vni() == Some(vni) && other.remote().family() == key.remote().family() {
            forget_member(instance, other)?;
        }
    }
    let Some(vtep) = Vteps::open(instance)?.get(id)? else { return Ok(()) };
    if ids::is_used(instance, id)? {
        return Ok(());
    }
    ids::drop_vtep(instance, id)?;
    leave(instance, netlink, id, &vtep).await
}

/// Whether a VTEP became a member by itself.
pub(super) fn is_learned(instance: &Instance, key: MemberKey) -> Result<bool> {
    Ok(maps::admitted::open(instance)?.get(key)?.is_some())
}

/// Makes a member that may have come by itself one that a command named.
pub(super) fn vouch(instance: &Instance, key: MemberKey) -> Result<()> {
    let segment = key.vni().map(|vni| maps::segments(instance)?.get(vni.get())).transpose()?.flatten();
    if segment.is_some_and(|segment| segment.group(key.remote().family()).is_some()) {
        // A program may be about to note that it came.
        grace::wait(instance)?;
    }
    maps::admitted::open(instance)?.remove(key).map(drop)
}

/// Forgets a member that came by itself, and its VTEP if no other segment reaches it.
pub(super) fn forget_member(instance: &Instance, key: MemberKey) -> Result<()> {
    let members = maps::members(instance)?;
    let id = members.get(key)?.and_then(member::id);
    maps::admitted::open(instance)?.remove(key)?;
    // Without an id, it was cut off on its way in.
    let Some(id) = id else { return Ok(()) };
    forget(instance, key, id)?;
    if members.get(key)?.is_some() {
        // It came again meanwhile, perhaps noted before that was removed.
        maps::admitted::open(instance)?.add(key, &Admitted::new(fdb::now()?))?;
    }
    ids::drop_vtep(instance, id)
}

/// Frees the ids of VTEPs that no segment reaches: they were cut off on their way in.
fn drop_unused(instance: &Instance) -> Result<()> {
    let used: BTreeSet<_> =
        maps::members(instance)?.entries()?.into_values().filter_map(member::id).collect();
    for (id, _) in Vteps::open(instance)?.all()? {
        if admitted::is_one(id) && !used.contains(&id) {
            ids::drop_vtep(instance, id)?;
        }
    }
    Ok(())
}

/// Forgets the members that came by themselves and that no station has been seen behind for their segment's ageing
/// time. One that is there after all becomes a member again with its next packet.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn sweep(instance: &Instance) -> Result<()> {
    let all = maps::admitted::open(instance)?.entries()?;
    let segments = maps::segments(instance)?.entries()?;
    if all.is_empty() {
        return count(instance, &segments);
    }
    let members = maps::members(instance)?.entries()?;
    let now = fdb::now()?;
    let mut in_use = BTreeSet::new();
    for (station, entry) in maps::fdb::open(instance)?.entries()? {
        let Some(vni) = station.vni() else { continue };
        if let Some(Place::Vtep(id)) = entry.place(vni) {
            in_use.insert((vni, id));
        }
    }
    for (key, entry) in all {
        let Some(vni) = key.vni() else { continue };
        let id = members.get(&key).copied().and_then(member::id);
        let is_in_use = id.is_some_and(|id| in_use.contains(&(vni, id)));
        let age = now.saturating_sub(entry.since()) / 1_000_000_000;
        let is_aged = segments
            .get(&vni.get())
            .is_none_or(|segment| segment.ageing() != 0 && age >= u64::from(segment.ageing()));
        if is_aged && !is_in_use {
            forget_member(instance, key)?;
        }
    }
    drop_unused(instance)?;
    count(instance, &segments)
}

/// Counts anew who came to each segment by itself. Programs add to that count, and commands take away so.
fn count(instance: &Instance, segments: &BTreeMap<u32, Segment>) -> Result<()> {
    let all = maps::admitted::open(instance)?.entries()?;
    for vni in segments.iter().filter(|(_, segment)| has_group(segment)).filter_map(|(vni, _)| Vni::new(*vni))
    {
        let there = all.keys().filter(|key| key.vni() == Some(vni)).count();
        maps::learned::correct(instance, LearnedKey::members(vni), there as u64)?;
    }
    Ok(())
}

fn has_group(segment: &Segment) -> bool {
    [Family::Ipv4, Family::Ipv6].into_iter().any(|family| segment.group(family).is_some())
}
