//! Making the maps say what the kernel says.

use std::collections::{BTreeMap, BTreeSet};

use aya::programs::TcAttachType;
use overlay_common::{
    IfIndex, MacAddr, Vni, VtepId,
    maps::{
        adopted::{LEASE_NS, Station},
        fdb::{FdbKey, Place},
        member::{self, MemberKey},
    },
};

use super::host::{Remote, Wanted, Where};
use crate::{
    datapath::{self, ADOPTED_FROM_PORT},
    error::Result,
    fdb, grace, hook,
    instance::Instance,
    maps,
    netlink::{Link, Netlink},
    tunnel,
};

/// Makes a segment what it is to be, and lends it to the programs for a while. What stays with the kernel, and why, in words.
pub(super) async fn sync(instance: &Instance, netlink: &Netlink, wanted: &Wanted) -> Result<Vec<String>> {
    let vni = wanted.vni;
    let mut notes = Vec::new();
    let ids = admit(instance, netlink, wanted, &mut notes).await?;
    let device = wanted.adopted.device();
    for (link, _) in wanted.ports.values() {
        attach(instance, netlink, vni, link, side(device, link.index)).await?;
    }
    let places = places(wanted, &ids);
    let is_less = put_stations(instance, vni, &places, &mut notes)?;
    let used: BTreeSet<VtepId> = ids.values().copied().collect();
    let gone_ports = ports_of(instance, vni)?.into_iter().filter(|port| !wanted.ports.contains_key(port));
    for port in gone_ports {
        detach(instance, netlink, port, side(device, port)).await?;
    }
    let gone: Vec<_> = members_of(instance, vni)?.into_iter().filter(|(_, id)| !used.contains(id)).collect();
    if is_less || !gone.is_empty() {
        grace::wait(instance)?;
    }
    for (key, id) in gone {
        tunnel::dismiss(instance, key, id)?;
    }
    let lease = fdb::now()? + LEASE_NS;
    maps::adopted(instance)?.put(vni.get(), &wanted.adopted.with_lease(lease))?;
    Ok(notes)
}

