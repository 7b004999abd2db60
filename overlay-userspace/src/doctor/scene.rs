//! What there is: gathered once, without changing anything, for all checks to look at.

use std::collections::BTreeMap;

use nix::fcntl::Flock;
use overlay_common::{
    Family, IfIndex, Vni, VtepId,
    header::udp::VXLAN_PORT,
    maps::{
        config::Config,
        device::{Device, DeviceName, Role},
        port::Port,
        segment::Segment,
        uplink::Uplink,
        vtep::Vtep,
    },
};

use super::{
    shell::Shell,
    sockets::{self, Owner, Socket},
};
use crate::{
    error::{Error, Result},
    instance::Instance,
    maps::{self, vteps::Vteps},
    netlink::{Address, Link, Netlink},
    tunnel,
};

/// What there is.
pub(super) struct Scene {
    /// How commands are to be typed.
    pub(super) shell: Shell,
    /// The name of the instance that is meant.
    pub(super) name: String,
    pub(super) netlink: Netlink,
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<Address>,
    /// The sockets of processes on the VTEP's UDP port.
    pub(super) sockets: Vec<(Socket, Owner)>,
    /// The instance, if it is up and can be looked at.
    pub(super) up: Option<Up>,
    /// Why it cannot, if it is there.
    pub(super) broken: Option<String>,
}

/// An instance that is up. It is locked against commands that change it.
pub(super) struct Up {
    pub(super) instance: Instance,
    _lock: Flock<std::fs::File>,
    pub(super) config: Config,
    pub(super) devices: BTreeMap<DeviceName, Device>,
    pub(super) uplinks: BTreeMap<u32, Uplink>,
    pub(super) ports: BTreeMap<u32, Port>,
    pub(super) segments: BTreeMap<u32, Segment>,
    pub(super) vteps: Vec<(VtepId, Vtep)>,
    pub(super) tunnels: Vec<tunnel::View>,
}

impl Scene {
    /// Looks around.
    pub(super) async fn gather(shell: &Shell, name: &str) -> Result<Self> {
        let netlink = Netlink::connect()?;
        let (links, addresses) = (netlink.links().await?, netlink.addresses().await?);
        let (up, broken) = match look(name) {
            Ok(up) => (up, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let sockets = sockets::on(up.as_ref().map_or(VXLAN_PORT, |up| up.config.port()));
        let (shell, name) = (shell.clone(), name.to_owned());
        Ok(Self { shell, name, netlink, links, addresses, sockets, up, broken })
    }

    /// A device by its index.
    pub(super) fn link(&self, index: IfIndex) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Whether a process has the VTEP's UDP port, so that no device of ours can have it.
    pub(super) fn is_taken(&self, family: Family) -> bool {
        self.sockets.iter().any(|(socket, _)| socket.family == family)
    }

    /// What a device is called, or its number.
    pub(super) fn name_of(&self, index: IfIndex) -> String {
        self.link(index).map_or_else(|| format!("device {index}"), |link| link.name.clone())
    }
}

fn look(name: &str) -> Result<Option<Up>> {
    if Instance::glance(name).is_none() {
        return Ok(None);
    }
    match Instance::look(name) {
        Ok((instance, lock)) => Up::read(instance, lock).map(Some),
        // It was taken down meanwhile.
        Err(Error::Failed(_)) if Instance::glance(name).is_none() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Up {
    fn read(instance: Instance, lock: Flock<std::fs::File>) -> Result<Self> {
        Ok(Self {
            config: instance.config()?,
            devices: maps::devices(&instance)?.entries()?,
            uplinks: maps::uplinks(&instance)?.entries()?,
            ports: maps::ports(&instance)?.entries()?,
            segments: maps::segments(&instance)?.entries()?,
            vteps: Vteps::open(&instance)?.all()?,
            tunnels: tunnel::show(&instance)?,
            instance,
            _lock: lock,
        })
    }

    /// The uplinks whose devices are there, and what they were told.
    pub(super) fn uplinks<'a>(
        &'a self,
        scene: &'a Scene,
    ) -> impl Iterator<Item = (&'a Link, Option<&'a Uplink>)> {
        self.devices.values().filter(|device| matches!(device.role(), Role::Uplink(_))).filter_map(|device| {
            let index = device.index()?;
            Some((scene.link(index)?, self.uplinks.get(&index.get())))
        })
    }

    /// The segments with a remote VTEP, and their settings.
    pub(super) fn segments_to(&self, vtep: VtepId) -> impl Iterator<Item = (Vni, &Segment)> {
        let of = self.tunnels.iter().filter(move |view| view.vtep == vtep);
        of.filter_map(|view| Some((view.vni, self.segments.get(&view.vni.get())?)))
    }
}
