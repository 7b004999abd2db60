use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use futures_util::TryStreamExt as _;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::route::{RouteProtocol, RouteScope, RouteType};
use overlay_common::IfIndex;
use rtnetlink::RouteMessageBuilder;
use tokio::time::sleep;

use super::Netlink;
use crate::error::{Context as _, Error, Result};

/// `RT_TABLE_LOCAL` of `include/uapi/linux/rtnetlink.h`.
const LOCAL_TABLE: u32 = 255;

/// How long and how often to look for what the kernel makes of an IPv6 address, which it does by and by.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

impl Netlink {
    /// Has the kernel listen to a multicast group on a device, with no process of ours alive: by an address that joins
    /// itself (`IFA_F_MCAUTOJOIN`, as `ip address add … autojoin` does). `false` if somebody did already.
    ///
    /// What the host sends to the group leaves it as before. An IPv6 group that was joined before the device went down is joined
    /// still, and is left with the device only.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn join_group(&self, device: IfIndex, group: IpAddr) -> Result<bool> {
        if self.group_address(device, group).await?.is_some() {
            return Ok(false);
        }
        let mut request = self.handle.address().add(device.get(), group, host_len(group));
        let message = request.message_mut();
        // It is nothing to send from.
        message.header.scope = AddressScope::Link;
        message.header.flags = AddressHeaderFlags::empty();
        let flags = AddressFlags::Mcautojoin | AddressFlags::Nodad | AddressFlags::Noprefixroute;
        message.attributes = vec![
            AddressAttribute::Local(group),
            AddressAttribute::Address(group),
            AddressAttribute::Flags(flags),
        ];
        match request.execute().await {
            // The kernel took the address from a device that went down, and stayed in its group.
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::EADDRINUSE => {
                return Ok(false);
            }
            joined => joined.context(|| format!("cannot have the kernel join {group}"))?,
        }
        for _ in 0..TRIES {
            if self.let_group_out(device, group).await? {
                break;
            }
            sleep(PAUSE).await;
        }
        Ok(true)
    }

    /// Removes the route that the kernel made of the address by which [`Self::join_group`] joined a group: what anybody on the
    /// host sends to the group would not leave it. It is made again when the device comes up. `false` if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn let_group_out(&self, device: IfIndex, group: IpAddr) -> Result<bool> {
        let message = match group {
            IpAddr::V4(group) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(group, 32)
                .scope(RouteScope::Host)
                .kind(RouteType::Local)
                .protocol(RouteProtocol::Kernel)
                .table_id(LOCAL_TABLE)
                .output_interface(device.get())
                .build(),
            IpAddr::V6(group) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(group, 128)
                .kind(RouteType::Local)
                .protocol(RouteProtocol::Kernel)
                .table_id(LOCAL_TABLE)
                .output_interface(device.get())
                .build(),
        };
        match self.handle.route().del(message).execute().await {
            Ok(()) => Ok(true),
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ESRCH => Ok(false),
            Err(error) => Err(Error::failed(format!("cannot let packets to {group} out again"), error)),
        }
    }

    /// Has the kernel listen no more to a group that [`Self::join_group`] joined.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn leave_group(&self, device: IfIndex, group: IpAddr) -> Result<()> {
        let Some(message) = self.group_address(device, group).await? else {
            return Ok(());
        };
        let left = self.handle.address().del(message).execute().await;
        left.context(|| format!("cannot have the kernel leave {group}"))
    }

    async fn group_address(&self, device: IfIndex, group: IpAddr) -> Result<Option<AddressMessage>> {
        let messages: Vec<_> = self
            .handle
            .address()
            .get()
            .set_link_index_filter(device.get())
            .execute()
            .try_collect()
            .await
            .map_err(|error| Error::failed("cannot list addresses", error))?;
        let is_it = |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Address(addr) if *addr == group);
        Ok(messages
            .into_iter()
            .find(|message| message.header.index == device.get() && message.attributes.iter().any(is_it)))
    }
}

/// Bits of an address.
const fn host_len(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}