/// Has the segment reach the remote VTEPs that stations are behind.
async fn admit(
    instance: &Instance,
    netlink: &Netlink,
    wanted: &Wanted,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<Remote, VtepId>> {
    let remotes: BTreeSet<Remote> = wanted.stations.values().filter_map(Where::remote).collect();
    let mut ids = BTreeMap::new();
    for remote in remotes {
        let way = tunnel::KernelWay {
            settings: tunnel::Settings {
                udp_checksum: remote.addr.is_ipv6() && wanted.vxlan.udp6_checksum,
                port: Some(remote.port),
            },
            local: wanted.vxlan.local.filter(|local| !local.is_unspecified()),
            lower: wanted.vxlan.lower,
        };
        match tunnel::admit(instance, netlink, wanted.vni, remote.addr, way).await {
            Ok(id) => {
                ids.insert(remote, id);
            }
            Err(error) => notes.push(format!(
                "{}: stations behind {} stay with the kernel: {error}",
                wanted.adopted.name(),
                remote.addr
            )),
        }
    }
    Ok(ids)
}

impl Where {
    fn remote(&self) -> Option<Remote> {
        match self {
            Self::Remote(remote) => Some(*remote),
            Self::Port(_) => None,
        }
    }
}

/// The stations whose places the programs can know.
fn places(wanted: &Wanted, ids: &BTreeMap<Remote, VtepId>) -> BTreeMap<MacAddr, Place> {
    let place = |(mac, known): (&MacAddr, &Where)| {
        let place = match known {
            Where::Port(device) => Place::Port { device: *device, peer: wanted.ports.get(device)?.1 },
            Where::Remote(remote) => Place::Vtep(*ids.get(remote)?),
        };
        Some((*mac, place))
    };
    wanted.stations.iter().filter_map(place).collect()
}

/// Puts stations where they are, and forgets the others; whether some were forgotten or moved.
fn put_stations(
    instance: &Instance,
    vni: Vni,
    places: &BTreeMap<MacAddr, Place>,
    notes: &mut Vec<String>,
) -> Result<bool> {
    let mut map = maps::adopted_stations(instance)?;
    let mut before = BTreeMap::new();
    map.for_each(|key: &FdbKey, station: &Station| {
        if key.vni() == Some(vni) {
            before.insert(key.mac(), station.place(vni));
        }
    })?;
    let mut is_less = false;
    for mac in before.keys().filter(|mac| !places.contains_key(mac)) {
        map.remove(FdbKey::new(vni, *mac))?;
        is_less = true;
    }
    for (mac, place) in places {
        let known = before.get(mac);
        if known == Some(&Some(*place)) {
            continue;
        }
        is_less |= known.is_some();
        if map.put(FdbKey::new(vni, *mac), &Station::new(vni, *place)).is_err() {
            notes.push(format!(
                "VNI {vni}: there is no room for all stations; the rest stays with the kernel"
            ));
            break;
        }
    }
    Ok(is_less)
}

/// The bridge members of a segment whose frames are looked at.
pub(super) fn ports_of(instance: &Instance, vni: Vni) -> Result<Vec<IfIndex>> {
    let all = maps::adopted_ports(instance)?.entries()?;
    Ok(all
        .into_iter()
        .filter(|(_, of)| *of == vni.get())
        .filter_map(|(port, _)| IfIndex::new(port))
        .collect())
}

/// The remote VTEPs that a segment reaches.
pub(super) fn members_of(instance: &Instance, vni: Vni) -> Result<Vec<(MemberKey, VtepId)>> {
    let all = maps::members(instance)?.entries()?;
    let of = |(key, id): (MemberKey, u32)| Some((key, member::id(id)?)).filter(|_| key.vni() == Some(vni));
    Ok(all.into_iter().filter_map(of).collect())
}

/// The side of a device that its frames are looked at on: of the `vxlan` device itself, where they would go into the tunnel.
pub(crate) fn side(device: Option<IfIndex>, port: IfIndex) -> TcAttachType {
    if device == Some(port) { TcAttachType::Egress } else { TcAttachType::Ingress }
}

/// Has the program look at the frames of a bridge member or of the device itself, if it does not yet.
async fn attach(
    instance: &Instance,
    netlink: &Netlink,
    vni: Vni,
    link: &Link,
    side: TcAttachType,
) -> Result<()> {
    let tc = instance.config()?.tc();
    let mut ports = maps::adopted_ports(instance)?;
    let program = datapath::classifier_id(instance, ADOPTED_FROM_PORT)?;
    let is_known = ports.get(link.index.get())? == Some(vni.get());
    if is_known && hook::is_attached_at(netlink, tc, side, link, program).await {
        return Ok(());
    }
    // Somebody detached it, or another device has the index now.
    hook::forget_tc(instance, tc, link.index, ADOPTED_FROM_PORT)?;
    ports.put(link.index.get(), &vni.get())?;
    hook::attach_tc_at(instance, tc, side, link, ADOPTED_FROM_PORT)
}

/// Leaves a bridge member, or the device itself, as it was.
pub(super) async fn detach(
    instance: &Instance,
    netlink: &Netlink,
    port: IfIndex,
    side: TcAttachType,
) -> Result<()> {
    let tc = instance.config()?.tc();
    let program = datapath::classifier_id(instance, ADOPTED_FROM_PORT)?;
    let links = netlink.links().await?;
    let link = links.iter().find(|link| link.index == port);
    match link {
        Some(link) if hook::is_attached_at(netlink, tc, side, link, program).await => {
            hook::detach_tc(instance, tc, port, ADOPTED_FROM_PORT)?;
        }
        _ => hook::forget_tc(instance, tc, port, ADOPTED_FROM_PORT)?,
    }
    match link {
        Some(_) => hook::tidy(instance, netlink, port).await?,
        None => hook::forget_qdisc(instance, port),
    }
    maps::adopted_ports(instance)?.remove(port.get()).map(drop)
}
