use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use futures_util::TryStreamExt as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourMessage, NeighbourState,
};
use overlay_common::IfIndex;

use super::Netlink;
use crate::error::{Context as _, Result};

/// Whether the kernel knows a neighbour's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It does, or has it from an administrator.
    Known,
    /// It asks, and has no answer yet.
    Asking,
    /// It asked, and nobody answered.
    Failed,
}

impl Netlink {
    /// The neighbours of a family that packets were to be sent to, with their devices.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn resolutions(&self, is_ipv6: bool) -> Result<HashMap<(IfIndex, IpAddr), Resolution>> {
        let family = if is_ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let messages = self.neighbours(family).await?;
        let resolution = |message: &NeighbourMessage| match message.header.state {
            NeighbourState::Failed => Some(Resolution::Failed),
            NeighbourState::Incomplete => Some(Resolution::Asking),
            NeighbourState::None => None,
            _ => Some(Resolution::Known),
        };
        let known =
            messages.iter().filter_map(|message| Some((neighbour_of(message)?, resolution(message)?)));
        Ok(known.collect())
    }

    /// Has the kernel resolve a neighbour, and keep it resolved with no process of ours alive (`NTF_EXT_MANAGED`, as
    /// `ip neigh add … managed` does).
    ///
    /// An entry that the administrator made permanent stays as it is.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn manage_neighbour(&self, device: IfIndex, addr: IpAddr) -> Result<()> {
        let known = self.neighbour(device, addr).await?;
        if known.is_some_and(|message| message.header.state == NeighbourState::Permanent) {
            return Ok(());
        }
        let mut request =
            self.handle.neighbours().add(device.get(), addr).replace().state(NeighbourState::None);
        request.message_mut().attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        request.execute().await.context(|| format!("cannot have the kernel resolve {addr}"))
    }

    /// Lets a neighbour that [`Self::manage_neighbour`] made be like others, which the kernel forgets in time; one that somebody else
    /// made stays. One that is not resolved is removed. To remove one that is could lose a packet that the host is just sending there.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn release_neighbour(&self, device: IfIndex, addr: IpAddr) -> Result<()> {
        let Some(message) = self.neighbour(device, addr).await?.filter(is_managed) else {
            return Ok(());
        };
        if let Some(lladdr) = link_layer_address(&message) {
            let request = self.handle.neighbours().add(device.get(), addr).replace();
            let request = request.state(NeighbourState::Stale).link_layer_address(lladdr);
            return request
                .execute()
                .await
                .context(|| format!("cannot leave neighbour {addr} to the kernel"));
        }
        self.handle
            .neighbours()
            .del(message)
            .execute()
            .await
            .context(|| format!("cannot forget neighbour {addr}"))
    }

    /// The neighbours of a family that need nobody to look after them: those that the kernel keeps resolved, and
    /// those that the administrator made permanent. With their devices.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn kept_neighbours(&self, is_ipv6: bool) -> Result<HashSet<(IfIndex, IpAddr)>> {
        let family = if is_ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let messages = self.neighbours(family).await?;
        let is_kept = |message: &&NeighbourMessage| {
            is_managed(message) || message.header.state == NeighbourState::Permanent
        };
        Ok(messages.iter().filter(is_kept).filter_map(neighbour_of).collect())
    }

    async fn neighbours(&self, family: AddressFamily) -> Result<Vec<NeighbourMessage>> {
        self.handle
            .neighbours()
            .get()
            .set_address_family(family)
            .execute()
            .try_collect()
            .await
            .context(|| "cannot list neighbours")
    }

    async fn neighbour(&self, device: IfIndex, addr: IpAddr) -> Result<Option<NeighbourMessage>> {
        let (family, wanted) = match addr {
            IpAddr::V4(addr) => (AddressFamily::Inet, NeighbourAddress::Inet(addr)),
            IpAddr::V6(addr) => (AddressFamily::Inet6, NeighbourAddress::Inet6(addr)),
        };
        let messages = self.neighbours(family).await?;
        let wanted = NeighbourAttribute::Destination(wanted);
        Ok(messages
            .into_iter()
            .find(|message| message.header.ifindex == device.get() && message.attributes.contains(&wanted)))
    }
}

/// The device and the address of a neighbour.
pub(super) fn neighbour_of(message: &NeighbourMessage) -> Option<(IfIndex, IpAddr)> {
    let device = IfIndex::new(message.header.ifindex)?;
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(addr)) => Some((device, (*addr).into())),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(addr)) => Some((device, (*addr).into())),
        _ => None,
    })
}

/// The address of a neighbour that is resolved.
fn link_layer_address(message: &NeighbourMessage) -> Option<&[u8]> {
    let is_lost = matches!(message.header.state, NeighbourState::Incomplete | NeighbourState::Failed);
    message.attributes.iter().filter(|_| !is_lost).find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => Some(bytes.as_slice()),
        _ => None,
    })
}

fn is_managed(message: &NeighbourMessage) -> bool {
    message.attributes.iter().any(|attribute| {
        matches!(attribute, NeighbourAttribute::ExtFlags(flags) if flags.contains(NeighbourExtFlags::Managed))
    })
}
