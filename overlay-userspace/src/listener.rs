//! Having the kernel merge tunnel packets as they come in (GRO).
//!
//! It does so only while somebody listens on their UDP port with the kernel's own VXLAN (`udp_gro_receive` in
//! `net/ipv4/udp_offload.c`). So we make `vxlan` devices, one for each family of the VTEP, which carry nothing: VNI 0 is no
//! segment of ours, and what comes for it is dropped by `from_listener`. A device of VNI 0 shares its socket with other
//! `vxlan` devices of the host, as long as their settings for receiving are the usual ones.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use overlay_common::{
    Family, IfIndex,
    maps::{
        config::{Config, Merging},
        uplink::{Uplink, XdpHook},
    },
};

use crate::{
    datapath::{self, FROM_LISTENER},
    devices,
    error::{Context as _, Error, Result},
    hook,
    instance::Instance,
    maps,
    netlink::{Link, Netlink},
    offload::Offload,
};

/// The VNI of the devices.
const VNI: u32 = 0;

/// Both families, in the order in which they are told.
pub(crate) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// Whether the kernel merges tunnel packets of a family, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merger {
    /// By a device of ours, which is there or has to be made.
    Ours,
    /// Somebody else's `vxlan` device listens, and that does.
    Others,
    /// The VTEP has no address of that family.
    NoAddress,
    /// It shall not.
    Unwanted,
    /// No uplink merges what it receives, or XDP takes the headers off before that.
    Useless,
}

impl Merger {
    /// What there shall be for a family.
    ///
    /// # Errors
    ///
    /// Fails if a map cannot be read.
    pub(crate) fn of(instance: &Instance, config: &Config, links: &[Link], family: Family) -> Result<Self> {
        if !config.locals().iter().any(|local| local.family() == family) {
            return Ok(Self::NoAddress);
        }
        if config.merging() == Merging::Never {
            return Ok(Self::Unwanted);
        }
        if config.merging() == Merging::Auto && !is_useful(instance, links)? {
            return Ok(Self::Useless);
        }
        Ok(if others_listen(config, links, Some(family)) { Self::Others } else { Self::Ours })
    }
}

/// Whether an uplink has the kernel merge packets while they still have their outer headers.
fn is_useful(instance: &Instance, links: &[Link]) -> Result<bool> {
    let uplinks = maps::uplinks(instance)?.entries()?;
    Ok(links.iter().any(|link| {
        let uplink = uplinks.get(&link.index.get());
        uplink.map(Uplink::xdp).is_some_and(|xdp| xdp != XdpHook::Native) && merges(link)
    }))
}

/// Whether GRO is on. A device that cannot be asked is gone by now.
fn merges(link: &Link) -> bool {
    devices::name(&link.name).and_then(|name| Offload::Gro.is_on(name)).unwrap_or(false)
}

/// Whether a `vxlan` device that is not ours listens on the VTEP's port, for tunnel packets of that family if one is said.
pub(crate) fn others_listen(config: &Config, links: &[Link], family: Option<Family>) -> bool {
    let is_ours = |link: &Link| FAMILIES.iter().any(|&family| config.listener(family) == Some(link.index));
    links.iter().filter(|link| link.is_up && !is_ours(link)).filter_map(|link| link.vxlan).any(|vxlan| {
        vxlan.port == config.port()
            && match family {
                None => true,
                Some(Family::Ipv4) => vxlan.families.ipv4,
                Some(Family::Ipv6) => vxlan.families.ipv6,
            }
    })
}

/// Makes the device of a family, and notes it.
///
/// # Errors
///
/// Says what it means that there is none; nothing is left behind.
pub(crate) async fn make(instance: &Instance, netlink: &Netlink, family: Family) -> Result<()> {
    let config = instance.config()?;
    refuse_taken(family, config.port())?;
    let name = devices::own_name(instance, purpose(family))?;
    let link = netlink.add_vxlan(name.as_str(), VNI, config.port(), family).await?;
    // Noted first: whatever ends this process, the next command finds it.
    maps::config::write(instance, &config.with_listener(family, Some(link.index)))?;
    let made = equip(instance, netlink, &config, &link).await;
    if made.is_err() {
        let _ = remove(instance, netlink, family).await;
    }
    made
}

/// Refuses a UDP port that another program listens on, before there is a device, which would come and go each time somebody
/// tries again.
fn refuse_taken(family: Family, port: u16) -> Result<()> {
    let (domain, any) = match family {
        Family::Ipv4 => (AddressFamily::Inet, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        Family::Ipv6 => (AddressFamily::Inet6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
    };
    let probe = socket(domain, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).context(|| "no socket")?;
    if family == Family::Ipv6 {
        setsockopt(&probe, sockopt::Ipv6V6Only, &true).context(|| "no socket of IPv6 alone")?;
    }
    bind(probe.as_raw_fd(), &SockaddrStorage::from(any))
        .context(|| format!("cannot listen on UDP port {port} over {}", family.name()))
}

/// The last letter of the device's name.
const fn purpose(family: Family) -> char {
    match family {
        Family::Ipv4 => '4',
        Family::Ipv6 => '6',
    }
}

/// Lets nothing get to the host by a new device, and then has the kernel listen.
async fn equip(instance: &Instance, netlink: &Netlink, config: &Config, link: &Link) -> Result<()> {
    devices::keep_quiet(devices::name(&link.name)?)?;
    hook::attach_tc(instance, config.tc(), link, FROM_LISTENER)?;
    netlink.bring_up(link.index).await
}

/// Whether a device that is there is as it was made.
///
/// # Errors
///
/// Fails if the program's pin is gone.
pub(crate) async fn is_whole(
    instance: &Instance,
    netlink: &Netlink,
    link: &Link,
    family: Family,
) -> Result<bool> {
    let config = instance.config()?;
    let program = datapath::classifier_id(instance, FROM_LISTENER)?;
    Ok(link.is_up
        && link.name == devices::own_name(instance, purpose(family))?.as_str()
        && link.vxlan.is_some_and(|vxlan| vxlan.port == config.port() && vxlan.vni == Some(VNI))
        && hook::is_attached(netlink, config.tc(), link, program).await)
}

/// Removes the device of a family, if there is one. What has its index but not its name is somebody else's.
///
/// # Errors
///
/// Fails if the kernel does.
pub(crate) async fn remove(instance: &Instance, netlink: &Netlink, family: Family) -> Result<()> {
    let config = instance.config()?;
    let Some(device) = config.listener(family) else { return Ok(()) };
    let name = devices::own_name(instance, purpose(family))?;
    if let Ok(link) = netlink.link(name.as_str()).await
        && link.index == device
    {
        netlink.delete_link(device).await?;
    }
    forget(instance, &config, device)?;
    maps::config::write(instance, &config.with_listener(family, None))
}

/// Forgets the program on a device that is gone.
fn forget(instance: &Instance, config: &Config, device: IfIndex) -> Result<()> {
    hook::forget_tc(instance, config.tc(), device, FROM_LISTENER)?;
    hook::forget_qdisc(instance, device);
    Ok(())
}

/// What it means that a device cannot be had.
pub(crate) fn without(error: &Error) -> String {
    format!(
        "{error}, so tunnel packets are not merged as they come in, and TCP is slower; `overlay up --tunnel-gro off` does \
         without that"
    )
}
