//! The neighbours that packets to remote VTEPs go to, which the kernel is asked to keep resolved. Each is noted before, so
//! that it is forgotten once no way leads there any more.

use std::{collections::HashSet, net::IpAddr};

use overlay_common::{
    IfIndex,
    maps::{admitted, managed::Managed},
};

use crate::{
    error::Result,
    instance::Instance,
    maps::{self, vteps::Vteps},
    netlink::{Netlink, Route},
};

/// A neighbour: the device that it is behind, and its address.
type Neighbour = (IfIndex, IpAddr);

/// Has the kernel keep these neighbours resolved, and forget those that it was asked for before.
pub(crate) async fn follow(
    instance: &Instance,
    netlink: &Netlink,
    wanted: &HashSet<Neighbour>,
) -> Result<()> {
    keep(instance, netlink, wanted).await?;
    release_others(instance, netlink, wanted).await
}

/// Has the kernel keep the neighbours resolved that packets to a remote VTEP go to.
pub(super) async fn keep_ways(instance: &Instance, netlink: &Netlink, remote: IpAddr) -> Result<()> {
    let wanted = ways(instance, netlink, remote).await?;
    keep(instance, netlink, &wanted).await
}

/// Has the kernel forget the neighbours that packets to no remote VTEP go to any more.
pub(crate) async fn tidy(instance: &Instance, netlink: &Netlink) -> Result<()> {
    let mut wanted = HashSet::new();
    for (id, vtep) in Vteps::open(instance)?.all()? {
        if !vtep.is_group() && !admitted::is_one(id) {
            wanted.extend(ways(instance, netlink, vtep.remote().ip()).await?);
        }
    }
    release_others(instance, netlink, &wanted).await
}

/// Lets the kernel forget every neighbour that it keeps resolved for this instance, and leave every group.
pub(crate) async fn release_neighbours(instance: &Instance, netlink: &Netlink) -> Result<()> {
    for (id, vtep) in Vteps::open(instance)?.all()? {
        if vtep.is_group() {
            super::group::leave(instance, netlink, id, &vtep).await?;
        }
    }
    release_others(instance, netlink, &HashSet::new()).await
}

/// The neighbours that packets to a remote VTEP go to, as its routes are now.
async fn ways(instance: &Instance, netlink: &Netlink, remote: IpAddr) -> Result<HashSet<Neighbour>> {
    let uplinks = maps::uplinks(instance)?.entries()?;
    let mut ways = netlink.equal_routes(remote).await;
    if ways.is_empty() {
        ways.extend(netlink.route(remote).await);
    }
    let is_served = |way: &Route| uplinks.contains_key(&way.device.get());
    Ok(ways.into_iter().filter(is_served).map(|way| (way.device, way.via)).collect())
}

async fn keep(instance: &Instance, netlink: &Netlink, wanted: &HashSet<Neighbour>) -> Result<()> {
    let mut noted = maps::managed(instance)?;
    for is_ipv6 in [false, true] {
        let mut wanted = wanted.iter().filter(|(_, addr)| addr.is_ipv6() == is_ipv6).peekable();
        if wanted.peek().is_none() {
            continue;
        }
        let kept = netlink.kept_neighbours(is_ipv6).await?;
        for &(device, addr) in wanted {
            let note = Managed::new(device, addr.into());
            // What somebody else had the kernel keep stays when we go.
            if !kept.contains(&(device, addr)) {
                noted.put(note, &1)?;
                // Only an optimisation: packets have an unknown neighbour resolved by themselves.
                let _ = netlink.manage_neighbour(device, addr).await;
            } else if noted.get(note)?.is_none() && is_others(instance, note)? {
                noted.put(note, &1)?;
            }
        }
    }
    Ok(())
}

async fn release_others(instance: &Instance, netlink: &Netlink, wanted: &HashSet<Neighbour>) -> Result<()> {
    let mut noted = maps::managed(instance)?;
    for (note, _) in noted.entries()? {
        let Some(device) = note.device() else { continue };
        let addr = note.addr().ip();
        if wanted.contains(&(device, addr)) {
            continue;
        }
        noted.remove(note)?;
        if !is_others(instance, note)? {
            netlink.release_neighbour(device, addr).await?;
        }
    }
    Ok(())
}

/// Whether another instance of this network namespace has the kernel keep a neighbour.
fn is_others(instance: &Instance, note: Managed) -> Result<bool> {
    // One that goes away meanwhile does not.
    let has = |other: &Instance| {
        maps::managed(other).and_then(|noted| noted.get(note)).is_ok_and(|it| it.is_some())
    };
    Ok(instance.others()?.iter().any(has))
}
