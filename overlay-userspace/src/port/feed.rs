//! Ports that XDP feeds: frames out of tunnels go straight from an uplink's XDP program to the port's device.

use overlay_common::{
    IfIndex,
    maps::{port::Port, uplink::XdpHook},
};

use crate::{
    error::{Error, Result},
    instance::Instance,
    maps,
    netlink::{self, Link, LinkKind},
};

/// Refuses what is wanted of a port whose device cannot take it.
///
/// # Errors
///
/// [`Error::Failed`] if the device takes no frames from XDP, or the kernel does not tell.
pub(super) fn check(name: &str, device: IfIndex, port: Port) -> Result<()> {
    if !port.xdp_redirect() {
        return Ok(());
    }
    match netlink::takes_xdp(device)? {
        Some(true) => Ok(()),
        Some(false) => Err(Error::Failed(format!("--xdp-redirect on: {}", refusal(name)))),
        None => Err(Error::Failed(format!(
            "--xdp-redirect on: this kernel does not tell whether {name} takes frames from XDP; Linux 6.3 does"
        ))),
    }
}

/// Why XDP does not feed a device that is none for it, and what to do.
pub(crate) fn refusal(name: &str) -> String {
    format!(
        "{name} takes no frames from XDP; if it is a veth, turn GRO on at its other end (`ethtool -K DEV gro on`)"
    )
}

/// The same port, with what its device takes now. One that cannot be asked takes nothing.
pub(crate) fn noted(device: IfIndex, port: Port) -> Port {
    let able = port.xdp_redirect() && matches!(netlink::takes_xdp(device), Ok(Some(true)));
    port.with_taking_xdp(able)
}

/// Whether an uplink's packets come by the native XDP hook, which is what feeds ports.
///
/// # Errors
///
/// Fails if the map is gone.
pub fn has_native_uplink(instance: &Instance) -> Result<bool> {
    Ok(maps::uplinks(instance)?.entries()?.values().any(|uplink| uplink.xdp() == XdpHook::Native))
}

/// What to know about a port that XDP shall feed, as the uplinks are.
///
/// # Errors
///
/// Fails if a map is gone.
pub fn warning(instance: &Instance, links: &[Link]) -> Result<Option<String>> {
    if !has_native_uplink(instance)? {
        let what = "no uplink is served by native XDP, so TC serves the port (`overlay up --xdp native`)";
        return Ok(Some(what.to_owned()));
    }
    let uplinks = maps::uplinks(instance)?.entries()?;
    let is_native =
        |link: &&Link| uplinks.get(&link.index.get()).is_some_and(|one| one.xdp() == XdpHook::Native);
    let is_virtual = |link: &&Link| matches!(link.kind, LinkKind::VethPeer | LinkKind::Virtual);
    let found = links.iter().filter(is_native).find(is_virtual);
    Ok(found.map(|uplink| {
        format!(
            "uplink {0} is a virtual device: what comes by it with checksums still open (TCP and UDP, until its other end \
             has `ethtool -K DEV tx off`) is left to TC",
            uplink.name
        )
    }))
}
