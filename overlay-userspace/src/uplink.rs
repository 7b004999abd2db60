//! Uplinks: how XDP serves them, besides TC.

use aya::programs::XdpMode;
use overlay_common::{
    IfIndex,
    maps::{
        config::TcHook,
        device::XdpChoice,
        segment::Segment,
        uplink::{Uplink, XdpHook, XdpReason, XdpSending},
    },
};

use crate::{
    datapath::{self, FROM_UPLINK, FROM_UPLINK_XDP, FROM_UPLINK_XDP_GENERIC},
    error::{Error, Result},
    hook::{self, XdpRefusal},
    instance::Instance,
    maps,
    netlink::{self, Link, LinkKind, Netlink},
    say,
};

/// Lets packets in by a device.
///
/// # Errors
///
/// Fails if the kernel refuses; what was attached until then stays.
pub(crate) fn attach(instance: &Instance, tc: TcHook, link: &Link, choice: XdpChoice) -> Result<()> {
    let off = Uplink::new(link.mac, XdpHook::Off, XdpReason::Asked);
    maps::uplinks(instance)?.put(link.index.get(), &off)?;
    hook::attach_tc(instance, tc, link, FROM_UPLINK)?;
    serve_by_xdp(instance, link, choice).map(drop)
}

/// Attaches XDP to an uplink as it was chosen, and notes what became of it.
///
/// # Errors
///
/// Fails if the kernel refuses what was chosen.
pub(crate) fn serve_by_xdp(instance: &Instance, link: &Link, choice: XdpChoice) -> Result<XdpHook> {
    let (xdp, why) = serve(instance, link, choice)?;
    maps::uplinks(instance)?.put(link.index.get(), &noted(link, Uplink::new(link.mac, xdp, why)))?;
    Ok(xdp)
}

/// The same uplink, with what its device does now with what XDP tells it to send. What goes out of a veth that way its other end
/// has to take, which the device's own features tell (`veth_set_xdp_features` in `drivers/net/veth.c`); and what it returns, that end
/// hears of only if a program is there (`veth_xdp_flush`), so it is redirected instead. A device that cannot be asked sends nothing.
pub(crate) fn noted(link: &Link, uplink: Uplink) -> Uplink {
    let able = uplink.xdp() == XdpHook::Native && matches!(netlink::takes_xdp(link.index), Ok(Some(true)));
    uplink.with_sending(match (able, link.kind) {
        (false, _) => XdpSending::No,
        (true, LinkKind::Hardware) => XdpSending::Returned,
        (true, _) => XdpSending::Redirected,
    })
}

/// Whether a segment has frames go on from tunnel to tunnel.
///
/// # Errors
///
/// Fails if the map is gone.
pub(crate) fn has_transit(instance: &Instance) -> Result<bool> {
    Ok(maps::segments(instance)?.entries()?.values().any(Segment::transit))
}

/// Lets packets in by a device no more.
///
/// # Errors
///
/// Fails if a program cannot be taken off, or an entry not be removed.
pub(crate) async fn remove(
    instance: &Instance,
    netlink: &Netlink,
    tc: TcHook,
    device: IfIndex,
) -> Result<()> {
    hook::detach_xdp(instance, device)?;
    hook::detach_tc(instance, tc, device, FROM_UPLINK)?;
    hook::tidy(instance, netlink, device).await?;
    maps::uplinks(instance)?.remove(device.get()).map(drop)
}

/// Forgets an uplink whose device is gone.
///
/// # Errors
///
/// Fails if a pin or an entry cannot be removed.
pub(crate) fn forget(instance: &Instance, tc: TcHook, device: IfIndex) -> Result<()> {
    hook::detach_xdp(instance, device)?;
    hook::forget_tc(instance, tc, device, FROM_UPLINK)?;
    hook::forget_qdisc(instance, device);
    maps::uplinks(instance)?.remove(device.get()).map(drop)
}

/// Whether an uplink's XDP hook is as it was noted: ours where it serves, and somebody else's where it is taken.
///
/// # Errors
///
/// Fails if the programs' pins are gone.
pub(crate) fn has_noted_xdp(instance: &Instance, link: &Link, uplink: Uplink) -> Result<bool> {
    let program = match uplink.xdp() {
        XdpHook::Off => return Ok(uplink.why() != XdpReason::Taken || link.has_xdp),
        XdpHook::Native => FROM_UPLINK_XDP,
        XdpHook::Generic => FROM_UPLINK_XDP_GENERIC,
    };
    Ok(link.xdp.contains(&datapath::xdp_id(instance, program)?))
}

/// Attaches XDP to an uplink as it was chosen; what became of it.
fn serve(instance: &Instance, link: &Link, choice: XdpChoice) -> Result<(XdpHook, XdpReason)> {
    let (mode, served) = match choice {
        XdpChoice::Off => return Ok((XdpHook::Off, XdpReason::Asked)),
        _ if link.has_xdp => return Ok(taken(link)),
        XdpChoice::Auto if link.kind != LinkKind::Hardware => return Ok((XdpHook::Off, XdpReason::Virtual)),
        XdpChoice::Auto => (XdpMode::Driver, (XdpHook::Native, XdpReason::Driver)),
        XdpChoice::Native => (XdpMode::Driver, (XdpHook::Native, XdpReason::Asked)),
        XdpChoice::Generic => (XdpMode::Skb, (XdpHook::Generic, XdpReason::Asked)),
    };
    match hook::attach_xdp(instance, link, mode)? {
        Ok(()) => Ok(served),
        Err(XdpRefusal::Taken) => Ok(taken(link)),
        Err(XdpRefusal::Unsupported) if choice == XdpChoice::Auto => {
            Ok((XdpHook::Off, XdpReason::Unsupported))
        }
        Err(XdpRefusal::Unsupported) => Err(Error::Failed(format!(
            "the driver of {} refuses XDP in that mode; try --xdp generic or --xdp off",
            link.name
        ))),
    }
}

/// Says that the XDP hook of an uplink is somebody else's, and how the uplink is served then.
fn taken(link: &Link) -> (XdpHook, XdpReason) {
    say::aside(format_args!("the XDP hook of {} is taken by another program; TC alone serves it", link.name));
    (XdpHook::Off, XdpReason::Taken)
}
