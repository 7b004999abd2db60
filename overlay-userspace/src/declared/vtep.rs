//! Changing the local VTEP of an instance that is up.

use std::collections::BTreeSet;

use overlay_common::maps::{
    config::Config,
    device::{Device, Role},
};

use super::state::Vtep;
use crate::{
    devices,
    error::{Error, Result},
    instance::Instance,
    maps::{self, next_hops, vteps::Vteps},
    netlink::{Link, Netlink},
    netns, up, uplink,
};

/// Refuses what only another instance can have.
///
/// # Errors
///
/// [`Error::Failed`] if something differs that cannot be changed.
pub(crate) fn refuse_fixed(before: &Vtep, after: &Vtep) -> Result<()> {
    let what = if before.port != after.port {
        "port"
    } else if before.tc != after.tc {
        "tc"
    } else if before.room.stations != after.room.stations {
        "fdb-size"
    } else if before.room.vteps != after.room.vteps {
        "max-vteps"
    } else {
        return Ok(());
    };
    Err(Error::Failed(format!(
        "vtep.{what} cannot be changed while the instance is up; `overlay down` first, or leave it as it is"
    )))
}

/// Adds uplinks, and has the rest served as they shall be.
pub(crate) async fn grow(instance: &Instance, netlink: &Netlink, before: &Vtep, after: &Vtep) -> Result<()> {
    let (had, has) = (before.uplink_names(), after.uplink_names());
    let tc = instance.config()?.tc();
    for name in has.difference(&had) {
        let _claim = netns::claim_devices()?;
        let link = check_uplink(instance, netlink, name, after.port).await?;
        let device = Device::new(Role::Uplink(after.xdp)).with_index(Some(link.index));
        maps::devices(instance)?.put(devices::name(&link.name)?, &device)?;
        uplink::attach(instance, tc, &link, after.xdp)?;
    }
    if before.xdp != after.xdp {
        let same: BTreeSet<&str> = has.intersection(&had).copied().collect();
        serve_by(instance, netlink, &same, after).await?;
    }
    if before.merging != after.merging {
        maps::config::write(instance, &instance.config()?.with_merging(after.merging))?;
    }
    readdress(instance, netlink, before, after).await
}

/// Removes uplinks, when nothing goes by them any more.
pub(crate) async fn shrink(
    instance: &Instance,
    netlink: &Netlink,
    before: &Vtep,
    after: &Vtep,
) -> Result<()> {
    let (had, has) = (before.uplink_names(), after.uplink_names());
    let tc = instance.config()?.tc();
    for name in had.difference(&has) {
        let key = devices::name(name)?;
        let device = maps::devices(instance)?.get(key)?;
        maps::devices(instance)?.remove(key)?;
        if let Some(index) = device.and_then(|device| device.index()) {
            uplink::remove(instance, netlink, tc, index).await?;
        }
    }
    Ok(())
}

/// A device that can be one more uplink.
///
/// # Errors
///
/// Fails if it cannot.
pub(crate) async fn check_uplink(
    instance: &Instance,
    netlink: &Netlink,
    name: &str,
    port: u16,
) -> Result<Link> {
    let link = up::uplink(netlink, name).await?;
    instance.refuse_port(&link)?;
    up::refuse_shared(&instance.others()?, port, std::slice::from_ref(&link))?;
    Ok(link)
}

/// Has uplinks served by XDP as it is chosen now.
async fn serve_by(
    instance: &Instance,
    netlink: &Netlink,
    names: &BTreeSet<&str>,
    after: &Vtep,
) -> Result<()> {
    for name in names {
        let key = devices::name(name)?;
        let Some(device) = maps::devices(instance)?.get(key)? else { continue };
        let chosen =
            Device::new(Role::Uplink(after.xdp)).with_index(device.index()).with_locals(device.locals());
        maps::devices(instance)?.put(key, &chosen)?;
        if let Some(index) = device.index() {
            crate::hook::detach_xdp(instance, index)?;
            uplink::serve_by_xdp(instance, &netlink.link(name).await?, after.xdp)?;
        }
    }
    Ok(())
}

/// The configuration with the addresses that the local VTEP shall have.
///
/// # Errors
///
/// Fails if the host has not got them, or the uplinks have none.
pub(crate) async fn readdressed(config: Config, netlink: &Netlink, after: &Vtep) -> Result<Config> {
    let planned = up::plan(netlink, &after.settings()).await?;
    let config = config.with_locals(planned.config.locals()).unwrap_or(config);
    Ok(config.with_following(after.locals.is_empty()))
}

/// Whether addresses follow from what differs.
pub(crate) fn is_readdressed(before: &Vtep, after: &Vtep) -> bool {
    let by_uplinks = after.locals.is_empty() && before.uplink_names() != after.uplink_names();
    before.locals != after.locals || by_uplinks
}

/// Gives the local VTEP its addresses. Remote VTEPs that knew it by one that it has no more are sent to from another one.
async fn readdress(instance: &Instance, netlink: &Netlink, before: &Vtep, after: &Vtep) -> Result<()> {
    if !is_readdressed(before, after) {
        return Ok(());
    }
    let config = readdressed(instance.config()?, netlink, after).await?;
    maps::config::write(instance, &config)?;
    let mut vteps = Vteps::open(instance)?;
    for (id, vtep) in vteps.all()?.into_iter().filter(|(_, vtep)| !config.locals().contains(&vtep.local())) {
        let local = config.locals().iter().copied().find(|local| local.family() == vtep.family());
        let moved = vtep.uplink().zip(local).and_then(|(uplink, local)| vtep.moved(local, uplink));
        if let Some(moved) = moved {
            vteps.put(id, &moved)?;
            next_hops::forget(instance, id)?;
        }
    }
    Ok(())
}
