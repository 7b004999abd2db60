use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteNextHop, RouteVia};
use overlay_common::IfIndex;

use super::{
    Netlink,
    route::{Route, ip, request},
};

impl Netlink {
    /// The ways of an equal-cost route to `destination`; none: there is one way, or no route.
    pub async fn equal_routes(&self, destination: IpAddr) -> Vec<Route> {
        let mut request = request(destination);
        // The route as it stands in the table, and not the one of its ways that would be taken now.
        request.header.flags |= RouteFlags::FibMatch;
        let Ok(Some(message)) = self.handle.route().get(request).execute().try_next().await else {
            return Vec::new();
        };
        let ways = message.attributes.into_iter().find_map(|attribute| match attribute {
            RouteAttribute::MultiPath(ways) => Some(ways),
            _ => None,
        });
        let ways: Vec<_> = ways.iter().flatten().filter_map(|way| route(way, destination)).collect();
        if ways.len() > 1 { ways } else { Vec::new() }
    }
}

fn route(way: &RouteNextHop, destination: IpAddr) -> Option<Route> {
    let mut via = destination;
    for attribute in &way.attributes {
        match attribute {
            RouteAttribute::Gateway(gateway) => via = ip(gateway)?,
            RouteAttribute::Via(RouteVia::Inet6(gateway)) => via = (*gateway).into(),
            _ => {}
        }
    }
    Some(Route { device: IfIndex::new(way.interface_index)?, via, source: None })
}
