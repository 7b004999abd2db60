//! The devices that are wanted as uplinks and ports, by name: whether they are there or not.

use std::fs;

use overlay_common::{
    Vni,
    maps::{
        device::{Device, DeviceName, Role},
        port::Port,
    },
};

use crate::{
    error::{Context as _, Error, Result},
    instance::Instance,
    maps,
    port::vlans,
};

/// A name as the kernel takes it.
///
/// # Errors
///
/// [`Error::Usage`] if it cannot be a device's.
pub(crate) fn name(name: &str) -> Result<DeviceName> {
    let is_plain =
        !matches!(name, "." | "..") && !name.contains(|c: char| "/:".contains(c) || c.is_whitespace());
    DeviceName::new(name).filter(|_| is_plain).ok_or_else(|| {
        Error::Usage(format!("{name:?} cannot be a device's name: 1 to 15 bytes without spaces, `/` and `:`"))
    })
}

/// The name of a device that an instance makes for a purpose of its own: of each instance one in a network namespace, as far
/// as 32 bits go (FNV-1a).
///
/// # Errors
///
/// None that can happen: it is as a name has to be.
pub(crate) fn own_name(instance: &Instance, purpose: char) -> Result<DeviceName> {
    let hash = instance
        .name()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    name(&format!("ovl{hash:08x}-{purpose}"))
}

/// Has the kernel speak no IPv6 on a device: no addresses, no ND, no MLD, and nothing gets to the host by it.
///
/// # Errors
///
/// Fails if there is no such device in this thread's network namespace.
pub(crate) fn keep_quiet(device: DeviceName) -> Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", device.as_str());
    fs::write(&path, "1").context(|| format!("cannot write {path}"))
}

/// The uplinks that are wanted, by name.
///
/// # Errors
///
/// Fails if the map is gone.
pub(crate) fn uplinks(instance: &Instance) -> Result<Vec<(DeviceName, Device)>> {
    let all = maps::devices(instance)?.entries()?.into_iter();
    Ok(all.filter(|(_, device)| matches!(device.role(), Role::Uplink(_))).collect())
}

/// The ports that are wanted, by name, with their settings.
///
/// # Errors
///
/// Fails if the map is gone.
pub(crate) fn ports(instance: &Instance) -> Result<Vec<(DeviceName, Device, Port)>> {
    let port = |(name, device): (DeviceName, Device)| match device.role() {
        Role::Port(port) => Some((name, device, port)),
        Role::Uplink(_) => None,
    };
    Ok(maps::devices(instance)?.entries()?.into_iter().filter_map(port).collect())
}

/// The names of the ports of a segment whose devices are not there.
///
/// # Errors
///
/// Fails if the map is gone.
pub(crate) fn missing_ports(instance: &Instance, vni: Vni) -> Result<Vec<DeviceName>> {
    let ports = ports(instance)?.into_iter();
    let trunks = vlans::waited_for(instance, vni)?;
    let is_of = |name: &DeviceName, port: &Port| {
        port.vni() == Some(vni) || (port.is_trunk() && trunks.contains(name))
    };
    let missing = ports.filter(|(name, device, port)| device.index().is_none() && is_of(name, port));
    Ok(missing.map(|(name, ..)| name).collect())
}
