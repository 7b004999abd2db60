//! A remote VTEP that has another address from now on.

use std::net::IpAddr;

use overlay_common::{
    UnderlayAddr, VtepId,
    maps::{
        admitted,
        member::{self, MemberKey},
        vtep::Vtep,
    },
};

use super::{Settings, checked, group, neighbours, remote, route, vtep};
use crate::{
    error::{Error, Result},
    grace,
    instance::Instance,
    maps::{self, vteps::Vteps},
    netlink::Netlink,
    undo::Undo,
};

/// Reaches a remote VTEP at another address of the same family, in every segment and with all stations behind it. However many
/// those are, packets for all of them change over with one write.
///
/// # Errors
///
/// [`Error::Missing`] if no command named a VTEP with the old address; [`Error::Conflict`] if there is one with the new address;
/// [`Error::Usage`] for a new address that cannot be this VTEP's.
pub async fn replace(instance: &Instance, netlink: &Netlink, old: IpAddr, new: IpAddr) -> Result<()> {
    let config = instance.config()?;
    let (id, before) = named(instance, old)?;
    let port = Some(before.outer().port());
    let new = checked(&config, new, Settings { udp_checksum: before.udp_checksum(), port })?;
    refuse(instance, &before, new)?;
    remote::refuse_no_hosts(netlink, new).await?;
    let way = route(instance, netlink, new).await?;
    let is_multipath = !netlink.equal_routes(new).await.is_empty();
    let settings = Settings { udp_checksum: before.udp_checksum(), port };
    let after = vtep(&config, new.into(), &way, settings)?.with_multipath(is_multipath);
    neighbours::keep_ways(instance, netlink, new).await?;
    change_over(instance, id, &before, &after)?;
    neighbours::tidy(instance, netlink).await
}

/// The VTEP that a command named.
fn named(instance: &Instance, addr: IpAddr) -> Result<(VtepId, Vtep)> {
    let found = Vteps::open(instance)?.find(addr.to_canonical().into())?;
    found.filter(|(id, vtep)| !vtep.is_group() && !admitted::is_one(*id)).ok_or_else(|| {
        Error::Missing(format!(
            "no tunnel was added to a VTEP at {addr}; `overlay tunnel show` lists all tunnels"
        ))
    })
}

fn refuse(instance: &Instance, before: &Vtep, new: IpAddr) -> Result<()> {
    let addr = UnderlayAddr::from(new);
    if new.is_multicast() {
        return Err(Error::Usage(format!(
            "--remote {new} is a multicast group, which no stations are behind"
        )));
    }
    if addr.family() != before.remote().family() {
        return Err(Error::Usage(format!(
            "--remote {new} is of another family than {}; `overlay tunnel add` reaches it, too",
            before.remote()
        )));
    }
    if Vteps::open(instance)?.find(addr)?.is_some() {
        return Err(Error::Conflict(format!(
            "{new} is a remote VTEP already; `overlay fdb replace` puts stations behind it"
        )));
    }
    Ok(())
}

/// Lets the VTEP send from its new address, then sends to that, and at last takes nothing from the old one any more.
fn change_over(instance: &Instance, id: VtepId, before: &Vtep, after: &Vtep) -> Result<()> {
    let segments = segments(instance, id, before)?;
    let (old, new) = (before.remote(), after.remote());
    let mut undo = Undo::new();
    for key in &segments {
        let Some(vni) = key.vni() else { continue };
        maps::members(instance)?.put(MemberKey::new(vni, new), &id.index())?;
        undo.push(move || {
            let _ = maps::members(instance).and_then(|mut members| members.remove(MemberKey::new(vni, new)));
        });
    }
    undo.push(move || {
        let _ = Vteps::open(instance).and_then(|mut vteps| {
            vteps.unlist(id, new)?;
            vteps.put(id, before)
        });
    });
    let mut vteps = Vteps::open(instance)?;
    vteps.put(id, after)?;
    maps::next_hops::forget(instance, id)?;
    if after.is_multipath() {
        maps::next_hops::forget_flows(instance)?;
    }
    maps::path_mtus::forget(instance, id)?;
    undo.disarm();
    for key in segments {
        maps::members(instance)?.remove(key)?;
    }
    vteps.unlist(id, old)?;
    grace::wait(instance)
}

/// The segments that commands let the VTEP send into. Those that it came to by itself it comes to again.
fn segments(instance: &Instance, id: VtepId, vtep: &Vtep) -> Result<Vec<MemberKey>> {
    let mut segments = Vec::new();
    for (key, other) in maps::members(instance)?.entries()? {
        if member::id(other) != Some(id) || key.remote() != vtep.remote() {
            continue;
        }
        if group::is_learned(instance, key)? {
            group::forget_member(instance, key)?;
        } else {
            segments.push(key);
        }
    }
    Ok(segments)
}
