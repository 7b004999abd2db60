//! Looking at the packets of a device.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket},
};

use crate::error::{Context as _, Error, Result};

/// As much of a packet as is looked at, in bytes.
const SNAP: usize = 256;

/// A packet socket: holds the first packets that its network namespace sees, up to its buffer's size.
pub(super) struct Capture {
    socket: OwnedFd,
    device: usize,
}

impl Capture {
    /// Opens it for a device of this thread's network namespace. It stays in that namespace.
    pub(super) fn open(device: &str) -> Result<Self> {
        let index = if_nametoindex(device).context(|| format!("no device {device}"))?;
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        // Only a socket for all protocols sees what is sent.
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
            .context(|| "cannot open a packet socket")?;
        Ok(Self { socket, device: index as usize })
    }

    /// The first captured packet of the device that `wanted` makes something of.
    pub(super) fn first<T>(&self, wanted: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>> {
        let mut packet = [0; SNAP];
        loop {
            let (len, from) = match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut packet) {
                Ok(received) => received,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(Error::failed("cannot read the packet socket", error)),
            };
            if from.is_none_or(|from| from.ifindex() != self.device) {
                continue;
            }
            if let Some(found) = wanted(&packet[..len.min(SNAP)]) {
                return Ok(Some(found));
            }
        }
    }
}
