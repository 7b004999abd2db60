use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt as _;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use overlay_common::IfIndex;

use super::Netlink;
use crate::error::{Context as _, Result};

impl Netlink {
    /// The IPv4 addresses of this host that others can reach, with their devices, in the kernel's order.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn ipv4_addresses(&self) -> Result<Vec<(IfIndex, Ipv4Addr)>> {
        let messages: Vec<_> =
            self.handle.address().get().execute().try_collect().await.context(|| "cannot list addresses")?;
        Ok(messages.iter().filter_map(parse).collect())
    }
}

fn parse(message: &AddressMessage) -> Option<(IfIndex, Ipv4Addr)> {
    let device = IfIndex::new(message.header.index)?;
    if !matches!(message.header.scope, AddressScope::Universe | AddressScope::Site) {
        return None;
    }
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(addr)) => Some((device, *addr)),
        _ => None,
    })
}
