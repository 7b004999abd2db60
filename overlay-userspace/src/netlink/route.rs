use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia};
use overlay_common::IfIndex;
use rtnetlink::RouteMessageBuilder;

use super::Netlink;

/// The route to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The device that it leaves by.
    pub device: IfIndex,
    /// The neighbour that it goes to: the gateway, or the address itself.
    pub via: IpAddr,
    /// The source address that the kernel would take.
    pub source: Option<IpAddr>,
}

/// Who has an address, as far as the kernel's routes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// This host.
    Ourselves,
    /// All of a network, or any of it.
    Everybody,
    /// Somebody else, or nobody yet.
    Elsewhere,
}

impl Netlink {
    /// Who has an address.
    pub async fn destination(&self, addr: IpAddr) -> Destination {
        let answer = self.handle.route().get(request(addr)).execute().try_next().await;
        match answer.ok().flatten().map(|message| message.header.kind) {
            Some(RouteType::Local) => Destination::Ourselves,
            Some(RouteType::Broadcast | RouteType::Anycast) => Destination::Everybody,
            _ => Destination::Elsewhere,
        }
    }

    /// The route that the host's own packets to `destination`, a host or a multicast group, take. `None`: there is none, or it
    /// does not leave the host.
    pub async fn route(&self, destination: IpAddr) -> Option<Route> {
        let message = self.handle.route().get(request(destination)).execute().try_next().await.ok()??;
        let expected = if destination.is_multicast() { RouteType::Multicast } else { RouteType::Unicast };
        if message.header.kind != expected {
            return None;
        }
        let mut device = None;
        let mut via = destination;
        let mut source = None;
        for attribute in message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => device = IfIndex::new(index),
                RouteAttribute::Gateway(gateway) => via = ip(&gateway)?,
                RouteAttribute::Via(RouteVia::Inet6(gateway)) => via = gateway.into(),
                RouteAttribute::PrefSource(addr) => source = ip(&addr),
                _ => {}
            }
        }
        Some(Route { device: device?, via, source })
    }
}

/// The question for the route to an address.
pub(super) fn request(destination: IpAddr) -> RouteMessage {
    match destination {
        IpAddr::V4(addr) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(addr, 32).build(),
        IpAddr::V6(addr) => RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(addr, 128).build(),
    }
}

pub(super) fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(addr) => Some((*addr).into()),
        RouteAddress::Inet6(addr) => Some((*addr).into()),
        _ => None,
    }
}
