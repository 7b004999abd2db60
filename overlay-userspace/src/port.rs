//! Ports: `overlay port`.

use overlay_common::{
    IfIndex, Vni,
    maps::{
        fdb::Place,
        port::{Port, PortKind},
    },
};

use crate::{
    datapath::FROM_PORT,
    error::{Error, Result},
    hook,
    instance::Instance,
    maps,
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
    /// Which VLANs are which segments; `None`: the port is no trunk.
    pub vlans: Option<VlanMap>,
}

/// Which segments a port shall be in.
#[derive(Clone, Debug)]
pub enum Membership {
    /// One.
    Segment(Vni),
    /// One for each of its VLANs, and perhaps one for frames without a tag.
    Trunk(Option<Vni>, VlanMap),
}

impl Membership {
    /// All of the segments.
    fn vnis(&self) -> impl Iterator<Item = Vni> {
        let (native, vlans) = match self {
            Self::Segment(vni) => (Some(*vni), None),
            Self::Trunk(native, vlans) => (*native, Some(vlans)),
        };
        native.into_iter().chain(vlans.into_iter().flat_map(VlanMap::iter).map(|(_, vni)| vni))
    }
}

/// Makes a device a port of segments, which are made if they are not there.
///
/// # Errors
///
/// [`Error::Exists`] if it is one already, [`Error::Conflict`] if it is one of other segments or of another instance;
/// [`Error::Failed`] if it cannot be one.
pub async fn add(instance: &Instance, netlink: &Netlink, name: &str, member: &Membership) -> Result<()> {
    let link = netlink.link(name).await?;
    refuse_taken(instance, &link, member)?;
    let kind = checked(instance, &link)?;
    let attached = attach(instance, netlink, &link, member, kind).await;
    if attached.is_err() {
        let _ = hook::tidy(instance, netlink, link.index).await;
    }
    attached
}

/// Refuses a device that is a port of this instance already.
fn refuse_taken(instance: &Instance, link: &Link, member: &Membership) -> Result<()> {
    let Some(port) = maps::ports(instance)?.get(link.index.get())? else { return Ok(()) };
    let vlans = trunk::map_of(instance, link.index, port)?;
    let same = match member {
        Membership::Segment(vni) => !port.is_trunk() && port.vni() == Some(*vni),
        Membership::Trunk(native, map) => port.vni() == *native && vlans.as_ref() == Some(map),
    };
    let name = &link.name;
    let what = match (port.vni(), vlans) {
        (Some(own), None) => format!("a port of VNI {own}"),
        _ => "a trunk port".to_owned(),
    };
    let message = format!("{name} is {what} already; `overlay port del {name}` first");
    Err(if same { Error::Exists(message) } else { Error::Conflict(message) })
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
    kind: PortKind,
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
    let port = match member {
        Membership::Segment(vni) => Port::new(*vni, kind),
        Membership::Trunk(native, _) => Port::trunk(*native, kind),
    };
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
    let missing = || Error::Missing(format!("{name} is no port; `overlay port show` lists those there are"));
    let views = show(instance, netlink).await?;
    let view = views.iter().find(|view| view.name.as_deref() == Some(name)).ok_or_else(missing)?;
    hook::detach_tc(instance, instance.config()?.tc(), view.device, FROM_PORT)?;
    forget(instance, view.device)?;
    hook::tidy(instance, netlink, view.device).await
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
    maps::fdb::remove_where(instance, |key, entry| {
        let place = key.vni().and_then(|vni| entry.place(vni));
        matches!(place, Some(Place::Port { device: behind, .. }) if behind == device)
    })?;
    Ok(())
}

/// All ports.
///
/// # Errors
///
/// Fails if the kernel does.
pub async fn show(instance: &Instance, netlink: &Netlink) -> Result<Vec<View>> {
    let links = netlink.links().await?;
    let view = |(device, port): (IfIndex, Port)| {
        let name = links.iter().find(|link| link.index == device).map(|link| link.name.clone());
        let vlans = trunk::map_of(instance, device, port)?;
        Ok(View { device, name, vni: port.vni(), kind: port.kind(), vlans })
    };
    let ports = maps::ports(instance)?.entries()?.into_iter();
    ports.filter_map(|(index, port)| Some((IfIndex::new(index)?, port))).map(view).collect()
}
