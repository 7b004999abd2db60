use overlay_common::{
    IfIndex,
    maps::{device::XdpChoice, uplink::XdpHook},
};

use super::{Pass, Repair, devices::Wanted};
use crate::{
    datapath::FROM_UPLINK,
    error::{Error, Result},
    hook, maps,
    netlink::{Link, LinkKind},
    uplink,
};

impl Pass<'_> {
    pub(super) fn retire_uplink(&self, old: IfIndex) -> Result<()> {
        uplink::forget(self.instance, self.tc(), old)
    }

    pub(super) async fn serve_uplink(&self, link: &Link, choice: XdpChoice) -> Result<()> {
        if link.kind == LinkKind::NotEthernet {
            return Err(Error::Failed(format!("{} is no Ethernet device", link.name)));
        }
        for other in self.instance.others()? {
            other.refuse_port(link)?;
        }
        hook::detach_xdp(self.instance, link.index)?;
        hook::forget_tc(self.instance, self.tc(), link.index, FROM_UPLINK)?;
        // As it is without our XDP program.
        let link = &self.netlink.link(&link.name).await?;
        let attached = uplink::attach(self.instance, self.tc(), link, choice);
        if attached.is_err() {
            let _ = hook::detach_tc(self.instance, self.tc(), link.index, FROM_UPLINK);
            let _ = hook::tidy(self.instance, self.netlink, link.index).await;
            let _ = uplink::forget(self.instance, self.tc(), link.index);
        }
        attached
    }

    /// Follows an uplink's MAC address, and whoever took the XDP program off it.
    pub(super) fn adjust_uplink(&mut self, wanted: &Wanted, link: &Link, choice: XdpChoice) -> Result<()> {
        let mut uplinks = maps::uplinks(self.instance)?;
        let Some(mut uplink) = uplinks.get(link.index.get())? else {
            let served = uplink::serve_by_xdp(self.instance, link, choice).map(drop);
            self.attempt(served);
            return Ok(());
        };
        if uplink.mac() != link.mac {
            uplink = uplink.with_mac(link.mac);
            uplinks.put(link.index.get(), &uplink)?;
            self.did(Repair::Mac(wanted.name));
        }
        if !uplink::has_noted_xdp(self.instance, link, uplink)? {
            hook::detach_xdp(self.instance, link.index)?;
            match uplink::serve_by_xdp(self.instance, link, choice) {
                Ok(hook) if hook != XdpHook::Off => self.did(Repair::Xdp(wanted.name)),
                served => self.attempt(served.map(drop)),
            }
        }
        self.follow_sending(wanted, link)?;
        self.look_at_uplink(link);
        Ok(())
    }

    /// Follows whether an uplink's device sends what XDP tells it to.
    fn follow_sending(&mut self, wanted: &Wanted, link: &Link) -> Result<()> {
        let mut uplinks = maps::uplinks(self.instance)?;
        let Some(uplink) = uplinks.get(link.index.get())? else { return Ok(()) };
        let noted = uplink::noted(link, uplink);
        if noted != uplink {
            uplinks.put(link.index.get(), &noted)?;
            self.did(Repair::Sends(wanted.name, noted.sends_from_xdp()));
        }
        let is_missed = noted.xdp() == XdpHook::Native && !noted.sends_from_xdp();
        if is_missed && uplink::has_transit(self.instance)? {
            self.warn(format!(
                "uplink {0} sends nothing from XDP, so TC serves what is in transit by it; if it is a veth, turn GRO on at its \
                 other end (`ethtool -K DEV gro on`)",
                link.name
            ));
        }
        Ok(())
    }

    fn look_at_uplink(&mut self, link: &Link) {
        let name = &link.name;
        if !link.is_up {
            self.warn(format!("uplink {name} is down; `ip link set {name} up` brings it up"));
        } else if !link.has_carrier {
            self.warn(format!("uplink {name} has no carrier"));
        }
    }
}
