//! The loopback device's IPv4 forwarding, without which the kernel's FIB does not answer our programs.
//!
//! `bpf_fib_lookup` looks a route up as for a packet that came in by a device, and only if that device forwards
//! (`bpf_ipv4_fib_lookup` in `net/core/filter.c`). The programs name the loopback device: the kernel routes the host's
//! own packets so. What comes in by it is the host's own, so forwarding opens no way for anybody else.

use std::{fs, io};

use crate::error::{Context as _, Result};

const PATH: &str = "/proc/sys/net/ipv4/conf/lo/forwarding";

/// Whether it is on.
///
/// # Errors
///
/// Fails if it cannot be read.
pub fn is_on() -> Result<bool> {
    let text = fs::read_to_string(PATH).context(|| format!("cannot read {PATH}"))?;
    Ok(text.trim() != "0")
}

/// Turns it on; whether it was off.
///
/// # Errors
///
/// Fails if it cannot be written.
pub fn turn_on() -> Result<bool> {
    if is_on()? {
        return Ok(false);
    }
    write("1")?;
    Ok(true)
}

/// Turns it off.
///
/// # Errors
///
/// Fails if it cannot be written.
pub fn turn_off() -> Result<()> {
    write("0")
}

fn write(value: &str) -> Result<()> {
    let written: io::Result<()> = fs::write(PATH, value);
    written.context(|| format!("cannot write {PATH}"))
}
