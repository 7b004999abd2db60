//! Remote VTEPs of segments that a `vxlan` device of the kernel serves as well.

use std::net::IpAddr;

use overlay_common::{
    IfIndex, Vni, VtepId,
    maps::{
        member::{self, MemberKey},
        vtep::Vtep,
    },
};

use super::{Settings, checked, ids, known, neighbours, remote, route_by, vtep};
use crate::{
    cutter,
    error::{Error, Result},
    instance::Instance,
    maps::{self, vteps::Vteps},
    netlink::{Netlink, Route},
};

/// How a `vxlan` device reaches a remote VTEP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelWay {
    /// With which port and checksums.
    pub(crate) settings: Settings,
    /// From which address; `None`: that of the route.
    pub(crate) local: Option<IpAddr>,
    /// By which device; `None`: that of the route.
    pub(crate) lower: Option<IfIndex>,
}

/// Has a segment that is adopted reach a remote VTEP just as the kernel does. One that it reaches already stays.
///
/// # Errors
///
/// Says why it cannot.
pub(crate) async fn admit(
    instance: &Instance,
    netlink: &Netlink,
    vni: Vni,
    remote: IpAddr,
    way: KernelWay,
) -> Result<VtepId> {
    let config = instance.config()?;
    let remote = checked(&config, remote, way.settings)?;
    let key = MemberKey::new(vni, remote.into());
    let mut members = maps::members(instance)?;
    if let Some(id) = members.get(key)?.and_then(member::id)
        && let Some(vtep) = Vteps::open(instance)?.get(id)?
        && vtep.udp_checksum() == way.settings.udp_checksum
        && Some(vtep.outer().port()) == way.settings.port
    {
        return Ok(id);
    }
    remote::refuse_no_hosts(netlink, remote).await?;
    let uplinks = maps::uplinks(instance)?.entries()?.into_keys().collect();
    let route = route_by(&uplinks, netlink, remote)
        .await?
        .ok_or_else(|| Error::Failed(format!("there is no route to {remote}")))?;
    let is_multipath = !netlink.equal_routes(remote).await.is_empty();
    let made = vtep(&config, remote.into(), &route, way.settings)?.with_multipath(is_multipath);
    refuse_other_way(&made, &route, way)?;
    let id = if let Some(id) = known(instance, &config, key, way.settings)? {
        id
    } else {
        if way.settings.udp_checksum {
            cutter::have(instance, netlink).await?;
        }
        ids::claim(instance, &made)?
    };
    ids::unify(instance, remote.into(), id)?;
    maps::counters::start(instance, vni, Some(id))?;
    members.put(key, &id.index())?;
    neighbours::keep_ways(instance, netlink, remote).await?;
    Ok(id)
}

/// Refuses a way that is not the kernel's.
fn refuse_other_way(vtep: &Vtep, route: &Route, way: KernelWay) -> Result<()> {
    let source = way.local.or(route.source);
    if source != Some(vtep.local().ip()) {
        return Err(Error::Failed(format!(
            "the kernel sends to it from another address than {}",
            vtep.local()
        )));
    }
    if way.lower.is_some_and(|lower| lower != route.device) {
        return Err(Error::Failed("the kernel sends to it by another device than its route has".to_owned()));
    }
    Ok(())
}

/// Takes a remote VTEP from a segment that is or was adopted. No program goes by it any more.
pub(crate) fn dismiss(instance: &Instance, key: MemberKey, id: VtepId) -> Result<()> {
    let mut members = maps::members(instance)?;
    if members.get(key)? == Some(id.index()) {
        members.remove(key)?;
    }
    if let Some(vni) = key.vni() {
        maps::counters::stop(instance, vni, Some(id))?;
    }
    ids::drop_vtep(instance, id)
}
