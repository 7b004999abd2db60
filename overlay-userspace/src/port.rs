//! Ports: `overlay port`.

use overlay_common::{
    IfIndex, Vni,
    maps::{
        fdb::Removal,
        learned::LearnedKey,
        port::{Port, PortKind},
    },
};

use crate::{
    datapath::FROM_PORT,
    error::{Error, Result},
    fdb, grace, hook,
    instance::Instance,
    maps,
    membership::Membership,
    netlink::{Link, LinkKind, Netlink},
    segment,
    trunk::{self, VlanMap},
    undo::Undo,
};

/// A port.
#[derive(Clone, Debug)]
pub struct View {
    /// Its device.
    pub device: IfIndex,
    /// The device's name; `None`: the device is gone.
    pub name: Option<String>,
    /// Its segment; of a trunk port, that of frames without a VLAN tag, if there is one.
    pub vni: Option<Vni>,
    /// How frames are handed to its workload.
    pub kind: PortKind,
    /// How many stations are learned behind it.
    pub learned: u64,
    /// How many can be at a time; 0: any number.
    pub learn_limit: u32,
    /// Which VLANs are which segments; `None`: the port is no trunk.
    pub vlans: Option<VlanMap>,
}

/// Makes a device a port of segments, which are made if they are not there. At most `learn_limit` stations are learned
/// behind it; 0: any number.
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
    learn_limit: u32,
) -> Result<()> {
    let link = netlink.link(name).await?;
    member.refuse_taken(instance, &link)?;
    let port = member.port(checked(instance, &link)?).with_learn_limit(learn_limit);
    let attached = attach(instance, netlink, &link, member, port).await;
    if attached.is_err() {
        let _ = hook::tidy(instance, netlink, link.index).await;
    }
    attached
}

/// How frames are handed to a device that can be a port.
fn checked(instance: &Instance, link: &Link) -> Result<PortKind> {
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
    match link.kind {
        LinkKind::NotEthernet => {
            Err(Error::Failed(format!("{name} is no Ethernet device, and cannot be a port")))
        }
        LinkKind::VethPeer => Ok(PortKind::VethPeer),
        LinkKind::Hardware | LinkKind::Virtual => Ok(PortKind::Device),
    }
}

async fn attach(
    instance: &Instance,
    netlink: &Netlink,
    link: &Link,
    member: &Membership,
    port: Port,
) -> Result<()> {
    let tc = instance.config()?.tc();
    let links = netlink.links().await?;
    let mut undo = Undo::new();
    for vni in member.vnis() {
        segment::ensure(instance, &links, vni, &mut undo)?;
    }
    undo.push(|| {
        let _ = forget(instance, link.index);
    });
    maps::fdb::purge(instance, Removal::ALL.port(link.index))?;
    maps::learned::start(instance, LearnedKey::port(link.index))?;
    maps::ports(instance)?.put(link.index.get(), &port)?;
    undo.push(|| {
        let _ = hook::detach_tc(instance, tc, link.index, FROM_PORT);
    });
    hook::attach_tc(instance, tc, link, FROM_PORT)?;
    if let Some(vni) = port.vni() {
        maps::flood::change(instance, vni, |list| list.add_port(link.index))?;
    }
    if let Membership::Trunk(_, vlans) = member {
        trunk::map(instance, link.index, vlans)?;
    }
    undo.disarm();
    Ok(())
}

/// Forgets the ports whose devices are gone: others can get their indices.
///
/// # Errors
///
/// Fails if the kernel does.
pub async fn prune(instance: &Instance, netlink: &Netlink) -> Result<()> {
    let links = netlink.links().await?;
    let tc = instance.config()?.tc();
    for device in maps::ports(instance)?.entries()?.into_keys().filter_map(IfIndex::new) {
        let is_there = match links.iter().find(|link| link.index == device) {
            Some(link) => hook::is_attached(instance, tc, link, FROM_PORT)?,
            None => false,
        };
        if !is_there {
            hook::detach_tc(instance, tc, device, FROM_PORT)?;
            forget(instance, device)?;
        }
    }
    Ok(())
}

/// Makes a port an ordinary device again. One whose device is gone was forgotten by [`prune`].
///
/// # Errors
///
/// [`Error::Missing`] if it is no port.
pub async fn del(instance: &Instance, netlink: &Netlink, name: &str) -> Result<()> {
    let view = find(instance, netlink, name).await?;
    hook::detach_tc(instance, instance.config()?.tc(), view.device, FROM_PORT)?;
    forget(instance, view.device)?;
    hook::tidy(instance, netlink, view.device).await
}

/// Limits how many stations are learned behind a port; 0: any number.
///
/// # Errors
///
/// [`Error::Missing`] if it is no port; [`Error::Failed`] if more stations are learned than shall be.
pub async fn set(instance: &Instance, netlink: &Netlink, name: &str, learn_limit: u32) -> Result<()> {
    let view = find(instance, netlink, name).await?;
    fdb::check_limit(learn_limit, view.learned, name, &format!("--port {name}"))?;
    let mut ports = maps::ports(instance)?;
    let port = ports.get(view.device.get())?.ok_or_else(|| missing(name))?;
    ports.put(view.device.get(), &port.with_learn_limit(learn_limit))
}

/// The port of that name.
///
/// # Errors
///
/// [`Error::Missing`] if it is no port.
pub(crate) async fn find(instance: &Instance, netlink: &Netlink, name: &str) -> Result<View> {
    let views = show(instance, netlink).await?;
    views.into_iter().find(|view| view.name.as_deref() == Some(name)).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Error {
    Error::Missing(format!("{name} is no port; `overlay port show` lists those there are"))
}

/// Removes a port from every map, the stations behind it last, when nothing learns them any more.
fn forget(instance: &Instance, device: IfIndex) -> Result<()> {
    let mut ports = maps::ports(instance)?;
    let port = ports.get(device.get())?;
    let vni = port.and_then(|port| port.vni());
    ports.remove(device.get())?;
    if let Some(vlans) = port.map(|port| trunk::map_of(instance, device, port)).transpose()?.flatten() {
        trunk::unmap(instance, device, &vlans)?;
    }
    if let Some(vni) = vni {
        maps::flood::change(instance, vni, |list| {
            list.remove_port(device);
            Ok(())
        })?;
    }
    grace::wait();
    maps::fdb::purge(instance, Removal::ALL.port(device))?;
    maps::learned::stop(instance, LearnedKey::port(device))
}

/// All ports.
///
/// # Errors
///
/// Fails if the kernel does.
pub async fn show(instance: &Instance, netlink: &Netlink) -> Result<Vec<View>> {
    let links = netlink.links().await?;
    let mut views = Vec::new();
    for (index, port) in maps::ports(instance)?.entries()? {
        let Some(device) = IfIndex::new(index) else { continue };
        views.push(View {
            device,
            name: links.iter().find(|link| link.index == device).map(|link| link.name.clone()),
            vni: port.vni(),
            kind: port.kind(),
            learned: maps::learned::count(instance, LearnedKey::port(device))?,
            learn_limit: port.learn_limit(),
            vlans: trunk::map_of(instance, device, port)?,
        });
    }
    Ok(views)
}
