//! A socket for echo requests to one address.

use std::{
    io,
    mem::size_of,
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    process,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, recv,
        send, socket,
    },
};
use overlay_common::{Family, UnderlayAddr};

/// `IP_PMTUDISC_PROBE` and `IPV6_PMTUDISC_PROBE`: packets must not be fragmented, whatever the kernel believes of the path.
const PROBE: libc::c_int = 3;
/// Of `struct sock_extended_err`: the error was in an ICMP message.
const ICMP: [u8; 2] = [2, 3];
/// Bytes of an ICMP header.
const ICMP_LEN: usize = 8;

pub(super) struct Echo {
    socket: OwnedFd,
    family: Family,
    id: u16,
    sequence: u16,
    is_told: bool,
}

impl Echo {
    /// One of `number` that this process has.
    pub(super) fn open(local: UnderlayAddr, remote: UnderlayAddr, number: usize) -> io::Result<Self> {
        let family = remote.family();
        let (domain, protocol) = match family {
            Family::Ipv4 => (AddressFamily::Inet, SockProtocol::Icmp),
            Family::Ipv6 => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(domain, SockType::Raw, flags, protocol)?;
        let (level, discover, errors) = match family {
            Family::Ipv4 => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_RECVERR),
            Family::Ipv6 => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_RECVERR),
        };
        set(&socket, level, discover, PROBE)?;
        set(&socket, level, errors, 1)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(local.ip(), 0)))?;
        connect(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(remote.ip(), 0)))?;
        #[expect(clippy::cast_possible_truncation, reason = "any number does that others hardly have")]
        let id = (process::id() as u16).wrapping_mul(64).wrapping_add(number as u16);
        Ok(Self { socket, family, id, sequence: 0, is_told: false })
    }

    /// Sends an IP packet of so many bytes. One that the kernel refuses is one that is not answered.
    pub(super) fn send(&mut self, size: u16) {
        self.hear_errors();
        self.sequence = self.sequence.wrapping_add(1);
        let ip = match self.family {
            Family::Ipv4 => 20,
            Family::Ipv6 => 40,
        };
        let mut packet = vec![0; usize::from(size).saturating_sub(ip).max(ICMP_LEN)];
        packet[0] = self.types().0;
        packet[4..6].copy_from_slice(&self.id.to_be_bytes());
        packet[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        if self.family == Family::Ipv4 {
            // Of zeros but for these words; over IPv6 the kernel fills it in.
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        let _ = send(self.socket.as_raw_fd(), &packet, MsgFlags::empty());
    }

    /// Whether the last request was answered.
    pub(super) fn is_answered(&mut self) -> bool {
        self.hear_errors();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) if self.is_answer(&buffer[..length]) => return true,
                Ok(_) | Err(nix::errno::Errno::EINTR | nix::errno::Errno::EMSGSIZE) => {}
                Err(_) => return false,
            }
        }
    }

    fn is_answer(&self, packet: &[u8]) -> bool {
        // Over IPv4 the IP header comes along.
        let start = match (self.family, packet.first()) {
            (Family::Ipv4, Some(first)) => usize::from(first & 0xf) * 4,
            _ => 0,
        };
        let Some(icmp) = packet.get(start..) else { return false };
        icmp.len() >= ICMP_LEN
            && icmp[0] == self.types().1
            && icmp[4..6] == self.id.to_be_bytes()
            && icmp[6..8] == self.sequence.to_be_bytes()
    }

    /// Whether somebody on the way said that a packet was too big for it.
    pub(super) const fn is_told(&self) -> bool {
        self.is_told
    }

    /// The types of request and reply.
    const fn types(&self) -> (u8, u8) {
        match self.family {
            Family::Ipv4 => (8, 0),
            Family::Ipv6 => (128, 129),
        }
    }

    /// Takes note of ICMP messages about what was sent, which would be errors of later calls otherwise.
    fn hear_errors(&mut self) {
        let mut control = [0u64; 64];
        loop {
            // SAFETY: zero is a value of every field.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of::<[u64; 64]>();
            let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
            // SAFETY: the message points to a buffer that is as long as said, and outlives the call.
            let code = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, flags) };
            if code < 0 {
                return;
            }
            // SAFETY: the message is as the kernel left it, its buffer in place and aligned.
            let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message).as_ref() };
            if let Some(header) = header {
                // SAFETY: what comes out of this queue is a `sock_extended_err`, which may be unaligned.
                let error =
                    unsafe { libc::CMSG_DATA(header).cast::<libc::sock_extended_err>().read_unaligned() };
                let is_too_big = i32::try_from(error.ee_errno) == Ok(libc::EMSGSIZE);
                self.is_told |= is_too_big && ICMP.contains(&error.ee_origin);
            }
        }
    }
}

/// Waits until something comes for one of them, or the time is over.
pub(super) fn wait(sockets: &[&Echo], time: Duration) {
    let mut all: Vec<PollFd<'_>> =
        sockets.iter().map(|echo| PollFd::new(echo.socket.as_fd(), PollFlags::POLLIN)).collect();
    let time = PollTimeout::try_from(time.max(Duration::from_millis(1))).unwrap_or(PollTimeout::ZERO);
    let _ = poll(&mut all, time);
}

fn set(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    // SAFETY: the socket is open, and the pointer is to a local of the size it says.
    let code =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[expect(clippy::cast_possible_truncation, reason = "it was folded to 16 bits")]
    let sum = sum as u16;
    !sum
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn checksums_are_as_in_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn the_own_host_answers() -> io::Result<()> {
        let localhost = UnderlayAddr::from_ipv4([127, 0, 0, 1]);
        let mut echo = Echo::open(localhost, localhost, 0)?;
        echo.send(1500);
        let end = Instant::now() + Duration::from_secs(5);
        while !echo.is_answered() {
            assert!(Instant::now() < end, "no answer");
            wait(&[&echo], Duration::from_millis(10));
        }
        assert!(!echo.is_told());
        Ok(())
    }
}
