use std::net::IpAddr;

use futures_util::{Stream, StreamExt as _};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use overlay_common::IfIndex;
use rtnetlink::MulticastGroup;

use super::{Netlink, neighbour::neighbour_of};
use crate::error::{Context as _, Result};

/// What is listened to. The kernel tells of neighbours much more than of all others.
const GROUPS: [MulticastGroup; 10] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Tc,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
    MulticastGroup::Nexthop,
];

/// Something changed in this network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A device, a program on one, an address, a route or a rule.
    Host,
    /// A neighbour.
    Neighbour {
        /// The device that it is behind.
        device: IfIndex,
        /// Its address.
        addr: IpAddr,
        /// Whether the kernel forgot it.
        is_gone: bool,
    },
    /// A station that a bridge or a `vxlan` device knows.
    Station,
    /// More changed than the kernel could keep for us.
    Lost,
    /// Nothing that matters.
    Other,
}

impl Netlink {
    /// Everything that changes in this thread's network namespace from now on.
    ///
    /// # Errors
    ///
    /// Fails if the kernel refuses a socket.
    pub fn events() -> Result<impl Stream<Item = Event> + Unpin> {
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&GROUPS)
            .context(|| "cannot follow what changes by netlink")?;
        tokio::spawn(connection);
        Ok(messages.map(|(message, _)| event(&message.payload)))
    }
}

fn event(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Event {
    use RouteNetlinkMessage as Message;
    let message = match payload {
        NetlinkPayload::InnerMessage(message) => message,
        NetlinkPayload::Overrun(_) => return Event::Lost,
        _ => return Event::Other,
    };
    match message {
        Message::NewNeighbour(station) | Message::DelNeighbour(station)
            if station.header.family == AddressFamily::Bridge =>
        {
            Event::Station
        }
        Message::NewNeighbour(neighbour) | Message::DelNeighbour(neighbour) => {
            match neighbour_of(neighbour) {
                Some((device, addr)) => {
                    Event::Neighbour { device, addr, is_gone: matches!(message, Message::DelNeighbour(_)) }
                }
                None => Event::Other,
            }
        }
        _ => Event::Host,
    }
}
