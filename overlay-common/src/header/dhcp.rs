//! DHCP (RFC 2131), as far as a lease tells which station has an address.

use network_types::ip::IpProto;

use super::{ipv4, udp};
use crate::{MacAddr, OverlayAddr};

/// Bytes of a message up to its options, the magic cookie included.
pub const LEN: usize = 240;

/// Bytes of the headers in front of it, IPv4 and UDP.
pub const OFFSET: usize = ipv4::LEN + udp::LEN;

/// Of the flags and the offset of a fragment (RFC 791, section 3.1).
const MORE_OR_OFFSET: u16 = 0x3fff;
const SERVER_PORT: u32 = 67;
const CLIENT_PORT: u32 = 68;
const BOOT_REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const MAGIC: [u8; 4] = [99, 130, 83, 99];

const PAD: u8 = 0;
const END: u8 = 255;
const MESSAGE_TYPE: u8 = 53;
const ACK: u8 = 5;

/// Whether an IPv4 packet, of which these are the first bytes, is UDP from a server to a client, whole and without
/// IPv4 options.
#[inline(always)]
#[must_use]
pub const fn may_be<const N: usize>(packet: &[u8; N]) -> bool {
    let is_whole = u16::from_be_bytes([packet[6], packet[7]]) & MORE_OR_OFFSET == 0;
    let ports = [packet[20], packet[21], packet[22], packet[23]];
    packet[0] == 0x45
        && packet[9] == IpProto::Udp as u8
        && is_whole
        && u32::from_be_bytes(ports) == SERVER_PORT << 16 | CLIENT_PORT
}

/// The address that a server gives to a client: the fields `yiaddr` and `chaddr`. Only an acknowledgement does so for
/// good, which [`next`] finds out.
#[inline(always)]
#[must_use]
pub fn lease(message: &[u8; LEN]) -> Option<(OverlayAddr, MacAddr)> {
    let [op, hardware, len, ..] = *message;
    let [.., m, n, o, p] = *message;
    if op != BOOT_REPLY || hardware != ETHERNET || len != 6 || [m, n, o, p] != MAGIC {
        return None;
    }
    let address = OverlayAddr::from_ipv4([message[16], message[17], message[18], message[19]])?;
    let [a, b, c, d, e, f] = [28, 29, 30, 31, 32, 33].map(|at| message[at]);
    let mac = MacAddr::new([a, b, c, d, e, f]);
    mac.is_station().then_some((address, mac))
}

/// What an option says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next one is so many bytes on.
    Skip(usize),
    /// The message is an acknowledgement.
    Ack,
    /// The message is none, or cut short.
    Other,
}

/// Reads an option from its first three bytes: code, length, first byte of its value (RFC 2132, section 2).
#[inline(always)]
#[must_use]
pub const fn next([code, len, value]: [u8; 3]) -> Step {
    match (code, len, value) {
        (PAD, ..) => Step::Skip(1),
        (MESSAGE_TYPE, 1, ACK) => Step::Ack,
        (MESSAGE_TYPE | END, ..) => Step::Other,
        (_, len, _) => Step::Skip(2 + len as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> [u8; LEN] {
        let mut bytes = [0; LEN];
        (bytes[0], bytes[1], bytes[2]) = (2, 1, 6);
        bytes[16..20].copy_from_slice(&[10, 1, 0, 7]);
        bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
        bytes[236..].copy_from_slice(&MAGIC);
        bytes
    }

    #[test]
    fn a_reply_says_who_gets_what() {
        let expected = (OverlayAddr::from_ipv4([10, 1, 0, 7]).unwrap(), MacAddr::new([2, 0, 0, 0, 0, 7]));
        assert_eq!(lease(&message()), Some(expected));
    }

    #[test]
    fn only_whole_udp_from_server_to_client_may_be() {
        let mut packet = [0; OFFSET];
        (packet[0], packet[9], packet[21], packet[23]) = (0x45, 17, 67, 68);
        assert!(may_be(&packet));
        for (at, value) in
            [(0, 0x46), (0, 0x65), (9, 6), (6, 0x20), (7, 1), (20, 1), (21, 68), (22, 1), (23, 67)]
        {
            let mut other = packet;
            other[at] = value;
            assert!(!may_be(&other), "byte {at}");
        }
    }

    #[test]
    fn what_is_not_right_gives_nothing() {
        for (at, value) in [(0, 1), (1, 6), (2, 16), (16, 0), (16, 224), (28, 3), (236, 98), (239, 0)] {
            let mut bytes = message();
            bytes[at] = value;
            assert_eq!(lease(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn options() {
        assert_eq!(next([53, 1, 5]), Step::Ack);
        assert_eq!(next([53, 1, 2]), Step::Other);
        assert_eq!(next([53, 2, 5]), Step::Other);
        assert_eq!(next([255, 0, 0]), Step::Other);
        assert_eq!(next([0, 53, 1]), Step::Skip(1));
        assert_eq!(next([54, 4, 10]), Step::Skip(6));
        assert_eq!(next([54, 255, 0]), Step::Skip(257));
    }
}
