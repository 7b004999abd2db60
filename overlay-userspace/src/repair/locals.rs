//! The addresses of the local VTEP.

use overlay_common::{
    Family, UnderlayAddr,
    maps::{
        config::MAX_LOCALS,
        device::{Device, DeviceName},
    },
};

use super::{Pass, Repair};
use crate::{
    devices,
    error::Result,
    maps::{self, next_hops, vteps::Vteps},
    netlink::Address,
};

impl Pass<'_> {
    /// Has the local VTEP's addresses follow those of the uplinks, unless they were named.
    pub(super) async fn locals(&mut self) -> Result<()> {
        let addresses = self.netlink.addresses().await?;
        if self.config.is_following() {
            for (name, device) in devices::uplinks(self.instance)? {
                self.follow(name, device, &addresses)?;
            }
        }
        for local in self.config.locals().to_vec() {
            if !addresses.iter().any(|address| UnderlayAddr::from(address.addr) == local) {
                self.warn(format!("our address {local} is none of this host's; `ip address` shows those"));
            }
        }
        Ok(())
    }

    /// The address that an uplink had stays ours until the uplink has another: a device that is gone may come back.
    fn follow(&mut self, name: DeviceName, device: Device, addresses: &[Address]) -> Result<()> {
        let Some(index) = device.index() else { return Ok(()) };
        let mut locals = device.locals();
        for (slot, family) in locals.iter_mut().zip([Family::Ipv4, Family::Ipv6]) {
            let own = addresses.iter().filter(|address| address.device == index);
            let own: Vec<(UnderlayAddr, bool)> =
                own.map(|address| (address.addr.into(), address.is_lasting)).collect();
            let has = |addr: &UnderlayAddr| own.iter().any(|(own, _)| own == addr);
            let known = slot.or_else(|| {
                self.config.locals().iter().copied().find(|addr| addr.family() == family && has(addr))
            });
            // One that is here to stay; the one that we have, as long as it is here at all.
            let first = own.iter().find(|(addr, is_lasting)| *is_lasting && addr.family() == family);
            let next = known.filter(has).or(first.map(|(addr, _)| *addr));
            let Some(next) = next else { continue };
            if known != Some(next) && self.adopt(known, next)? {
                self.did(Repair::Local(name, known, next));
            }
            *slot = Some(next);
        }
        if locals != device.locals() {
            maps::devices(self.instance)?.put(name, &device.with_locals(locals))?;
        }
        Ok(())
    }

    /// Makes `next` an address of the local VTEP instead of `old`; `false` if it has as many as it can have.
    fn adopt(&mut self, old: Option<UnderlayAddr>, next: UnderlayAddr) -> Result<bool> {
        let mut locals = self.config.locals().to_vec();
        let place = locals.iter().position(|local| Some(*local) == old);
        match place {
            Some(place) if self.config.is_local(next) => drop(locals.remove(place)),
            Some(place) => locals[place] = next,
            None if self.config.is_local(next) => {}
            None if locals.len() < MAX_LOCALS => locals.push(next),
            None => return Ok(false),
        }
        let Some(config) = self.config.with_locals(&locals) else { return Ok(false) };
        self.config = config;
        maps::config::write(self.instance, &config)?;
        if let Some(old) = old {
            self.speak_from(old, next)?;
        }
        Ok(true)
    }

    /// Sends from another address to the remote VTEPs that knew us by `old`.
    fn speak_from(&self, old: UnderlayAddr, next: UnderlayAddr) -> Result<()> {
        let mut vteps = Vteps::open(self.instance)?;
        for (id, vtep) in vteps.all()?.into_iter().filter(|(_, vtep)| vtep.local() == old) {
            if let Some(moved) = vtep.uplink().and_then(|uplink| vtep.moved(next, uplink)) {
                vteps.put(id, &moved)?;
                next_hops::forget(self.instance, id)?;
            }
        }
        Ok(())
    }
}
