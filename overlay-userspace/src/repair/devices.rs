//! The wanted devices: which are there, and by what name.

use std::collections::BTreeMap;

use overlay_common::{
    IfIndex,
    maps::{
        config::TcHook,
        device::{Device, DeviceName, Role},
    },
};

use super::{Kind, Pass, Repair};
use crate::{
    datapath::{self, FROM_PORT, FROM_UPLINK},
    error::Result,
    hook, maps,
    netlink::Link,
    netns,
};

/// A wanted device.
pub(super) struct Wanted {
    pub(super) name: DeviceName,
    pub(super) device: Device,
    /// The device that it is.
    pub(super) link: Option<Link>,
    /// Whether our program is on that device.
    is_held: bool,
}

impl Pass<'_> {
    /// Follows devices that came, went, or changed.
    pub(super) async fn devices(&mut self) -> Result<()> {
        let wanted = self.wanted().await?;
        let mut wanted = self.rename(wanted)?;
        // Another device may have the index of one that is gone: first what has to go.
        for one in &mut wanted {
            let here = one.link.as_ref().map(|link| link.index);
            if let Some(old) = one.device.index().filter(|old| Some(*old) != here) {
                self.retire(one, old)?;
            }
        }
        for one in &mut wanted {
            match one.link.clone() {
                Some(link) if one.is_held => self.adjust(one, &link)?,
                Some(link) => self.serve(one, &link).await?,
                None => self.miss(one),
            }
        }
        Ok(())
    }

    pub(super) const fn tc(&self) -> TcHook {
        self.config.tc()
    }

    /// What is wanted, and what there is of it.
    async fn wanted(&self) -> Result<Vec<Wanted>> {
        let port_id = datapath::classifier_id(self.instance, FROM_PORT)?;
        let uplink_id = datapath::classifier_id(self.instance, FROM_UPLINK)?;
        let mut all = Vec::new();
        for (name, device) in maps::devices(self.instance)?.entries()? {
            let program = match Kind::of(&device) {
                Kind::Uplink => uplink_id,
                Kind::Port => port_id,
            };
            let last = device.index().and_then(|index| self.link(index)).cloned();
            let is_held = match &last {
                Some(link) => hook::is_attached(self.netlink, self.tc(), link, program).await,
                None => false,
            };
            let by_name = || self.links.iter().find(|link| link.name == name.as_str()).cloned();
            let link = last.filter(|_| is_held).or_else(by_name);
            all.push(Wanted { name, device, link, is_held });
        }
        Ok(all)
    }

    /// Has devices that are served wanted by the names that they have now.
    fn rename(&mut self, wanted: Vec<Wanted>) -> Result<Vec<Wanted>> {
        let name_of = |one: &Wanted| one.link.as_ref().and_then(|link| DeviceName::new(&link.name));
        let is_renamed = |one: &&Wanted| one.is_held && name_of(one) != Some(one.name);
        if wanted.iter().find(is_renamed).is_none() {
            return Ok(wanted);
        }
        let mut devices = maps::devices(self.instance)?;
        let (held, missing): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|one| one.is_held);
        let mut by_name: BTreeMap<DeviceName, Wanted> = BTreeMap::new();
        for mut one in held {
            let now = name_of(&one).unwrap_or(one.name);
            if now != one.name {
                devices.remove(one.name)?;
                self.did(Repair::Renamed(Kind::of(&one.device), one.name, now));
                one.name = now;
            }
            by_name.insert(now, one);
        }
        for one in by_name.values() {
            devices.put(one.name, &one.device)?;
        }
        for mut one in missing {
            let Some(owner) = by_name.get(&one.name) else {
                devices.put(one.name, &one.device)?;
                by_name.insert(one.name, one);
                continue;
            };
            if let Some(old) = one.device.index() {
                self.retire(&mut one, old)?;
                devices.put(one.name, &owner.device)?;
            }
            self.oust(&one)?;
        }
        Ok(by_name.into_values().collect())
    }

    /// Forgets what was served by a device that is gone; what is wanted stays.
    fn retire(&mut self, wanted: &mut Wanted, old: IfIndex) -> Result<()> {
        let done = match wanted.device.role() {
            Role::Uplink(_) => self.retire_uplink(old),
            Role::Port(port) => self.retire_port(wanted, old, port),
        };
        self.attempt(done);
        wanted.device = wanted.device.with_index(None);
        if wanted.link.is_none() {
            self.did(Repair::Gone(Kind::of(&wanted.device), wanted.name));
        }
        self.remember(wanted)
    }

    /// Looks after a device that is served.
    fn adjust(&mut self, wanted: &mut Wanted, link: &Link) -> Result<()> {
        match wanted.device.role() {
            Role::Uplink(choice) => self.adjust_uplink(wanted, link, choice),
            Role::Port(port) => self.adjust_port(wanted, link, port),
        }
    }

    /// Serves a wanted device that is there, and is not served.
    async fn serve(&mut self, wanted: &mut Wanted, link: &Link) -> Result<()> {
        let kind = Kind::of(&wanted.device);
        let had = wanted.device.index();
        if had.is_none() && wanted.device.is_created() {
            // What was made is gone, and this one is somebody else's.
            wanted.device = Device::new(wanted.device.role());
        }
        let claim = netns::claim_devices()?;
        let served = match wanted.device.role() {
            Role::Uplink(choice) => self.serve_uplink(link, choice).await,
            Role::Port(port) => self.serve_port(wanted.name, link, port).await,
        };
        drop(claim);
        let name = wanted.name;
        match served {
            Ok(()) if had.is_some() => self.did(Repair::Attached(kind, name)),
            Ok(()) => self.did(Repair::Back(kind, name, link.index)),
            Err(error) => self.warn(format!("{kind} {} is there and not served: {error}", name.as_str())),
        }
        wanted.device = wanted.device.with_index(Some(link.index).filter(|_| self.is_served(wanted, link)));
        self.remember(wanted)
    }

    fn is_served(&self, wanted: &Wanted, link: &Link) -> bool {
        let key = link.index.get();
        match wanted.device.role() {
            Role::Uplink(_) => {
                maps::uplinks(self.instance).and_then(|all| all.get(key)).is_ok_and(|one| one.is_some())
            }
            Role::Port(_) => {
                maps::ports(self.instance).and_then(|all| all.get(key)).is_ok_and(|one| one.is_some())
            }
        }
    }

    fn miss(&mut self, wanted: &Wanted) {
        let kind = Kind::of(&wanted.device);
        let name = wanted.name.as_str();
        self.warn(format!("{kind} {name} is gone; it is served again when a device of that name appears"));
    }

    /// Notes how a wanted device is served.
    pub(super) fn remember(&self, wanted: &Wanted) -> Result<()> {
        maps::devices(self.instance)?.put(wanted.name, &wanted.device)
    }
}
