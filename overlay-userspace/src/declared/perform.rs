//! Making an instance another, step by step: what is new comes first, and what goes goes last, so that what stays is reached
//! all the while.

use std::{collections::BTreeMap, net::IpAddr};

use overlay_common::{Vni, maps::fdb::Place};

use super::{
    diff::{Delta, Diff, is_rejoined, is_remade},
    interruption::Interruption,
    settings,
    state::{Created, Port, Tunnel},
    vtep,
};
use crate::{
    adopt, cutter,
    error::{Error, Result},
    fdb::{self, At, Known, To},
    instance::Instance,
    mdb,
    membership::Membership,
    mtu, neigh,
    netlink::Netlink,
    port::{self, Creation},
    repair::repair,
    segment,
    trunk::{self, VlanMap},
    tunnel,
};

/// Makes all of a difference in a locked instance. What fails leaves what was done until then.
///
/// # Errors
///
/// The first error of a step, or that somebody asked this process to end.
pub(crate) async fn perform(
    instance: &Instance,
    netlink: &Netlink,
    diff: &Diff,
    interruption: &mut Interruption,
) -> Result<()> {
    let mut work = Work { instance, netlink, diff, interruption };
    work.clear_the_way().await?;
    work.add().await?;
    work.remove().await?;
    if diff.vtep.is_some() {
        // Other uplinks may lead to remote VTEPs now.
        repair(instance, netlink).await?;
    }
    cutter::drop_idle(instance, netlink).await
}

struct Work<'a> {
    instance: &'a Instance,
    netlink: &'a Netlink,
    diff: &'a Diff,
    interruption: &'a mut Interruption,
}

