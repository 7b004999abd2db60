use futures_util::TryStreamExt as _;
use netlink_packet_route::{
    AddressFamily,
    link::{BridgePortState, InfoBridge, InfoBridgePort, InfoData, InfoPortData, LinkInfo, LinkMessage},
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
};
use overlay_common::{IfIndex, MacAddr};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Netlink, vxlan::info};
use crate::error::{Context as _, Result};

/// How a bridge is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Whether VLANs are kept apart.
    pub filters_vlans: bool,
    /// Whether the host's packet filter sees its frames (`br_netfilter`).
    pub calls_netfilter: bool,
    /// Seconds after which it forgets what it learned.
    pub ageing: u32,
}

/// How a member of a bridge is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is what the kernel says of a port, yes or no")]
pub struct BridgePort {
    /// Whether frames go in and out by it (STP).
    pub is_forwarding: bool,
    /// Whether it reaches only members that are not isolated.
    pub is_isolated: bool,
    /// Whether only stations may send by it that the bridge knows there.
    pub is_locked: bool,
    /// Whether the bridge answers ARP and ND in the place of those behind it.
    pub answers: bool,
}

/// What a bridge or a `vxlan` device knows of a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// The member of the bridge, or the `vxlan` device.
    pub device: IfIndex,
    /// The station; zeros, of a `vxlan` device: all that it does not know.
    pub mac: MacAddr,
    /// Who knows it.
    pub knower: Knower,
}

/// Who knows a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knower {
    /// A bridge: the station is behind the device.
    Bridge(IfIndex),
    /// The `vxlan` device itself.
    Vxlan {
        /// The remote VTEP; `None`: it cannot be told, or the entry has more to say than that.
        remote: Option<IpAddr>,
        /// The VTEP's UDP port, if it is not the device's own, host byte order.
        port: Option<u16>,
    },
}

impl Netlink {
    /// How a bridge is set; `None`: the device is gone, or none of that kind.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does otherwise.
    pub async fn bridge(&self, device: IfIndex) -> Result<Option<Bridge>> {
        let Some(message) = self.device(device).await? else { return Ok(None) };
        Ok(message.attributes.into_iter().filter_map(info).flatten().find_map(|info| match info {
            LinkInfo::Data(InfoData::Bridge(attributes)) => Some(bridge(&attributes)),
            _ => None,
        }))
    }

    /// The members of bridges, and how they are set.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn bridge_ports(&self) -> Result<Vec<(IfIndex, BridgePort)>> {
        let messages: Vec<_> =
            self.handle.link().get().execute().try_collect().await.context(|| "cannot list devices")?;
        let port = |message: LinkMessage| {
            let device = IfIndex::new(message.header.index)?;
            message.attributes.into_iter().filter_map(info).flatten().find_map(|info| match info {
                LinkInfo::PortData(InfoPortData::BridgePort(attributes)) => Some((device, port(&attributes))),
                _ => None,
            })
        };
        Ok(messages.into_iter().filter_map(port).collect())
    }

    /// What bridges and `vxlan` devices know of stations elsewhere. Stations of the host itself are left out, and what is only of one
    /// VLAN.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn forwarding(&self) -> Result<Vec<Forwarding>> {
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Bridge);
        let messages: Vec<_> =
            request.execute().try_collect().await.context(|| "cannot list stations of bridges")?;
        Ok(messages.iter().filter_map(forwarding).collect())
    }

    async fn device(&self, device: IfIndex) -> Result<Option<LinkMessage>> {
        let mut messages = self.handle.link().get().match_index(device.get()).execute();
        match messages.try_next().await {
            Ok(message) => Ok(message),
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => Ok(None),
            Err(error) => Err(error).context(|| format!("cannot ask for device {device}")),
        }
    }
}

fn bridge(attributes: &[InfoBridge]) -> Bridge {
    /// The kernel's ticks for user space in a second (`USER_HZ`).
    const TICKS: u32 = 100;
    let mut bridge = Bridge::default();
    for attribute in attributes {
        match attribute {
            InfoBridge::VlanFiltering(on) => bridge.filters_vlans = *on,
            InfoBridge::NfCallIpTables(true)
            | InfoBridge::NfCallIp6Tables(true)
            | InfoBridge::NfCallArpTables(true) => bridge.calls_netfilter = true,
            InfoBridge::AgeingTime(ticks) => bridge.ageing = ticks / TICKS,
            _ => {}
        }
    }
    bridge
}

fn port(attributes: &[InfoBridgePort]) -> BridgePort {
    let mut port = BridgePort::default();
    for attribute in attributes {
        match attribute {
            InfoBridgePort::State(state) => port.is_forwarding = *state == BridgePortState::Forwarding,
            InfoBridgePort::Isolated(on) => port.is_isolated = *on,
            InfoBridgePort::Locked(on) => port.is_locked = *on,
            InfoBridgePort::NeighSupress(true)
            | InfoBridgePort::NeighVlanSuppress(true)
            | InfoBridgePort::ProxyARP(true)
            | InfoBridgePort::ProxyARPWifi(true) => port.answers = true,
            _ => {}
        }
    }
    port
}

/// `NDA_NH_ID` of `include/uapi/linux/neighbour.h`: the entry names a group of next hops.
const NEXT_HOP_ID: u16 = 13;

fn forwarding(message: &NeighbourMessage) -> Option<Forwarding> {
    let device = IfIndex::new(message.header.ifindex)?;
    let is_own = message.header.flags.contains(NeighbourFlags::Own);
    let mut mac = None;
    let mut master = None;
    let mut remote = None;
    let mut port = None;
    let mut is_odd = false;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr::new);
            }
            NeighbourAttribute::Controller(index) => master = IfIndex::new(*index),
            NeighbourAttribute::Destination(addr) => remote = address(addr),
            NeighbourAttribute::Port(number) => port = Some(*number),
            NeighbourAttribute::ExtFlags(flags) => is_odd |= flags.contains(NeighbourExtFlags::Locked),
            NeighbourAttribute::Vlan(_)
            | NeighbourAttribute::Vni(_)
            | NeighbourAttribute::IfIndex(_)
            | NeighbourAttribute::LinkNetNsId(_) => is_odd = true,
            NeighbourAttribute::Other(other) => {
                is_odd |= netlink_packet_core::Nla::kind(other) == NEXT_HOP_ID;
            }
            _ => {}
        }
    }
    let mac = mac?;
    let knower = match (is_own, master) {
        (true, _) => Knower::Vxlan { remote: remote.filter(|_| !is_odd), port },
        // Of the host itself.
        (false, _) if message.header.state == NeighbourState::Permanent => return None,
        (false, Some(bridge)) if !is_odd => Knower::Bridge(bridge),
        (false, _) => return None,
    };
    Some(Forwarding { device, mac, knower })
}

fn address(addr: &NeighbourAddress) -> Option<IpAddr> {
    match addr {
        NeighbourAddress::Inet(addr) => Some((*addr).into()),
        NeighbourAddress::Inet6(addr) => Some((*addr).into()),
        NeighbourAddress::Other(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(|bytes| Ipv4Addr::from(bytes).into());
            v4.or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(|bytes| Ipv6Addr::from(bytes).into()))
                .ok()
        }
        _ => None,
    }
}
