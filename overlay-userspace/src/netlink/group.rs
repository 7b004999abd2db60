use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use overlay_common::IfIndex;

use super::Netlink;
use crate::error::{Context as _, Error, Result};

impl Netlink {
    /// Has the kernel listen to a multicast group on a device, with no process of ours alive: by an address that joins
    /// itself (`IFA_F_MCAUTOJOIN`, as `ip address add … autojoin` does). `false` if somebody did already.
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
        request.execute().await.context(|| format!("cannot have the kernel join {group}"))?;
        Ok(true)
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