impl Work<'_> {
    /// Removes what cannot stand beside what comes in its place.
    async fn clear_the_way(&mut self) -> Result<()> {
        for Delta { key: name, .. } in self.diff.adopted.iter().filter(|one| one.is_gone()) {
            gone(adopt::release(self.instance, self.netlink, name).await)?;
        }
        for Delta { key: (vni, remote), before, after } in &self.diff.tunnels {
            self.interruption.check()?;
            let is_replaced = || self.diff.tunnels.iter().any(|other| replaces(other, *vni, *remote));
            let goes = match (before, after) {
                (Some(before), Some(after)) => is_rejoined(before, after),
                (Some(_), None) => remote.is_multicast() && is_replaced(),
                (None, _) => false,
            };
            if goes {
                tunnel::del(self.instance, self.netlink, *vni, *remote).await?;
            }
        }
        for Delta { key: name, before, after } in &self.diff.ports {
            self.interruption.check()?;
            let (Some(before), Some(after)) = (before, after) else { continue };
            if is_remade(before, after) {
                port::del(self.instance, self.netlink, name).await?;
            } else if let Some(gone) = minus(before, after) {
                trunk::del(self.instance, name, &gone)?;
            }
        }
        Ok(())
    }

    async fn add(&mut self) -> Result<()> {
        if let Some((before, after)) = self.diff.vtep.as_ref().and_then(Delta::change) {
            vtep::grow(self.instance, self.netlink, before, after).await?;
        }
        self.segments().await?;
        self.tunnels().await?;
        for delta in &self.diff.segments {
            if let Some(segment) = &delta.after {
                mtu::check(self.instance, self.netlink, delta.key, &settings::change(segment)).await?;
            }
        }
        for delta in &self.diff.ports {
            self.interruption.check()?;
            self.port(delta).await?;
        }
        self.stations().await?;
        for Delta { key: (vni, ip), after, .. } in &self.diff.neighbours {
            if let Some(station) = after {
                neigh::replace(self.instance, *vni, *ip, *station)?;
            }
        }
        for Delta { key: (vni, group, at), after, .. } in &self.diff.listeners {
            if after.is_some() {
                mdb::add(self.instance, self.netlink, *vni, *group, at).await?;
            }
        }
        for Delta { key: name, .. } in self.diff.adopted.iter().filter(|one| one.is_new()) {
            self.interruption.check()?;
            adopt::adopt(self.instance, self.netlink, name).await?;
        }
        Ok(())
    }

    async fn segments(&mut self) -> Result<()> {
        let links = self.netlink.links().await?;
        for Delta { key: vni, before, after } in &self.diff.segments {
            self.interruption.check()?;
            let Some(after) = after else { continue };
            let change = settings::change(after);
            if before.is_some() {
                segment::set(self.instance, *vni, change)?;
            } else {
                segment::make(self.instance, &links, *vni, change)?;
            }
        }
        Ok(())
    }

    async fn tunnels(&mut self) -> Result<()> {
        let (instance, netlink) = (self.instance, self.netlink);
        // A VTEP is one for all segments: first it is as it shall be, and then more of them reach it.
        let mut changed: BTreeMap<IpAddr, &Tunnel> = BTreeMap::new();
        for Delta { key: (_, remote), after, .. } in &self.diff.tunnels {
            changed.extend(after.iter().map(|after| (*remote, after)));
        }
        for (remote, tunnel) in changed {
            tunnel::change(instance, netlink, remote, tunnel.settings()).await?;
        }
        for Delta { key: (vni, remote), before, after } in &self.diff.tunnels {
            self.interruption.check()?;
            let Some(after) = after else { continue };
            if before.as_ref().is_some_and(|before| !is_rejoined(before, after)) {
                continue;
            }
            if remote.is_multicast() {
                let device = after.device.as_deref();
                tunnel::add_group(instance, netlink, *vni, *remote, device, after.settings()).await?;
            } else {
                tunnel::add(instance, netlink, *vni, *remote, after.settings(), &[]).await?;
            }
        }
        Ok(())
    }

    async fn port(&self, Delta { key: name, before, after }: &Delta<String, Port>) -> Result<()> {
        let Some(after) = after else { return Ok(()) };
        match before {
            Some(before) if !is_remade(before, after) => self.change_port(name, before, after).await,
            _ => self.make_port(name, after).await,
        }
    }

    async fn make_port(&self, name: &str, port: &Port) -> Result<()> {
        if let (Some(created), Some(vni)) = (&port.created, port.vni) {
            return port::create(self.instance, self.netlink, &creation(created, port), vni).await;
        }
        let member = match (&port.vlans, port.vni) {
            (Some(vlans), native) => Membership::Trunk(native, vlans.clone()),
            (None, Some(vni)) => Membership::Segment(vni),
            (None, None) => return Err(Error::Failed(format!("{name} is in no segment"))),
        };
        port::add(self.instance, self.netlink, name, &member, port.limits).await
    }

    async fn change_port(&self, name: &str, before: &Port, after: &Port) -> Result<()> {
        if let Some(new) = minus(after, before) {
            trunk::add(self.instance, self.netlink, name, &new).await?;
        }
        if before.limits != after.limits {
            port::set(self.instance, name, before.limits.change_to(after.limits))?;
        }
        match (&before.created, &after.created) {
            (Some(from), Some(to)) if from != to => {
                port::change_created(self.instance, self.netlink, name, &from.addresses, &creation(to, after))
                    .await
            }
            _ => Ok(()),
        }
    }

    /// Those that move are moved in place: at no time are they nowhere.
    async fn stations(&mut self) -> Result<()> {
        let mut places: BTreeMap<(Vni, &At), Place> = BTreeMap::new();
        let mut put = Vec::new();
        for Delta { key: (vni, mac), after, .. } in &self.diff.stations {
            let Some(at) = after else { continue };
            let place = match places.get(&(*vni, at)) {
                Some(place) => *place,
                None => fdb::place(self.instance, self.netlink, *vni, at).await?,
            };
            places.insert((*vni, at), place);
            put.push(fdb::Change { vni: *vni, mac: *mac, to: To::Place(place, Known::Moves) });
        }
        self.interruption.check()?;
        Ok(fdb::change_all(self.instance, &put)?)
    }

    /// Removes what shall not be there any more: first what is in something, then that.
    async fn remove(&mut self) -> Result<()> {
        let (instance, netlink) = (self.instance, self.netlink);
        for Delta { key: (vni, group, at), .. } in self.diff.listeners.iter().filter(|one| one.is_gone()) {
            gone(mdb::del(instance, netlink, *vni, *group, at).await)?;
        }
        for Delta { key: (vni, ip), .. } in self.diff.neighbours.iter().filter(|one| one.is_gone()) {
            gone(neigh::del(instance, *vni, *ip))?;
        }
        let to = To::Nowhere { missing_ok: true };
        let forgotten = self.diff.stations.iter().filter(|one| one.is_gone());
        let forgotten: Vec<_> =
            forgotten.map(|Delta { key: (vni, mac), .. }| fdb::Change { vni: *vni, mac: *mac, to }).collect();
        self.interruption.check()?;
        fdb::change_all(instance, &forgotten)?;
        for Delta { key: name, .. } in self.diff.ports.iter().filter(|one| one.is_gone()) {
            self.interruption.check()?;
            gone(port::del(instance, netlink, name).await)?;
        }
        for Delta { key: (vni, remote), .. } in self.diff.tunnels.iter().filter(|one| one.is_gone()) {
            self.interruption.check()?;
            gone(tunnel::del(instance, netlink, *vni, *remote).await)?;
        }
        for Delta { key: vni, .. } in self.diff.segments.iter().filter(|one| one.is_gone()) {
            gone(segment::del(instance, *vni))?;
        }
        match self.diff.vtep.as_ref().and_then(Delta::change) {
            Some((before, after)) => vtep::shrink(instance, netlink, before, after).await,
            None => Ok(()),
        }
    }
}

/// Whether a tunnel comes in the place of a group.
fn replaces(new: &Delta<(Vni, IpAddr), Tunnel>, vni: Vni, group: IpAddr) -> bool {
    let (other, remote) = new.key;
    new.is_new() && other == vni && remote.is_multicast() && remote.is_ipv4() == group.is_ipv4()
}

/// The VLANs that one trunk port has and the other has not, or not so.
fn minus(one: &Port, other: &Port) -> Option<VlanMap> {
    let known: Vec<_> = other.vlans.iter().flat_map(VlanMap::iter).collect();
    let new: VlanMap =
        one.vlans.iter().flat_map(VlanMap::iter).filter(|pair| !known.contains(pair)).collect();
    (new != VlanMap::default()).then_some(new)
}

fn creation(created: &Created, port: &Port) -> Creation {
    let addresses = created.addresses.iter().copied().collect();
    Creation { name: created.name.clone(), addresses, mtu: created.mtu, limits: port.limits }
}

/// What is gone already, with what it was in, is gone.
fn gone(result: Result<()>) -> Result<()> {
    match result {
        Err(Error::Missing(_)) => Ok(()),
        result => result,
    }
}
