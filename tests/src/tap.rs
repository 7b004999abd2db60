//! A tap device: what a virtual machine's monitor has in its hands.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{netns::NetNs, wire::ARRIVAL};

/// Bytes of `struct virtio_net_hdr` (`include/uapi/linux/virtio_net.h`) in front of each frame.
const HEADER: usize = 10;
/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CHECKSUM: u8 = 1;

/// What is left to do about a frame, as a virtual machine asks of its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Where the sum begins that is still to be filled in, and where in there its field is.
    pub checksum: Option<(u16, u16)>,
    /// `VIRTIO_NET_HDR_GSO_TCPV4` or its like, bytes of headers, bytes of data in each segment.
    pub segments: Option<(u8, u16, u16)>,
}

/// A tap device, held open.
pub struct Tap {
    file: File,
}

impl Tap {
    /// Makes a device of that name in `netns`, and brings it up. It goes away when dropped.
    pub fn new(netns: &NetNs, name: &str) -> Result<Self> {
        let file = netns.enter(|| {
            let file = File::options().read(true).write(true).open("/dev/net/tun")?;
            // SAFETY: all zero bytes are a valid ifreq.
            let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
            for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                *to = from.cast_signed();
            }
            let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
            request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags)?;
            // SAFETY: the descriptor is open, and the request outlives the call.
            let code = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
            ensure!(code == 0, "TUNSETIFF: {}", io::Error::last_os_error());
            Ok(file)
        })?;
        netns.ip(&format!("link set {name} up"))?;
        Ok(Self { file })
    }

    /// Says whether the reader can fill in checksums.
    pub fn checksums(&self, on: bool) -> Result<()> {
        let offloads = libc::c_ulong::from(if on { libc::TUN_F_CSUM } else { 0 });
        // SAFETY: the descriptor is open, and the argument is a number.
        let code = unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETOFFLOAD, offloads) };
        ensure!(code == 0, "TUNSETOFFLOAD: {}", io::Error::last_os_error());
        Ok(())
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8], offload: Offload) -> Result<()> {
        let (start, at) = offload.checksum.unwrap_or_default();
        let (kind, headers, size) = offload.segments.unwrap_or_default();
        let mut bytes = vec![u8::from(offload.checksum.is_some()) * NEEDS_CHECKSUM, kind];
        bytes.extend([headers, size, start, at].map(u16::to_ne_bytes).concat());
        bytes.extend(frame);
        Ok((&self.file).write_all(&bytes)?)
    }

    /// Waits for the first frame that `wanted` accepts; whether its checksum is still to be filled in.
    pub fn expect(&self, mut wanted: impl FnMut(&[u8]) -> bool) -> Result<(Vec<u8>, bool)> {
        let deadline = Instant::now() + ARRIVAL;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "nothing of the kind arrived");
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if poll(&mut [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
                continue;
            }
            let mut bytes = vec![0; 1 << 17];
            let length = (&self.file).read(&mut bytes)?;
            let frame = bytes.get(HEADER..length).context("no header")?;
            if wanted(frame) {
                return Ok((frame.to_vec(), bytes[0] & NEEDS_CHECKSUM != 0));
            }
        }
    }
}
