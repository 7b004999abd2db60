//! What the kernel does for tunnels: neighbours that it keeps resolved, groups that it has joined.

use std::net::IpAddr;

use overlay_common::{IfIndex, VtepId, maps::vtep::Vtep};

use crate::{error::Result, instance::Instance, maps::vteps::Vteps, netlink::Netlink};

/// Lets the kernel forget the neighbour that packets to a VTEP go to, unless packets to another VTEP go there too.
pub(super) async fn release(instance: &Instance, netlink: &Netlink, id: VtepId) -> Result<()> {
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

/// Lets the kernel forget every neighbour that it keeps resolved for this instance, and leave every group.
pub(crate) async fn release_neighbours(instance: &Instance, netlink: &Netlink) -> Result<()> {
    for (_, vtep) in Vteps::open(instance)?.all()? {
        if vtep.is_group() {
            super::group::leave(netlink, &vtep).await?;
        } else if let Some((device, via)) = neighbour(netlink, &vtep).await {
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
