//! Packets that are too big for a tunnel, and what a workload is told about them.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::{
    bench::{REMOTE, STATION},
    frame::{Ethernet, IP_ICMP, IP_ICMP6, IP_UDP, Ipv4, Ipv6, Network, TooBig, Udp},
};

/// From whom to whom the packets are.
pub const V4: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2));
/// The same over IPv6.
pub const V6: (Ipv6Addr, Ipv6Addr) =
    (Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 2));

/// What fits by default: the uplink's MTU less the outer headers over IPv4 and the inner Ethernet header.
pub const ROOM: u32 = 1450;

/// The header of such a packet.
#[must_use]
pub fn ip4(protocol: u8) -> Ipv4 {
    Ipv4::new(V4.0, V4.1, protocol)
}

/// The same over IPv6.
#[must_use]
pub fn ip6(next_header: u8) -> Ipv6 {
    Ipv6::new(V6.0, V6.1, next_header)
}

/// A frame from [`STATION`] to [`REMOTE`] with an IP packet of `len` bytes, `headers` of them the IP header, which carries
/// UDP.
pub fn frame<N: Network>(ip: &N, headers: usize, len: usize) -> Vec<u8> {
    let payload: Vec<u8> = (1..=u8::MAX).cycle().take(len - headers - Udp::LEN).collect();
    let datagram = Udp::new(1000, 2000).datagram(ip.addresses(), &payload);
    Ethernet::new(STATION, REMOTE, N::ETHER_TYPE).frame(&ip.packet(&datagram))
}

/// One over IPv4.
#[must_use]
pub fn frame4(len: usize) -> Vec<u8> {
    frame(&ip4(IP_UDP), 20, len)
}

/// One over IPv6.
#[must_use]
pub fn frame6(len: usize) -> Vec<u8> {
    frame(&ip6(IP_UDP), 40, len)
}

/// The answer to a frame over IPv4: `mtu` bytes would fit.
pub fn answer4(frame: &[u8], mtu: u32) -> Result<Vec<u8>> {
    answer::<Ipv4>(frame, mtu, 548, IP_ICMP)
}

/// The answer to a frame over IPv6.
pub fn answer6(frame: &[u8], mtu: u32) -> Result<Vec<u8>> {
    answer::<Ipv6>(frame, mtu, 1232, IP_ICMP6)
}

fn answer<N: Network>(frame: &[u8], mtu: u32, quoted: usize, protocol: u8) -> Result<Vec<u8>> {
    let (ethernet, packet) = Ethernet::parse(frame)?;
    let (ip, _) = N::parse(packet)?;
    let (source, destination) = ip.addresses();
    let ip = N::between(destination, source, protocol)?;
    let message = TooBig { mtu }.message(ip.addresses(), &packet[..quoted.min(packet.len())]);
    let ethernet = Ethernet::new(ethernet.destination, ethernet.source, N::ETHER_TYPE);
    Ok(ethernet.frame(&ip.packet(&message)))
}
