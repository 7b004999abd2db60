//! The ways to the remote VTEPs.

use std::net::IpAddr;

use overlay_common::{
    Family, IfIndex, UnderlayAddr, VtepId,
    maps::{admitted, vtep::Vtep},
};

use super::{Pass, Repair};
use crate::{
    error::Result,
    forwarding,
    maps::{self, next_hops, vteps::Vteps},
    netlink::Route,
    tunnel,
};

/// How a remote VTEP is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The remote VTEP.
    pub vtep: VtepId,
    /// The uplink that its route leaves by.
    pub uplink: IfIndex,
    /// The neighbour that its packets go to.
    pub via: IpAddr,
    /// Whether this is one of several ways.
    pub is_multipath: bool,
}

impl Pass<'_> {
    /// Follows the routes to all remote VTEPs that a command named, and has the kernel keep their next hops resolved. Those that
    /// came by themselves go by the FIB alone.
    pub(super) async fn paths(&mut self) -> Result<()> {
        let vteps = Vteps::open(self.instance)?.all()?;
        for (id, vtep) in &vteps {
            if vtep.is_group() {
                self.group(*id, vtep).await?;
            } else if !admitted::is_one(*id) {
                self.path(*id, vtep).await?;
            }
        }
        self.keep_neighbours().await;
        Ok(())
    }

    async fn path(&mut self, id: VtepId, vtep: &Vtep) -> Result<()> {
        let remote = vtep.remote();
        let Some(route) = self.netlink.route(remote.ip()).await else {
            self.warn(format!("there is no route to {remote}; packets for it are dropped"));
            return Ok(());
        };
        let ways = self.netlink.equal_routes(remote.ip()).await;
        let is_multipath = !ways.is_empty();
        let mut ways = if is_multipath { ways } else { vec![route] };
        self.keep_served(remote, &mut ways)?;
        let Some(first) = ways.first() else { return Ok(()) };
        let uplink = ways.iter().map(|way| way.device).find(|device| vtep.uplink() == Some(*device));
        self.move_to(id, vtep, uplink.unwrap_or(first.device), is_multipath)?;
        let path = |way: &Route| Path { vtep: id, uplink: way.device, via: way.via, is_multipath };
        self.report.paths.extend(ways.iter().map(path));
        Ok(())
    }

    /// Leaves the ways that uplinks serve.
    fn keep_served(&mut self, remote: UnderlayAddr, ways: &mut Vec<Route>) -> Result<()> {
        let uplinks = maps::uplinks(self.instance)?.entries()?;
        let (served, others): (Vec<_>, Vec<_>) =
            ways.drain(..).partition(|way| uplinks.contains_key(&way.device.get()));
        for way in others {
            let name = self.link(way.device).map_or("another device", |link| &link.name).to_owned();
            self.warn(format!("the route to {remote} leaves by {name}, which is no uplink"));
        }
        *ways = served;
        Ok(())
    }

    /// Notes by which uplink a remote VTEP is reached, and whether by others, too.
    fn move_to(&mut self, id: VtepId, vtep: &Vtep, uplink: IfIndex, is_multipath: bool) -> Result<()> {
        let remote = vtep.remote();
        if is_multipath && vtep.family() == Family::Ipv4 && forwarding::shares_by_address()? {
            self.warn(format!(
                "equal-cost routes lead to {remote}, and all its packets take one of them; `sysctl -w \
                 net.ipv4.fib_multipath_hash_policy=1` shares them out by flow"
            ));
        }
        let moved = vtep.moved(vtep.local(), uplink).map(|moved| moved.with_multipath(is_multipath));
        let Some(moved) = moved.filter(|moved| moved != vtep) else { return Ok(()) };
        Vteps::open(self.instance)?.put(id, &moved)?;
        next_hops::forget(self.instance, id)?;
        if is_multipath {
            next_hops::forget_flows(self.instance)?;
        }
        if vtep.uplink() != Some(uplink) {
            self.did(Repair::Path(remote, uplink));
        }
        if vtep.is_multipath() != is_multipath {
            self.did(Repair::Ways(remote, is_multipath));
        }
        Ok(())
    }

    /// A link that went down took its neighbours along, those that the kernel was asked to keep resolved, too; and where a
    /// route moved, those of its old way are wanted no more.
    async fn keep_neighbours(&mut self) {
        let wanted = self.report.paths.iter().map(|path| (path.uplink, path.via)).collect();
        let followed = tunnel::follow_neighbours(self.instance, self.netlink, &wanted).await;
        self.attempt(followed);
    }
}
