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
    netlink::{Link, LinkKind, Netlink},
    segment,
    undo::Undo,
};

/// A port.
#[derive(Clone, Debug)]
pub struct View {
    /// Its device.
    pub device: IfIndex,
    /// The device's name; `None`: the device is gone.
    pub name: Option<String>,
    /// Its segment.
    pub vni: Vni,
    /// How frames are handed to its workload.
    pub kind: PortKind,
    /// How many stations are learned behind it.
    pub learned: u64,
    /// How many can be at a time; 0: any number.
    pub learn_limit: u32,
}

/// Makes a device a port of a segment, which is made if it is not there. At most `learn_limit` stations are learned
/// behind it; 0: any number.
///
/// # Errors
///
/// [`Error::Exists`] if it is one already, [`Error::Conflict`] if it is one of another segment or instance;
/// [`Error::Failed`] if it cannot be one.
pub async fn add(
    instance: &Instance,
    netlink: &Netlink,
    name: &str,
    vni: Vni,
    learn_limit: u32,
) -> Result<()> {
    let link = netlink.link(name).await?;
    if let Some(port) = maps::ports(instance)?.get(link.index.get())? {
        let own = port.vni().map_or(0, Vni::get);
        let message = format!("{name} is a port of VNI {own} already; `overlay port del {name}` first");
        return Err(if own == vni.get() { Error::Exists(message) } else { Error::Conflict(message) });
    }
    if maps::uplinks(instance)?.get(link.index.get())?.is_some() {
        return Err(Error::Failed(format!("{name} is an uplink, and cannot be a port too")));
    }
    for other in instance.others()? {
        other.refuse_port(&link)?;
        if maps::uplinks(&other)?.get(link.index.get())?.is_some() {
            return Err(Error::Conflict(format!("{name} is an uplink of instance {}", other.name())));
        }
    }
    let kind = match link.kind {
        LinkKind::NotEthernet => {
            return Err(Error::Failed(format!("{name} is no Ethernet device, and cannot be a port")));
        }
        LinkKind::VethPeer => PortKind::VethPeer,
        LinkKind::Hardware | LinkKind::Virtual => PortKind::Device,
    };
    let port = Port::new(vni, kind).with_learn_limit(learn_limit);
    let attached = attach(instance, netlink, &link, vni, port).await;
    if attached.is_err() {
        let _ = hook::tidy(instance, netlink, link.index).await;
    }
    attached
}

async fn attach(instance: &Instance, netlink: &Netlink, link: &Link, vni: Vni, port: Port) -> Result<()> {
    let tc = instance.config()?.tc();
    let mut undo = Undo::new();
    segment::ensure(instance, &netlink.links().await?, vni, &mut undo)?;
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
    maps::flood::change(instance, vni, |list| list.add_port(link.index))?;
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
    let vni = ports.get(device.get())?.and_then(|port| port.vni());
    ports.remove(device.get())?;
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
        let (Some(device), Some(vni)) = (IfIndex::new(index), port.vni()) else { continue };
        let name = links.iter().find(|link| link.index == device).map(|link| link.name.clone());
        let learned = maps::learned::count(instance, LearnedKey::port(device))?;
        views.push(View { device, name, vni, kind: port.kind(), learned, learn_limit: port.learn_limit() });
    }
    Ok(views)
}
