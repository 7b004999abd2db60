//! Handshakes of TCP, with options.

use std::net::IpAddr;

use anyhow::Result;

use crate::frame::{Ethernet, IP_TCP, Ipv4, Ipv6, Mac, Network, Tcp};

/// The flags of the first segment of a handshake.
pub const SYN: u16 = 0x02;
/// Those of the second.
pub const SYN_ACK: u16 = 0x12;

/// A frame over IPv4 from one station to another, with those flags and options, of which there have to be whole words.
#[must_use]
pub fn frame4(macs: (Mac, Mac), flags: u16, options: &[u8]) -> Vec<u8> {
    frame(&Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_TCP), macs, flags, options)
}

/// The same over IPv6.
pub fn frame6(macs: (Mac, Mac), flags: u16, options: &[u8]) -> Result<Vec<u8>> {
    Ok(frame(&Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, IP_TCP), macs, flags, options))
}

fn frame<N: Network>(ip: &N, macs: (Mac, Mac), flags: u16, options: &[u8]) -> Vec<u8> {
    let segment = segment(ip.addresses(), flags, options, b"data");
    Ethernet::new(macs.0, macs.1, N::ETHER_TYPE).frame(&ip.packet(&segment))
}

fn segment(addresses: (IpAddr, IpAddr), flags: u16, options: &[u8], data: &[u8]) -> Vec<u8> {
    let words = u16::try_from(5 + options.len() / 4).expect("as many options as a header holds");
    let tcp = Tcp { offset_flags: words << 12 | flags, ..Tcp::new(1000, 80) };
    tcp.segment(addresses, &[options, data].concat())
}

/// The MSS option.
#[must_use]
pub fn mss(mss: u16) -> Vec<u8> {
    [&[2, 4], &mss.to_be_bytes()[..]].concat()
}

/// What Linux puts into a SYN, with the MSS at the front.
#[must_use]
pub fn of_linux(size: u16) -> Vec<u8> {
    [&mss(size)[..], &[4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7]].concat()
}
