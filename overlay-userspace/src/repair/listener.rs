//! The devices that have the kernel merge tunnel packets.

use overlay_common::Family;

use super::{Pass, Repair};
use crate::{
    error::Result,
    listener::{self, FAMILIES, Merger},
    maps,
};

impl Pass<'_> {
    /// Sees to it that the devices are there where they are of use, and nowhere else.
    pub(super) async fn listeners(&mut self) -> Result<()> {
        for family in FAMILIES {
            let merger = Merger::of(self.instance, &self.config, &self.links, family)?;
            let done = match merger {
                // Ours goes on while others listen, too: they share the socket.
                Merger::Others if self.config.listener(family).is_some() => self.mend_listener(family).await,
                Merger::Ours => self.mend_listener(family).await,
                _ => listener::remove(self.instance, self.netlink, family).await,
            };
            if let Err(error) = done {
                self.warn(listener::without(&error));
            }
            self.config = self.instance.config()?;
        }
        let is_alone = !listener::others_listen(&self.config, &self.links, None);
        if is_alone != self.config.listens_alone() {
            self.config = self.config.with_listening_alone(is_alone);
            maps::config::write(self.instance, &self.config)?;
        }
        Ok(())
    }

    /// Makes the device of a family, unless it is there and as it was made.
    async fn mend_listener(&mut self, family: Family) -> Result<()> {
        let noted = self.config.listener(family);
        if let Some(link) = noted.and_then(|index| self.link(index))
            && listener::is_whole(self.instance, self.netlink, link, family).await?
        {
            return Ok(());
        }
        listener::remove(self.instance, self.netlink, family).await?;
        listener::make(self.instance, self.netlink, family).await?;
        if noted.is_some() {
            self.did(Repair::Listener(family));
        }
        Ok(())
    }
}
