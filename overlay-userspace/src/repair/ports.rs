use std::collections::BTreeMap;

use overlay_common::{
    IfIndex,
    maps::{
        device::{Device, DeviceName},
        port::Port,
    },
};

use super::{Pass, Repair, devices::Wanted};
use crate::{
    datapath::FROM_PORT,
    error::{Error, Result},
    hook, maps,
    netlink::Link,
    port::{self, feed, stations, vlans},
};

impl Pass<'_> {
    /// Forgets a port's device that is gone. The port's settings and VLANs, and the stations put behind it, are kept for the next.
    pub(super) fn retire_port(&mut self, wanted: &mut Wanted, old: IfIndex, port: Port) -> Result<()> {
        let settings = maps::ports(self.instance)?.get(old.get())?.unwrap_or(port);
        wanted.device = wanted.device.with_port(settings);
        let lost = stations::park(self.instance, wanted.name, old)?;
        if lost > 0 {
            self.warn(format!(
                "{lost} stations behind port {} are forgotten: too many wait",
                wanted.name.as_str()
            ));
        }
        let lost = vlans::park(self.instance, wanted.name, old, settings)?;
        if lost > 0 {
            self.warn(format!("{lost} VLANs of port {} are forgotten: too many wait", wanted.name.as_str()));
        }
        port::forget(self.instance, old)?;
        hook::forget_tc(self.instance, self.tc(), old, FROM_PORT)?;
        hook::forget_qdisc(self.instance, old);
        Ok(())
    }

    pub(super) async fn serve_port(&self, name: DeviceName, link: &Link, port: Port) -> Result<()> {
        let kind = port::checked(self.instance, link)?;
        hook::forget_tc(self.instance, self.tc(), link.index, FROM_PORT)?;
        // Where somebody only detached the program.
        stations::park(self.instance, name, link.index)?;
        vlans::park(self.instance, name, link.index, port)?;
        let served = port::attach(self.instance, self.tc(), link, port.with_kind(kind)).and_then(|()| {
            vlans::unpark(self.instance, name, link.index).inspect_err(|_| {
                let _ = hook::detach_tc(self.instance, self.tc(), link.index, FROM_PORT);
                let _ = port::forget(self.instance, link.index);
            })
        });
        if served.is_err() {
            let _ = hook::tidy(self.instance, self.netlink, link.index).await;
        }
        served
    }

    /// Puts stations that waited behind ports that are there. Those that there is no room for wait on.
    pub(super) fn stations(&mut self) -> Result<()> {
        let waiting = stations::waiting(self.instance)?;
        if waiting.is_empty() {
            return Ok(());
        }
        let (devices, ports) = (maps::devices(self.instance)?.entries()?, maps::ports(self.instance)?);
        let mut left: BTreeMap<DeviceName, (usize, Error)> = BTreeMap::new();
        for one in &waiting {
            let name = one.1.port();
            let Some(device) = devices.get(&name).and_then(Device::index) else { continue };
            let Some(port) = ports.get(device.get())? else { continue };
            if let Err(error) = stations::unpark(self.instance, one, device, port.kind()) {
                left.entry(name).or_insert((0, error)).0 += 1;
            }
        }
        for (name, (count, error)) in left {
            self.warn(format!("{count} stations behind port {} wait: {error}", name.as_str()));
        }
        Ok(())
    }

    /// Follows the other end of a port's veth, and keeps the port's settings for when its device goes away.
    pub(super) fn adjust_port(&mut self, wanted: &mut Wanted, link: &Link, port: Port) -> Result<()> {
        let mut ports = maps::ports(self.instance)?;
        let mut settings = ports.get(link.index.get())?.unwrap_or(port);
        if let Some(kind) = port::kind(link).filter(|kind| *kind != settings.kind()) {
            settings = settings.with_kind(kind);
            ports.put(link.index.get(), &settings)?;
            stations::hand_over(self.instance, link.index, kind)?;
            self.did(Repair::HandedOver(wanted.name));
        }
        let noted = feed::noted(link.index, settings);
        if noted != settings {
            settings = noted;
            ports.put(link.index.get(), &settings)?;
            self.did(Repair::Fed(wanted.name, settings.is_fed_by_xdp()));
        }
        if settings != port {
            wanted.device = wanted.device.with_port(settings);
            self.remember(wanted)?;
        }
        if settings.xdp_redirect() && !settings.is_fed_by_xdp() {
            self.warn(format!("port {0}: {1}; TC serves it", link.name, feed::refusal(&link.name)));
        }
        self.look_at_port(link);
        Ok(())
    }

    /// Forgets a port for good, whose name another one has.
    pub(super) fn oust(&mut self, wanted: &Wanted) -> Result<()> {
        stations::forget_parked(self.instance, wanted.name)?;
        vlans::forget_parked(self.instance, wanted.name)?;
        self.did(Repair::Ousted(wanted.name));
        Ok(())
    }

    fn look_at_port(&mut self, link: &Link) {
        let name = &link.name;
        if link.bridge.is_some() {
            self.warn(format!(
                "port {name} is a member of a bridge, which gets none of its frames; `ip link set {name} nomaster`"
            ));
        }
        if !link.is_up {
            self.warn(format!("port {name} is down; `ip link set {name} up` brings it up"));
        }
    }
}
