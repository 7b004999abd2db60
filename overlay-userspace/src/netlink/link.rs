use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoPortKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
    LinkMessage, LinkXdp, XdpAttached,
};
use overlay_common::{IfIndex, MacAddr, header::udp::VXLAN_PORT, maps::config::Families};

use super::Netlink;
use crate::error::{Context as _, Error, Result};

/// A network device, as far as we care.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is what the kernel says of a device, yes or no")]
pub struct Link {
    /// Its index.
    pub index: IfIndex,
    /// Its name.
    pub name: String,
    /// Its address.
    pub mac: MacAddr,
    /// What it is.
    pub kind: LinkKind,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether there is somebody at the other end of it.
    pub has_carrier: bool,
    /// The largest IP packet that it takes, in bytes.
    pub mtu: u32,
    /// Whether it is a bridge.
    pub is_bridge: bool,
    /// The bridge that it is a member of.
    pub bridge: Option<IfIndex>,
    /// The device that it is a part of: a bridge, a bond or the like.
    pub controller: Option<IfIndex>,
    /// The other end of it, or the device that it stands on.
    pub other: Option<IfIndex>,
    /// The number of the network namespace that this is in, if it is another one.
    pub elsewhere: Option<i32>,
    /// Whether an XDP program is on it, whosever.
    pub has_xdp: bool,
    /// The ids of those programs.
    pub xdp: Vec<u32>,
    /// The kernel's `vxlan` device that it is, if it is one.
    pub vxlan: Option<ForeignVxlan>,
}

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A device with a driver of its own: a NIC.
    Hardware,
    /// A veth whose peer is in another network namespace.
    VethPeer,
    /// Any other device that the kernel makes.
    Virtual,
    /// The loopback device, and whatever else has no Ethernet header.
    NotEthernet,
}

/// What a `vxlan` device of the kernel serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignVxlan {
    /// Its VNI; `None`: all of them (`external`).
    pub vni: Option<u32>,
    /// Its UDP port, host byte order.
    pub port: u16,
    /// The families of tunnel packets that it takes.
    pub families: Families,
}

impl Netlink {
    /// All devices.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn links(&self) -> Result<Vec<Link>> {
        let messages: Vec<_> =
            self.handle.link().get().execute().try_collect().await.context(|| "cannot list devices")?;
        Ok(messages.into_iter().filter_map(parse).collect())
    }

    /// The device of that name.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if there is none.
    pub async fn link(&self, name: &str) -> Result<Link> {
        let missing = || Error::Failed(format!("there is no device {name}; `ip link` shows those there are"));
        let mut messages = self.handle.link().get().match_name(name.to_owned()).execute();
        match messages.try_next().await {
            Ok(message) => message.and_then(parse).ok_or_else(missing),
            Err(_) => Err(missing()),
        }
    }
}

fn parse(message: LinkMessage) -> Option<Link> {
    let mut link = Link {
        index: IfIndex::new(message.header.index)?,
        name: String::new(),
        mac: MacAddr::default(),
        kind: LinkKind::Hardware,
        is_up: message.header.flags.contains(LinkFlags::Up),
        has_carrier: message.header.flags.contains(LinkFlags::LowerUp),
        mtu: 0,
        is_bridge: false,
        bridge: None,
        controller: None,
        other: None,
        elsewhere: None,
        has_xdp: false,
        xdp: Vec::new(),
        vxlan: None,
    };
    let mut is_veth = false;
    let mut is_member = false;
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => {
                link.mac = <[u8; 6]>::try_from(bytes).map(MacAddr::new).unwrap_or_default();
            }
            LinkAttribute::LinkNetNsId(id) => link.elsewhere = Some(id),
            LinkAttribute::Link(index) => link.other = IfIndex::new(index),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(index) => link.controller = IfIndex::new(index),
            LinkAttribute::Xdp(xdp) => {
                link.has_xdp = is_attached(&xdp);
                link.xdp = programs(&xdp);
            }
            LinkAttribute::LinkInfo(info) => {
                // A NIC that has a controller has this attribute, too.
                if info.iter().any(|info| matches!(info, LinkInfo::Kind(_))) {
                    link.kind = LinkKind::Virtual;
                }
                is_veth = info.contains(&LinkInfo::Kind(InfoKind::Veth));
                link.is_bridge = info.contains(&LinkInfo::Kind(InfoKind::Bridge));
                is_member = info.contains(&LinkInfo::PortKind(InfoPortKind::Bridge));
                link.vxlan = info.iter().find_map(vxlan);
            }
            _ => {}
        }
    }
    if message.header.link_layer_type != LinkLayerType::Ether {
        link.kind = LinkKind::NotEthernet;
    } else if is_veth && link.elsewhere.is_some() {
        link.kind = LinkKind::VethPeer;
    }
    link.bridge = link.controller.filter(|_| is_member);
    Some(link)
}

fn programs(xdp: &[LinkXdp]) -> Vec<u32> {
    let id = |attribute: &LinkXdp| match attribute {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) => Some(*id),
        _ => None,
    };
    xdp.iter().filter_map(id).collect()
}

fn is_attached(xdp: &[LinkXdp]) -> bool {
    xdp.iter().any(|attribute| matches!(attribute, LinkXdp::Attached(how) if *how != XdpAttached::None))
}

fn vxlan(info: &LinkInfo) -> Option<ForeignVxlan> {
    let LinkInfo::Data(InfoData::Vxlan(attributes)) = info else {
        return None;
    };
    let mut vxlan =
        ForeignVxlan { vni: None, port: VXLAN_PORT, families: Families { ipv4: true, ipv6: false } };
    let mut external = false;
    for attribute in attributes {
        match attribute {
            InfoVxlan::Id(id) => vxlan.vni = Some(*id),
            InfoVxlan::Port(port) => vxlan.port = *port,
            InfoVxlan::Group6(_) | InfoVxlan::Local6(_) => {
                vxlan.families = Families { ipv4: false, ipv6: true };
            }
            InfoVxlan::CollectMetadata(on) => external = *on,
            _ => {}
        }
    }
    if external {
        vxlan.vni = None;
        vxlan.families = Families { ipv4: true, ipv6: true };
    }
    Some(vxlan)
}
