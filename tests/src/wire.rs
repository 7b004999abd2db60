//! Raw frames on a device: sent, and received as they pass.

use std::{
    io,
    mem::{size_of, zeroed},
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{frame::ETHER_TAG, netns::NetNs};

/// How long a frame that should arrive may take.
pub const ARRIVAL: Duration = Duration::from_secs(5);
/// How long nothing has to arrive for a device to be taken as quiet.
pub const QUIET: Duration = Duration::from_millis(50);

const LARGEST: usize = 1 << 17;
const RECEIVE_BUFFER: libc::c_int = 32 << 20;

/// A frame that passed a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The frame; a tag that the kernel took off is back in its place.
    pub bytes: Vec<u8>,
    /// Whether the device sent it rather than received it.
    pub outgoing: bool,
    /// Whether its checksums are still to be filled in, as between virtual devices with offloads.
    pub checksum_pending: bool,
}

/// Which frames a [`Wire`] sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the device receives.
    In,
    /// What the device sends as well.
    Both,
}

/// An `AF_PACKET` socket on one device.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    device: String,
}

impl Wire {
    /// Listens on `device` of `netns` from now on, and can send there.
    pub fn open(netns: &NetNs, device: &str, direction: Direction) -> Result<Self> {
        let ifindex = i32::try_from(netns.ifindex(device)?)?;
        let socket = netns.enter(|| packet_socket(ifindex, direction))?;
        Ok(Self { socket, device: device.to_owned() })
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        // SAFETY: the socket is open, and the pointer and length are those of one slice.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        ensure!(
            usize::try_from(sent).is_ok_and(|sent| sent == frame.len()),
            "sending {} bytes on {}: {}",
            frame.len(),
            self.device,
            io::Error::last_os_error()
        );
        Ok(())
    }

    /// Waits for the first frame that `wanted` accepts, at most [`ARRIVAL`], and passes over the others.
    pub fn expect(&self, what: &str, mut wanted: impl FnMut(&Received) -> bool) -> Result<Received> {
        let deadline = Instant::now() + ARRIVAL;
        while let Some(frame) = self.next(deadline)? {
            if wanted(&frame) {
                return Ok(frame);
            }
        }
        bail!("{what} did not arrive on {} within {ARRIVAL:?}", self.device)
    }

    /// All frames that `wanted` accepts, up to and with the first that `last` accepts (waited for at
    /// most [`ARRIVAL`]), and those that still come before the device is quiet.
    pub fn collect_to(
        &self,
        mut last: impl FnMut(&Received) -> bool,
        mut wanted: impl FnMut(&Received) -> bool,
    ) -> Result<Vec<Received>> {
        let mut seen = Vec::new();
        self.expect("the last frame", |frame| {
            if wanted(frame) {
                seen.push(frame.clone());
            }
            last(frame)
        })?;
        seen.extend(self.collect(wanted)?);
        Ok(seen)
    }

    /// All frames that `wanted` accepts, until none of those has come for [`QUIET`].
    pub fn collect(&self, mut wanted: impl FnMut(&Received) -> bool) -> Result<Vec<Received>> {
        let mut seen = Vec::new();
        let mut deadline = Instant::now() + QUIET;
        while let Some(frame) = self.next(deadline)? {
            if wanted(&frame) {
                seen.push(frame);
                deadline = Instant::now() + QUIET;
            }
        }
        Ok(seen)
    }

    fn next(&self, deadline: Instant) -> Result<Option<Received>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout =
                PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
            let mut waiting = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waiting, timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => {
                    return receive(&self.socket).with_context(|| format!("on {}", self.device)).map(Some);
                }
                Err(error) => return Err(error).with_context(|| format!("waiting on {}", self.device)),
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }
}

fn packet_socket(ifindex: i32, direction: Direction) -> Result<OwnedFd> {
    // SAFETY: makes a descriptor and touches no memory.
    let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    ensure!(raw >= 0, "a packet socket: {}", io::Error::last_os_error());
    // SAFETY: the descriptor was just made, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    set(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER)?;
    if direction == Direction::In {
        set(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
    }
    // SAFETY: all zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET)?;
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL)?.to_be();
    address.sll_ifindex = ifindex;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>())?;
    // SAFETY: the pointer is to a local of the size it says.
    let code = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    ensure!(code == 0, "binding a packet socket: {}", io::Error::last_os_error());
    Ok(socket)
}

fn set(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> Result<()> {
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>())?;
    // SAFETY: the pointer is to a local of the size it says.
    let code =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    ensure!(code == 0, "socket option {option}: {}", io::Error::last_os_error());
    Ok(())
}

fn receive(socket: &OwnedFd) -> Result<Received> {
    let mut bytes = vec![0_u8; LARGEST];
    let mut control = [0_u64; 16];
    // SAFETY: all zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all zero bytes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = (&raw mut address).cast();
    message.msg_namelen = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>())?;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: every pointer in the message is to a local of the size it says, which outlives the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    bytes.truncate(length);
    let mut received =
        Received { bytes, outgoing: address.sll_pkttype == libc::PACKET_OUTGOING, checksum_pending: false };
    // SAFETY: the kernel has filled in the control buffer of this message, which is still there.
    if let Some(extra) = unsafe { auxiliary(&message) } {
        received.checksum_pending = extra.tp_status & libc::TP_STATUS_CSUMNOTREADY != 0;
        if extra.tp_status & libc::TP_STATUS_VLAN_VALID != 0 && length >= 12 {
            let stated = extra.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
            let protocol = if stated { extra.tp_vlan_tpid } else { ETHER_TAG };
            let tag = [protocol.to_be_bytes(), extra.tp_vlan_tci.to_be_bytes()].concat();
            received.bytes.splice(12..12, tag);
        }
    }
    Ok(received)
}

/// What the kernel says about a frame besides its bytes.
///
/// # Safety
///
/// `message` has to be as `recvmsg` left it, its control buffer still in place and aligned for a `cmsghdr`.
unsafe fn auxiliary(message: &libc::msghdr) -> Option<libc::tpacket_auxdata> {
    // SAFETY: the caller vouches for the message.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: the header is null or within the control buffer.
    let header_ref = unsafe { header.as_ref() }?;
    if (header_ref.cmsg_level, header_ref.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: a message of this type holds a tpacket_auxdata; it may be unaligned.
    Some(unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() })
}
