//! The loopback device's forwarding, without which the kernel's FIB does not answer our programs.
//!
//! `bpf_fib_lookup` looks a route up as for a packet that came in by a device, and only if that device forwards
//! (`bpf_ipv4_fib_lookup` and `bpf_ipv6_fib_lookup` in `net/core/filter.c`). The programs name the loopback device: the
//! kernel routes the host's own packets so. What comes in by it is the host's own, so forwarding opens no way for
//! anybody else.

use std::{fs, path::PathBuf};

use overlay_common::maps::config::Families;

use crate::error::{Context as _, Result};

const IPV4: &str = "/proc/sys/net/ipv4/conf/lo/forwarding";
const IPV6: &str = "/proc/sys/net/ipv6/conf/lo/forwarding";
/// Has a directory for each device that speaks IPv6.
const IPV6_DEVICES: &str = "/proc/sys/net/ipv6/conf";

/// The families that it is off for. A family that the kernel does not speak is none of them.
///
/// # Errors
///
/// Fails if it cannot be read.
pub fn off() -> Result<Families> {
    Ok(Families { ipv4: is_off(IPV4)?, ipv6: is_off(IPV6)? })
}

/// Turns it on for both families; those that it was off for.
///
/// # Errors
///
/// Fails, with everything as it was, if it cannot be written.
pub fn turn_on() -> Result<Families> {
    let was_off = off()?;
    if was_off.ipv4 {
        write(IPV4, "1")?;
    }
    if was_off.ipv6 {
        let kept = KeptRoutes::keep();
        let written = write(IPV6, "1");
        drop(kept);
        if written.is_err() {
            let _ = turn_off(Families { ipv6: false, ..was_off });
        }
        written?;
    }
    Ok(was_off)
}

/// Turns it off for some families.
///
/// # Errors
///
/// Fails if it cannot be written.
pub fn turn_off(families: Families) -> Result<()> {
    let ipv4 = if families.ipv4 { write(IPV4, "0") } else { Ok(()) };
    let ipv6 = if families.ipv6 { write(IPV6, "0") } else { Ok(()) };
    ipv4.and(ipv6)
}

fn is_off(path: &str) -> Result<bool> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim() == "0"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context(|| format!("cannot read {path}")),
    }
}

fn write(path: &str, value: &str) -> Result<()> {
    fs::write(path, value).context(|| format!("cannot write {path}"))
}

/// The default routes that routers advertised.
///
/// When any device is made to forward IPv6, even the loopback device, the kernel removes those of all devices
/// (`addrconf_fixup_forwarding` in `net/ipv6/addrconf.c`), but for devices whose `accept_ra` is 2: "even if forwarding".
/// To a device that takes advertisements and does not forward that is the same as 1, so it can be set for a moment.
struct KeptRoutes {
    settings: Vec<PathBuf>,
}

impl KeptRoutes {
    fn keep() -> Self {
        let devices = fs::read_dir(IPV6_DEVICES).into_iter().flatten().flatten().map(|entry| entry.path());
        let holds = |path: &PathBuf, value| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
        let settings = devices
            .filter(|device| !device.ends_with("all") && !device.ends_with("default"))
            .filter(|device| holds(&device.join("forwarding"), "0"))
            .map(|device| device.join("accept_ra"))
            .filter(|setting| holds(setting, "1") && fs::write(setting, "2").is_ok());
        Self { settings: settings.collect() }
    }
}

impl Drop for KeptRoutes {
    fn drop(&mut self) {
        for setting in &self.settings {
            let _ = fs::write(setting, "1");
        }
    }
}
