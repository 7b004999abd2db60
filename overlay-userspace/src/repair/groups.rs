//! The multicast groups of the underlay that stand for remote VTEPs.

use overlay_common::{IfIndex, VtepId, maps::vtep::Vtep};

use super::{Pass, Repair};
use crate::{
    error::Result,
    maps::{self, next_hops, vteps::Vteps},
    tunnel,
};

impl Pass<'_> {
    /// Has the kernel listen to a group again, on the uplink that took the place of the one that it was joined on.
    pub(super) async fn group(&mut self, id: VtepId, vtep: &Vtep) -> Result<()> {
        let remote = vtep.remote();
        let Some(uplink) = self.uplink_of(vtep).await? else {
            self.warn(format!(
                "the uplink that the group {remote} was joined on is gone; packets for it are dropped"
            ));
            return Ok(());
        };
        let is_same = vtep.uplink() == Some(uplink);
        let joined = match self.netlink.join_group(uplink, remote.ip()).await {
            Ok(joined) => joined,
            Err(error) => {
                self.attempt(Err(error));
                return Ok(());
            }
        };
        let is_ours = joined
            || is_same && vtep.is_joined()
            || tunnel::others_joined(self.instance, uplink, remote.ip())?;
        if is_ours && !joined {
            let let_out = self.netlink.let_group_out(uplink, remote.ip()).await;
            self.attempt(let_out.map(drop));
        }
        let moved = vtep.moved(vtep.local(), uplink).map(|moved| moved.with_joined(is_ours));
        if let Some(moved) = moved.filter(|moved| moved != vtep) {
            Vteps::open(self.instance)?.put(id, &moved)?;
            next_hops::forget(self.instance, id)?;
        }
        if !is_same {
            self.did(Repair::Path(remote, uplink));
        }
        if joined {
            self.did(Repair::Joined(remote, uplink));
        }
        Ok(())
    }

    /// The uplink of a group: the one that it was joined on; if that is gone, the one that the route to the group names, or
    /// the only one there is.
    async fn uplink_of(&self, vtep: &Vtep) -> Result<Option<IfIndex>> {
        let uplinks = maps::uplinks(self.instance)?.entries()?;
        let is_served = |device: &IfIndex| uplinks.contains_key(&device.get());
        if let Some(uplink) = vtep.uplink().filter(is_served) {
            return Ok(Some(uplink));
        }
        let route = self.netlink.route(vtep.remote().ip()).await;
        if let Some(uplink) = route.map(|route| route.device).filter(is_served) {
            return Ok(Some(uplink));
        }
        let mut all = uplinks.keys().copied().filter_map(IfIndex::new);
        Ok(all.next().filter(|_| all.next().is_none()))
    }
}
