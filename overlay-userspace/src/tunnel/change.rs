//! Remote VTEPs that are reached in another way than before, and those that could be reached.

use std::{collections::BTreeSet, net::IpAddr};

use overlay_common::{UnderlayAddr, maps::config::Config};

use super::{Settings, checked, group, remote::refuse_no_hosts, route_by};
use crate::{
    cutter,
    error::{Error, Result},
    instance::Instance,
    maps::{next_hops, vteps::Vteps},
    netlink::Netlink,
};

/// Refuses what cannot be a remote VTEP of an instance with that configuration and those uplinks.
///
/// # Errors
///
/// As [`add`](super::add) has them.
pub(crate) async fn check(
    config: &Config,
    uplinks: &BTreeSet<u32>,
    netlink: &Netlink,
    remote: IpAddr,
    (settings, device): (Settings, Option<&str>),
) -> Result<()> {
    let remote = checked(config, remote, settings)?;
    if remote.is_multicast() {
        return check_group(uplinks, netlink, remote, device).await;
    }
    refuse_no_hosts(netlink, remote).await?;
    route_by(uplinks, netlink, remote).await.map(drop)
}

/// Refuses a group that there is no uplink to join on.
async fn check_group(
    uplinks: &BTreeSet<u32>,
    netlink: &Netlink,
    group: IpAddr,
    device: Option<&str>,
) -> Result<()> {
    let Some(device) = device else {
        return match route_by(uplinks, netlink, group).await? {
            Some(_) => Ok(()),
            None => Err(group::no_route(group)),
        };
    };
    if uplinks.contains(&netlink.link(device).await?.index.get()) {
        return Ok(());
    }
    Err(Error::Failed(format!("the group {group} would be joined on {device}, which is no uplink")))
}

/// Has a remote VTEP reached as `settings` say, by all segments that reach it: one write, and no packet is lost. One that is
/// not reached stays so.
///
/// # Errors
///
/// [`Error::Conflict`] if what `settings` need cannot be made.
pub(crate) async fn change(
    instance: &Instance,
    netlink: &Netlink,
    remote: IpAddr,
    settings: Settings,
) -> Result<()> {
    let mut vteps = Vteps::open(instance)?;
    let Some((id, vtep)) = vteps.find(UnderlayAddr::from(remote))? else { return Ok(()) };
    let port = settings.port.unwrap_or(instance.config()?.port());
    if vtep.udp_checksum() == settings.udp_checksum && vtep.outer().port() == port {
        return Ok(());
    }
    if settings.udp_checksum {
        cutter::have(instance, netlink).await?;
    }
    let uplink = vtep.uplink();
    let changed = uplink
        .and_then(|uplink| overlay_common::maps::vtep::Vtep::new(vtep.local(), vtep.remote(), port, uplink))
        .ok_or_else(|| Error::Failed(format!("the VTEP {remote} cannot be reached otherwise")))?;
    let changed = changed
        .with_udp_checksum(settings.udp_checksum)
        .with_multipath(vtep.is_multipath())
        .with_joined(vtep.is_joined());
    vteps.put(id, &changed)?;
    next_hops::forget(instance, id)
}
