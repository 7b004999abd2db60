use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use overlay_common::IfIndex;

use super::Netlink;
use crate::error::{Context as _, Result};

/// An address of this host that others can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The device that it is on.
    pub device: IfIndex,
    /// The address.
    pub addr: IpAddr,
    /// Bits of its prefix.
    pub prefix: u8,
    /// Whether it is here to stay: neither temporary (RFC 8981) nor deprecated (RFC 4862, section 5.5.4).
    pub is_lasting: bool,
    /// Whether nobody gave it for a time only, as DHCP does.
    pub is_forever: bool,
}

impl Netlink {
    /// The addresses of this host that others can reach, of both families, in the kernel's order.
    ///
    /// Those of a link only and those that another host has too (RFC 4862, section 5.4.5) are left out. One that the
    /// kernel still looks for on the link is not: that takes it a second or two, and then it is as good as any.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn addresses(&self) -> Result<Vec<Address>> {
        let messages: Vec<_> =
            self.handle.address().get().execute().try_collect().await.context(|| "cannot list addresses")?;
        Ok(messages.iter().filter_map(parse).collect())
    }
}

fn parse(message: &AddressMessage) -> Option<Address> {
    let device = IfIndex::new(message.header.index)?;
    if !matches!(message.header.scope, AddressScope::Universe | AddressScope::Site) {
        return None;
    }
    let (mut own, mut other) = (None, None);
    let mut flags = AddressFlags::empty();
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(addr) => own = Some(*addr),
            // The other end's, on a point-to-point link; else the address itself, and over IPv6 the only one.
            AddressAttribute::Address(addr) => other = Some(*addr),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    // A multicast group that somebody has joined is nobody's address.
    let addr = own.or(other).filter(|addr| !addr.is_multicast())?;
    // Of IPv4 the same bit says that it is not the first of its subnet.
    let temporary = if addr.is_ipv6() { AddressFlags::Secondary } else { AddressFlags::empty() };
    let is_lasting = !flags.intersects(temporary | AddressFlags::Deprecated);
    (!flags.contains(AddressFlags::Dadfailed)).then_some(Address {
        device,
        addr,
        prefix: message.header.prefix_len,
        is_lasting,
        is_forever: flags.contains(AddressFlags::Permanent),
    })
}
