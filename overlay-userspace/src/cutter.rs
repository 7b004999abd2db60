//! The veth pair that has the kernel cut up what it carries as one, for VTEPs over IPv6 that want UDP checksums.
//!
//! BPF cannot have the kernel make outer checksums of packets that it cuts up on their way out (`SKB_GSO_UDP_TUNNEL_CSUM`).
//! So the programs send them by the pair's entrance, which has no offloads: the kernel cuts them up there and then. The
//! pieces come out of the exit, where the program `checksum_cut` completes them.

use overlay_common::maps::{
    config::{Cutter, TcHook},
    device::DeviceName,
};

use crate::{
    datapath::CHECKSUM_CUT,
    devices,
    error::{Error, Result},
    hook,
    instance::Instance,
    maps::{self, vteps::Vteps},
    netlink::{Link, Netlink},
    offload::Offload,
    say,
};

/// The MTU of both ends, in bytes: the most that a veth takes. What bounds a piece is the size that its sender chose.
const MTU: u32 = 65535;

/// The names of both ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) entrance: DeviceName,
    pub(crate) exit: DeviceName,
}

impl Names {
    /// Those of an instance.
    pub(crate) fn of(instance: &Instance) -> Result<Self> {
        Ok(Self { entrance: devices::own_name(instance, 'i')?, exit: devices::own_name(instance, 'o')? })
    }
}

/// Whether a remote VTEP wants UDP checksums.
pub(crate) fn is_wanted(instance: &Instance) -> Result<bool> {
    Ok(Vteps::open(instance)?.all()?.iter().any(|(_, vtep)| vtep.udp_checksum()))
}

/// Sees to it that the pair is there, before the first tunnel that wants it. Where the kernel makes none, that is only a
/// word: packets that would have to be cut up are dropped.
///
/// # Errors
///
/// [`Error::Conflict`] if other devices have its names.
pub(crate) async fn have(instance: &Instance, netlink: &Netlink) -> Result<()> {
    if instance.config()?.cutter().is_some() {
        return Ok(());
    }
    match make(instance, netlink).await {
        Err(error @ Error::Conflict(_)) => Err(error),
        Err(error) => {
            say::aside(format_args!("{}", without(&error)));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// What it means that the pair is not there.
pub(crate) fn without(error: &Error) -> String {
    format!(
        "{error}; several packets in one from a workload are dropped on their way to VTEPs with --udp6-csum (gso-checksum)"
    )
}

/// Makes the pair, and notes it.
///
/// # Errors
///
/// [`Error::Conflict`] if other devices have its names. Nothing is left behind.
pub(crate) async fn make(instance: &Instance, netlink: &Netlink) -> Result<()> {
    let names = Names::of(instance)?;
    let is_in_the_way =
        |link: &&Link| [names.entrance.as_str(), names.exit.as_str()].contains(&link.name.as_str());
    if let Some(link) = netlink.links().await?.iter().find(is_in_the_way) {
        return Err(Error::Conflict(format!(
            "{0} is the name of a device that --udp6-csum needs, and another device has it; `ip link del {0}` removes that",
            link.name
        )));
    }
    netlink.add_veth(names.entrance.as_str(), names.exit.as_str(), MTU).await?;
    let entrance = netlink.link(names.entrance.as_str()).await?;
    let exit = netlink.link(names.exit.as_str()).await?;
    let pair = Cutter { entrance: entrance.index, exit: exit.index };
    let made = equip(instance, netlink, names, &exit, pair).await;
    if made.is_err() {
        let _ = forget_exit(instance, instance.config()?.tc(), pair);
        let _ = netlink.delete_link(pair.entrance).await;
    }
    made
}

/// Makes a pair that is there what it shall be.
async fn equip(
    instance: &Instance,
    netlink: &Netlink,
    names: Names,
    exit: &Link,
    pair: Cutter,
) -> Result<()> {
    for name in [names.entrance, names.exit] {
        devices::keep_quiet(name)?;
    }
    turn_offloads_off(names)?;
    let config = instance.config()?;
    hook::attach_tc(instance, config.tc(), exit, CHECKSUM_CUT)?;
    for end in [pair.exit, pair.entrance] {
        netlink.bring_up(end).await?;
    }
    maps::config::write(instance, &config.with_cutter(Some(pair)))
}

/// Has the entrance cut up everything, and the exit leave it in pieces. Without checksums a device has no segmentation of
/// any kind (`harmonize_features` in `net/core/dev.c`).
pub(crate) fn turn_offloads_off(names: Names) -> Result<()> {
    Offload::TxChecksum.turn_off(names.entrance)?;
    Offload::Gro.turn_off(names.exit)
}

/// Whether the offloads are as they have to be.
pub(crate) fn cuts(names: Names) -> Result<bool> {
    Ok(!Offload::TxChecksum.is_on(names.entrance)? && !Offload::Gro.is_on(names.exit)?)
}

/// Removes the pair if no remote VTEP wants it any more.
///
/// # Errors
///
/// Fails if the kernel does.
pub(crate) async fn drop_idle(instance: &Instance, netlink: &Netlink) -> Result<()> {
    if instance.config()?.cutter().is_none() || is_wanted(instance)? {
        return Ok(());
    }
    remove(instance, netlink).await
}

/// Removes the pair, and what is noted of it. Devices that are gone, or are others by now, are left alone.
///
/// # Errors
///
/// Fails if the kernel does.
pub(crate) async fn remove(instance: &Instance, netlink: &Netlink) -> Result<()> {
    let config = instance.config()?;
    let Some(pair) = config.cutter() else { return Ok(()) };
    // First nothing is sent there any more.
    maps::config::write(instance, &config.with_cutter(None))?;
    forget_exit(instance, config.tc(), pair)?;
    let name = Names::of(instance)?.entrance;
    match netlink.link(name.as_str()).await {
        Ok(link) if link.index == pair.entrance => netlink.delete_link(link.index).await,
        _ => Ok(()),
    }
}

/// Forgets the program on the exit: its link goes with the device, or has gone.
fn forget_exit(instance: &Instance, tc: TcHook, pair: Cutter) -> Result<()> {
    hook::forget_tc(instance, tc, pair.exit, CHECKSUM_CUT)?;
    hook::forget_qdisc(instance, pair.exit);
    Ok(())
}

/// Puts the program back on the exit.
pub(crate) fn attach_again(instance: &Instance, tc: TcHook, exit: &Link) -> Result<()> {
    hook::forget_tc(instance, tc, exit.index, CHECKSUM_CUT)?;
    hook::attach_tc(instance, tc, exit, CHECKSUM_CUT)
}
