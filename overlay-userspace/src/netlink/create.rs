use std::net::{IpAddr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use overlay_common::{Family, IfIndex};
use rtnetlink::{LinkUnspec, LinkVeth, LinkVxlan};

use super::{Link, Netlink};
use crate::error::{Context as _, Result};

impl Netlink {
    /// Makes a veth pair, both ends of which are down and take IP packets of `mtu` bytes; the ends, `name` first.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does, and then leaves nothing behind.
    pub async fn add_veth(&self, name: &str, peer: &str, mtu: u32) -> Result<[Link; 2]> {
        let what = || format!("cannot make the veth pair {name} and {peer}");
        self.handle.link().add(LinkVeth::new(name, peer).build()).execute().await.context(what)?;
        // From here on both names are ours, and by the indices whatever becomes of the names.
        let pair = [self.link(name).await?, self.link(peer).await?];
        for end in &pair {
            let message = LinkUnspec::new_with_index(end.index.get()).mtu(mtu).build();
            let set = self.handle.link().change(message).execute().await;
            if set.is_err() {
                self.delete_link(pair[0].index).await?;
                return set
                    .map(|()| pair)
                    .context(|| format!("cannot set the MTU of {name} and {peer} to {mtu}"));
            }
        }
        Ok(pair)
    }

    /// Makes a `vxlan` device that is down, and takes tunnel packets of that family to UDP port `port` with that VNI.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn add_vxlan(&self, name: &str, vni: u32, port: u16, family: Family) -> Result<Link> {
        let vxlan = LinkVxlan::new(name, vni).port(port).learning(false);
        let vxlan = match family {
            Family::Ipv4 => vxlan,
            Family::Ipv6 => vxlan.local6(Ipv6Addr::UNSPECIFIED),
        };
        let made = self.handle.link().add(vxlan.build()).execute().await;
        made.context(|| format!("cannot make the vxlan device {name}"))?;
        self.link(name).await
    }

    /// Brings a device up.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn bring_up(&self, device: IfIndex) -> Result<()> {
        let message = LinkUnspec::new_with_index(device.get()).up().build();
        let request = self.handle.link().change(message);
        request.execute().await.context(|| format!("cannot bring device {device} up"))
    }

    /// Removes a device, and the other end of a veth pair with it.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn delete_link(&self, device: IfIndex) -> Result<()> {
        let request = self.handle.link().del(device.get());
        request.execute().await.context(|| format!("cannot remove device {device}"))
    }

    /// Sets the size of the largest IP packet that a device takes, in bytes.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn set_mtu(&self, device: IfIndex, mtu: u32) -> Result<()> {
        let message = LinkUnspec::new_with_index(device.get()).mtu(mtu).build();
        let request = self.handle.link().change(message);
        request.execute().await.context(|| format!("cannot set the MTU of device {device} to {mtu}"))
    }

    /// Takes an address from a device, if it has it.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn remove_address(&self, device: IfIndex, addr: IpAddr, len: u8) -> Result<()> {
        let what = || format!("cannot take the address {addr}/{len} from device {device}");
        let request = self.handle.address().get().set_link_index_filter(device.get());
        let known = request.set_address_filter(addr).set_prefix_length_filter(len);
        let messages: Vec<_> = known.execute().try_collect().await.context(what)?;
        for message in messages {
            self.handle.address().del(message).execute().await.context(what)?;
        }
        Ok(())
    }

    /// Gives a device an address with a prefix of `len` bits.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does.
    pub async fn add_address(&self, device: IfIndex, addr: IpAddr, len: u8) -> Result<()> {
        let request = self.handle.address().add(device.get(), addr, len);
        request.execute().await.context(|| format!("cannot give device {device} the address {addr}/{len}"))
    }
}
