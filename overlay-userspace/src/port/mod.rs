//! Ports: `overlay port`.

mod create;
pub(crate) mod feed;
mod limits;
pub(crate) mod stations;
pub(crate) mod vlans;

pub use create::{Creation, create};
pub(crate) use create::{PORT_END, change_created};
pub use feed::{has_native_uplink, warning as feed_warning};
pub use limits::{Change, Limits, set};

use overlay_common::{
    IfIndex, Vni,
    maps::{
        config::TcHook,
        device::{Device, DeviceName, Role},
        fdb::Removal,
        learned::LearnedKey,
        mdb::Listener,
        port::{Port, PortKind},
    },
};

use crate::{
    datapath::FROM_PORT,
    devices,
    error::{Error, Result},
    grace, hook,
    instance::Instance,
    maps, mdb,
    membership::Membership,
    netlink::{Link, LinkKind, Netlink},
    netns, segment,
    trunk::{self, VlanMap},
    undo::Undo,
};

/// A port.
#[derive(Clone, Debug)]
pub struct View {
    /// The name of its device.
    pub name: String,
    /// Its device; `None`: it is gone, and the port waits for one of that name.
    pub device: Option<IfIndex>,
    /// Its segment; of a trunk port, that of frames without a VLAN tag, if there is one.
    pub vni: Option<Vni>,
    /// How frames are handed to its workload.
    pub kind: PortKind,
    /// How many stations are learned behind it.
    pub learned: u64,
    /// How many can be at a time; 0: any number.
    pub learn_limit: u32,
    /// Packets per second that it may have flooded; `None`: any number.
    pub bum_rate: Option<u32>,
    /// Whether XDP shall feed it.
    pub xdp_redirect: bool,
    /// Whether XDP does, as its device and the uplinks are.
    pub is_fed_by_xdp: bool,
    /// The device of the host itself that was made with the port.
    pub created: Option<String>,
    /// Which VLANs are which segments; `None`: the port is no trunk.
    pub vlans: Option<VlanMap>,
}

/// Makes a device a port of segments, which are made if they are not there.
///
/// # Errors
///
/// [`Error::Exists`] if it is one already, [`Error::Conflict`] if it is one of other segments or of another instance;
/// [`Error::Failed`] if it cannot be one.
pub async fn add(
    instance: &Instance,
    netlink: &Netlink,
    name: &str,
    member: &Membership,
    limits: Limits,
) -> Result<()> {
    let _claim = netns::claim_devices()?;
    let link = netlink.link(name).await?;
    // It may have been named by an alternative name.
    let key = devices::name(&link.name)?;
    limits.refuse_taken(member, instance, key)?;
    if maps::ports(instance)?.get(link.index.get())?.is_some() {
        return Err(Error::Conflict(format!("{} is a port already; see `overlay port show`", link.name)));
    }
    let port = limits.of(member.port(checked(instance, &link)?));
    feed::check(&link.name, link.index, port)?;
    let added = settle(instance, netlink, &link, (key, Device::new(Role::Port(port))), member).await;
    if added.is_err() {
        let _ = hook::tidy(instance, netlink, link.index).await;
    }
    added
}

/// A device that can be a port, and how frames are handed to it.
pub(crate) fn checked(instance: &Instance, link: &Link) -> Result<PortKind> {
    let name = &link.name;
    if maps::uplinks(instance)?.get(link.index.get())?.is_some() {
        return Err(Error::Failed(format!("{name} is an uplink, and cannot be a port too")));
    }
    for other in instance.others()? {
        other.refuse_port(link)?;
        if maps::uplinks(&other)?.get(link.index.get())?.is_some() {
            return Err(Error::Conflict(format!("{name} is an uplink of instance {}", other.name())));
        }
    }
    let veth = "make a veth pair, enslave one end of it and make the other the port";
    if link.is_bridge {
        return Err(Error::Failed(format!("{name} is a bridge, and cannot be a port; {veth}")));
    }
    if link.bridge.is_some() {
        return Err(Error::Failed(format!(
            "{name} is a member of a bridge, which would get none of its frames; {veth}"
        )));
    }
    kind(link).ok_or_else(|| Error::Failed(format!("{name} is no Ethernet device, and cannot be a port")))
}

/// How frames are handed to the workload behind a device; `None`: they cannot be.
pub(crate) const fn kind(link: &Link) -> Option<PortKind> {
    match link.kind {
        LinkKind::NotEthernet => None,
        LinkKind::VethPeer => Some(PortKind::VethPeer),
        LinkKind::Hardware | LinkKind::Virtual => Some(PortKind::Device),
    }
}

/// Wants a device as a port, and makes it one.
async fn settle(
    instance: &Instance,
    netlink: &Netlink,
    link: &Link,
    (name, device): (DeviceName, Device),
    member: &Membership,
) -> Result<()> {
    let Role::Port(port) = device.role() else { return Ok(()) };
    let tc = instance.config()?.tc();
    let links = netlink.links().await?;
    let mut undo = Undo::new();
    for vni in member.vnis() {
        segment::ensure(instance, &links, vni, &mut undo)?;
    }
    undo.push(|| {
        let _ = maps::devices(instance).and_then(|mut devices| devices.remove(name));
    });
    maps::devices(instance)?.put(name, &device.with_index(Some(link.index)))?;
    attach(instance, tc, link, port)?;
    if let Membership::Trunk(_, vlans) = member {
        undo.push(|| {
            let _ = hook::detach_tc(instance, tc, link.index, FROM_PORT);
            let _ = trunk::unmap(instance, link.index, vlans);
            let _ = forget(instance, link.index);
            let _ = trunk::unmark(instance, vlans);
        });
        trunk::map(instance, link.index, vlans)?;
    }
    undo.disarm();
    Ok(())
}

