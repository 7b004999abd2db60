//! Offloads of devices. The `ioctl` of `ethtool` has a command for each; a netlink library would be one more dependency
//! for two bits.

mod features;

use std::{io, os::fd::AsRawFd as _, ptr};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use overlay_common::maps::device::DeviceName;

pub(crate) use features::{Feature, Features, turn_on};

use crate::error::{Context as _, Result};

/// Something that a device does for the kernel, or the kernel for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offload {
    /// Checksums of what is sent, without which there is no segmentation either.
    TxChecksum,
    /// Merging what is received.
    Gro,
}

/// `struct ethtool_value` of `include/uapi/linux/ethtool.h`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

impl Offload {
    /// `ETHTOOL_GTXCSUM` and `ETHTOOL_STXCSUM`, `ETHTOOL_GGRO` and `ETHTOOL_SGRO`.
    const fn commands(self) -> (u32, u32) {
        match self {
            Self::TxChecksum => (0x16, 0x17),
            Self::Gro => (0x2b, 0x2c),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::TxChecksum => "checksum offload",
            Self::Gro => "GRO",
        }
    }

    /// Whether it is on.
    ///
    /// # Errors
    ///
    /// Fails if there is no such device in this thread's network namespace.
    pub(crate) fn is_on(self, device: DeviceName) -> Result<bool> {
        let (get, _) = self.commands();
        let value = ask(device, Value { command: get, data: 0 });
        Ok(value.context(|| format!("cannot tell {} of {}", self.name(), device.as_str()))? != 0)
    }

    /// Turns it off.
    ///
    /// # Errors
    ///
    /// Fails if there is no such device in this thread's network namespace, or if it refuses.
    pub(crate) fn turn_off(self, device: DeviceName) -> Result<()> {
        let (_, set) = self.commands();
        let value = ask(device, Value { command: set, data: 0 });
        value.map(drop).context(|| format!("cannot turn {} of {} off", self.name(), device.as_str()))
    }
}

/// What the kernel leaves in a value.
fn ask(device: DeviceName, mut value: Value) -> io::Result<u32> {
    // SAFETY: the kernel reads and writes one `Value`.
    unsafe { ethtool(device, (&raw mut value).cast()) }?;
    Ok(value.data)
}

/// Asks something of a device that `ethtool` asks.
///
/// # Safety
///
/// `data` begins with a command, and is writable for as long as that command has the kernel read and write.
pub(crate) unsafe fn ethtool(device: DeviceName, data: *mut libc::c_char) -> io::Result<()> {
    let mut request = request(device);
    request.ifr_ifru.ifru_data = data;
    // SAFETY: the caller vouches for what `data` points to.
    unsafe { ioctl(libc::SIOCETHTOOL, &mut request) }
}

/// The MTU of a device in this thread's network namespace, in bytes.
///
/// # Errors
///
/// Fails if there is no such device.
pub(crate) fn mtu(device: DeviceName) -> Result<u32> {
    let what = || format!("cannot tell the MTU of {}", device.as_str());
    let mut request = request(device);
    // SAFETY: the kernel writes a number into the request.
    unsafe { ioctl(libc::SIOCGIFMTU, &mut request) }.context(what)?;
    // SAFETY: that is what it has written.
    u32::try_from(unsafe { request.ifr_ifru.ifru_mtu }).context(what)
}

/// A request about a device, zeros otherwise.
fn request(device: DeviceName) -> libc::ifreq {
    // SAFETY: zero is a value of every field.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // At most 15 bytes: it ends in a zero.
    for (to, from) in request.ifr_name.iter_mut().zip(device.as_str().bytes()) {
        *to = from.cast_signed();
    }
    request
}

/// # Safety
///
/// What the request points to is as the command wants it.
unsafe fn ioctl(command: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: the caller vouches for it.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), command, ptr::from_mut(request)) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
