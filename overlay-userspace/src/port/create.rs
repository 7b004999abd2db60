//! Ports for the host itself: a veth pair, one end of which is the port, and the other a device of the host.

use std::{collections::BTreeSet, net::IpAddr};

use overlay_common::{
    Family, Vni,
    header::{eth, outer},
    maps::{
        device::{Device, DeviceName, Role},
        port::{Port, PortKind},
    },
};

use super::{Limits, feed, settle};
use crate::{
    devices,
    error::{Error, Result},
    instance::Instance,
    maps::{self, vteps::Vteps},
    membership::Membership,
    netlink::{Link, Netlink},
    netns,
};

/// How the port's end of the pair is named: as the host's, and then this.
pub(crate) const PORT_END: &str = "-p";

/// What IPv4 (RFC 791) and IPv6 (RFC 8200) ask of a device's MTU, in bytes.
const MIN_MTU: [u32; 2] = [68, 1280];

/// A device of the host that shall be in a segment.
#[derive(Clone, Debug)]
pub struct Creation {
    /// Its name.
    pub name: String,
    /// Its addresses, with their prefixes' lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The largest IP packet that it takes, in bytes; `None`: what fits all uplinks.
    pub mtu: Option<u32>,
    /// What its port may do.
    pub limits: Limits,
}

/// Makes a veth pair whose one end is a device of the host, and the other a port of a segment.
///
/// # Errors
///
/// [`Error::Exists`] if it is there already, [`Error::Conflict`] if other devices have its names; [`Error::Usage`] for a
/// name or an MTU that cannot be.
pub async fn create(instance: &Instance, netlink: &Netlink, creation: &Creation, vni: Vni) -> Result<()> {
    let name = &creation.name;
    devices::name(name)?;
    let port = format!("{name}{PORT_END}");
    let key = devices::name(&port).map_err(|_| {
        Error::Usage(format!("--create {name}: the port is named {port}, so 13 bytes are the most"))
    })?;
    let _claim = netns::claim_devices()?;
    creation.limits.refuse_taken(&Membership::Segment(vni), instance, key)?;
    for taken in [name, &port] {
        // The kernel knows devices by alternative names, too.
        if netlink.link(taken).await.is_ok() {
            return Err(Error::Conflict(format!(
                "--create {name}: there is a device {taken} already; choose another name"
            )));
        }
    }
    let mtu = mtu(instance, netlink, creation).await?;
    let pair = netlink.add_veth(key.as_str(), name, mtu).await?;
    let built = build(instance, netlink, creation, (key, vni), &pair).await;
    if built.is_err() {
        let [port, _] = pair;
        let _ = netlink.delete_link(port.index).await;
    }
    built
}

async fn build(
    instance: &Instance,
    netlink: &Netlink,
    creation: &Creation,
    (key, vni): (DeviceName, Vni),
    [link, host]: &[Link; 2],
) -> Result<()> {
    for (addr, len) in &creation.addresses {
        netlink.add_address(host.index, *addr, *len).await?;
    }
    let settings = creation.limits.of(Port::new(vni, PortKind::Device));
    feed::check(&link.name, link.index, settings)?;
    let device = Device::new(Role::Port(settings)).with_created();
    settle(instance, netlink, link, (key, device), &Membership::Segment(vni)).await?;
    netlink.bring_up(link.index).await?;
    netlink.bring_up(host.index).await
}

/// Gives the device of the host itself other addresses than it had, and another MTU.
///
/// # Errors
///
/// [`Error::Missing`] if it is gone; [`Error::Usage`] for an MTU that cannot be.
pub(crate) async fn change_created(
    instance: &Instance,
    netlink: &Netlink,
    port: &str,
    before: &BTreeSet<(IpAddr, u8)>,
    creation: &Creation,
) -> Result<()> {
    let host = netlink.link(&creation.name).await?;
    let after: BTreeSet<_> = creation.addresses.iter().copied().collect();
    for (addr, len) in after.difference(before) {
        netlink.add_address(host.index, *addr, *len).await?;
    }
    for (addr, len) in before.difference(&after) {
        netlink.remove_address(host.index, *addr, *len).await?;
    }
    let mtu = mtu(instance, netlink, creation).await?;
    if mtu == host.mtu {
        return Ok(());
    }
    let port = netlink.link(port).await?;
    netlink.set_mtu(port.index, mtu).await?;
    netlink.set_mtu(host.index, mtu).await
}

/// The MTU that was asked for, if it can be, or the largest that fits every uplink.
async fn mtu(instance: &Instance, netlink: &Netlink, creation: &Creation) -> Result<u32> {
    let fits = fitting(instance, netlink).await?;
    let needs_ipv6 = creation.addresses.iter().any(|(addr, _)| addr.is_ipv6());
    let least = MIN_MTU[usize::from(needs_ipv6)];
    let family = if needs_ipv6 { "IPv6" } else { "IPv4" };
    match creation.mtu {
        Some(mtu) if mtu < least => {
            Err(Error::Usage(format!("--mtu {mtu} is too small; {family} needs {least} or more")))
        }
        Some(mtu) if fits.is_some_and(|fits| mtu > fits) => Err(Error::Usage(format!(
            "--mtu {mtu} does not fit the uplinks with the outer headers; {} does",
            fits.unwrap_or_default()
        ))),
        Some(mtu) => Ok(mtu),
        None => match fits {
            Some(fits) if fits >= least => Ok(fits),
            _ => {
                Err(Error::Failed(format!("the uplinks' MTU leaves too little for {family}; see `ip link`")))
            }
        },
    }
}

/// The largest inner packet that fits every uplink that is there, in tunnels as they are.
async fn fitting(instance: &Instance, netlink: &Netlink) -> Result<Option<u32>> {
    let uplinks = maps::uplinks(instance)?.entries()?;
    let overhead = u32::try_from(overhead(instance)?).unwrap_or(u32::MAX);
    let links = netlink.links().await?;
    let served = links.iter().filter(|link| uplinks.contains_key(&link.index.get()));
    Ok(served.map(|link| link.mtu.saturating_sub(overhead)).min())
}

/// What is added to an inner packet, in bytes: of the remote VTEPs' families the worst. Before there are any, our own
/// first address tells.
fn overhead(instance: &Instance) -> Result<usize> {
    let vteps = Vteps::open(instance)?.all()?;
    let worst = vteps.iter().map(|(_, vtep)| outer::overhead(vtep.family())).max();
    let first = instance.config()?.locals().first().map_or(Family::Ipv4, |local| local.family());
    Ok(worst.unwrap_or(outer::overhead(first)) + eth::LEN)
}

/// The host's device that was made with a port.
pub(super) fn host_end(port: DeviceName, device: &Device) -> Option<String> {
    if !device.is_created() {
        return None;
    }
    port.as_str().strip_suffix(PORT_END).map(str::to_owned)
}