/// Lets frames in by a port's device; of a trunk port, those without a VLAN tag. What was done is undone if that fails.
pub(crate) fn attach(instance: &Instance, tc: TcHook, link: &Link, port: Port) -> Result<()> {
    let mut undo = Undo::new();
    undo.push(|| {
        let _ = forget(instance, link.index);
    });
    if maps::ports(instance)?.get(link.index.get())?.is_some() {
        // Somebody only detached the program. Another CPU may be about to count a station less that moved away.
        maps::learned::stop(instance, LearnedKey::port(link.index))?;
        grace::wait(instance)?;
    }
    maps::fdb::purge(instance, Removal::ALL.port(link.index))?;
    maps::learned::start(instance, LearnedKey::port(link.index))?;
    maps::ports(instance)?.put(link.index.get(), &feed::noted(link.index, port))?;
    limits::apply(instance, link.index, port)?;
    undo.push(|| {
        let _ = hook::detach_tc(instance, tc, link.index, FROM_PORT);
    });
    hook::attach_tc(instance, tc, link, FROM_PORT)?;
    if let Some(vni) = port.vni() {
        maps::flood::change(instance, vni, |list| list.add_port(link.index))?;
        mdb::forget_queriers(instance, vni)?;
    }
    undo.disarm();
    Ok(())
}

/// Makes a port an ordinary device again. A device that was made for it goes.
///
/// # Errors
///
/// [`Error::Missing`] if it is no port.
pub async fn del(instance: &Instance, netlink: &Netlink, name: &str) -> Result<()> {
    let (key, device, _) = find(instance, name)?;
    stations::forget_parked(instance, key)?;
    vlans::forget_parked(instance, key)?;
    maps::devices(instance)?.remove(key)?;
    let Some(index) = device.index() else { return Ok(()) };
    hook::detach_tc(instance, instance.config()?.tc(), index, FROM_PORT)?;
    forget(instance, index)?;
    hook::tidy(instance, netlink, index).await?;
    if device.is_created() { netlink.delete_link(index).await } else { Ok(()) }
}

/// The device of the port of that name, which has to be there.
///
/// # Errors
///
/// [`Error::Missing`] if it is no port, or its device is gone.
pub(crate) fn present(instance: &Instance, name: &str) -> Result<IfIndex> {
    let (.., device, _) = find(instance, name)?;
    device.index().ok_or_else(|| Error::Missing(format!("port {name} is gone; no station is behind it")))
}

/// The port of that name, or the one that was made with the host's device of that name.
pub(crate) fn find(instance: &Instance, name: &str) -> Result<(DeviceName, Device, Port)> {
    let is_meant = |(key, device, _): &(DeviceName, Device, Port)| {
        key.as_str() == name || create::host_end(*key, device).is_some_and(|host| host == name)
    };
    devices::ports(instance)?.into_iter().find(is_meant).ok_or_else(|| {
        Error::Missing(format!("{name} is no port; `overlay port show` lists those there are"))
    })
}

/// Removes a port from every map, the stations behind it last, when nothing learns them any more.
pub(crate) fn forget(instance: &Instance, device: IfIndex) -> Result<()> {
    let mut ports = maps::ports(instance)?;
    let port = ports.get(device.get())?;
    let vni = port.and_then(|port| port.vni());
    ports.remove(device.get())?;
    let vlans = port.map(|port| trunk::map_of(instance, device, port)).transpose()?.flatten();
    if let Some(vlans) = &vlans {
        trunk::unmap(instance, device, vlans)?;
    }
    maps::bum_rates(instance)?.remove(device.get())?;
    if let Some(vni) = vni {
        maps::flood::change(instance, vni, |list| {
            list.remove_port(device);
            Ok(())
        })?;
    }
    mdb::remove_where(instance, |key, _| key.listener() == Some(Listener::Port(device)))?;
    grace::wait(instance)?;
    maps::fdb::purge(instance, Removal::ALL.port(device))?;
    if let Some(vlans) = &vlans {
        trunk::unmark(instance, vlans)?;
    }
    maps::learned::stop(instance, LearnedKey::port(device))
}

/// All ports, by name; those whose devices are gone, too.
///
/// # Errors
///
/// Fails if the kernel does.
pub fn show(instance: &Instance) -> Result<Vec<View>> {
    let mut views = Vec::new();
    let (ports, has_native_uplink) = (maps::ports(instance)?, feed::has_native_uplink(instance)?);
    for (key, device, port) in devices::ports(instance)? {
        let learned = match device.index() {
            Some(index) => maps::learned::count(instance, LearnedKey::port(index))?,
            None => 0,
        };
        // What its device takes is noted where programs look.
        let served = device.index().and_then(|index| ports.get(index.get()).transpose()).transpose()?;
        views.push(View {
            name: key.as_str().to_owned(),
            device: device.index(),
            vni: port.vni(),
            kind: port.kind(),
            learned,
            learn_limit: port.learn_limit(),
            bum_rate: Some(port.bum_rate()).filter(|rate| *rate != 0),
            xdp_redirect: port.xdp_redirect(),
            is_fed_by_xdp: served.is_some_and(|port| port.is_fed_by_xdp()) && has_native_uplink,
            created: create::host_end(key, &device),
            vlans: vlans::of(instance, key, &device, port)?,
        });
    }
    Ok(views)
}
