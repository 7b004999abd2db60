//! Multicast groups inside segments: who asks, who listens, and what is sent to one.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    time::Duration,
};

use anyhow::Result;
use overlay_common::Family;

use crate::{
    frame::{ETHER_IPV4, ETHER_IPV6, Ethernet, IP_UDP, Ipv4, Ipv6, Mac, Network as _, Udp},
    topology::Workload,
};

/// The UDP port that what is sent to the group is for.
const PORT: u16 = 5999;

/// A group of the overlay, and the MAC address that follows from it.
#[must_use]
pub fn group(family: Family) -> (IpAddr, Mac) {
    match family {
        Family::Ipv4 => ([239, 7, 7, 7].into(), Mac([1, 0, 0x5e, 7, 7, 7])),
        Family::Ipv6 => ([0xff05, 0, 0, 0, 0, 0, 7, 7].into(), Mac([0x33, 0x33, 0, 7, 0, 7])),
    }
}

/// The Internet checksum.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let once = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (!((once & 0xffff) + (once >> 16))).to_be_bytes();
    [high, low]
}

/// A frame with an IGMP message from `source`, the checksum of which is filled in.
#[must_use]
pub fn igmp(from: Mac, source: Ipv4Addr, to: (Mac, Ipv4Addr), mut message: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum);
    let mut ip = Ipv4::new(source, to.1, 2);
    (ip.ttl, ip.options) = (1, vec![0x94, 4, 0, 0]);
    Ethernet::new(from, to.0, ETHER_IPV4).frame(&ip.packet(&message))
}

/// A frame with an MLD message behind a router alert, the checksum of which is filled in.
///
/// # Panics
///
/// If the message has more than 255 bytes.
#[must_use]
pub fn mld(from: Mac, source: Ipv6Addr, to: (Mac, Ipv6Addr), mut message: Vec<u8>) -> Vec<u8> {
    let len = u8::try_from(message.len()).expect("a short message");
    let sum = checksum(&[&source.octets(), &to.1.octets(), &[0, len, 0, 58], &message]);
    message[2..4].copy_from_slice(&sum);
    let mut packet = vec![0x60, 0, 0, 0, 0, len + 8, 0, 1];
    packet.extend([source.octets(), to.1.octets()].concat());
    packet.extend([58, 0, 5, 2, 0, 0, 1, 0]);
    packet.extend(message);
    Ethernet::new(from, to.0, ETHER_IPV6).frame(&packet)
}

/// What a querier sends that wants answers within a tenth of a second.
#[must_use]
pub fn query(family: Family, from: &Workload) -> Vec<u8> {
    match family {
        Family::Ipv4 => {
            let everyone = (Mac([1, 0, 0x5e, 0, 0, 1]), [224, 0, 0, 1].into());
            igmp(from.mac, from.v4, everyone, vec![0x11, 1, 0, 0, 0, 0, 0, 0])
        }
        Family::Ipv6 => {
            let everyone = (Mac([0x33, 0x33, 0, 0, 0, 1]), [0xff02, 0, 0, 0, 0, 0, 0, 1].into());
            let message = [&[130, 0, 0, 0, 0, 100, 0, 0][..], &[0; 16]].concat();
            mld(from.mac, [0xfe80, 0, 0, 0, 0, 0, 0, 1].into(), everyone, message)
        }
    }
}

/// What a querier asks about the group alone, with answers within a second.
#[must_use]
pub fn group_query(family: Family, from: &Workload) -> Vec<u8> {
    let (group, mac) = group(family);
    match group {
        IpAddr::V4(group) => {
            let message = [&[0x11, 10, 0, 0][..], &group.octets()].concat();
            igmp(from.mac, from.v4, (mac, group), message)
        }
        IpAddr::V6(group) => {
            let message = [&[130, 0, 0, 0, 3, 0xe8, 0, 0][..], &group.octets()].concat();
            mld(from.mac, [0xfe80, 0, 0, 0, 0, 0, 0, 1].into(), (mac, group), message)
        }
    }
}

/// A datagram to the group.
#[must_use]
pub fn datagram(family: Family, from: &Workload, number: u8) -> Vec<u8> {
    let (group, mac) = group(family);
    match group {
        IpAddr::V4(group) => {
            let ip = Ipv4::new(from.v4, group, IP_UDP);
            let bytes = Udp::new(PORT, PORT).datagram(ip.addresses(), &[number; 64]);
            Ethernet::new(from.mac, mac, ETHER_IPV4).frame(&ip.packet(&bytes))
        }
        IpAddr::V6(group) => {
            let ip = Ipv6::new(from.v6, group, IP_UDP);
            let bytes = Udp::new(PORT, PORT).datagram(ip.addresses(), &[number; 64]);
            Ethernet::new(from.mac, mac, ETHER_IPV6).frame(&ip.packet(&bytes))
        }
    }
}

/// A socket of a workload that listens to the group.
pub fn listen(workload: &Workload, family: Family) -> Result<UdpSocket> {
    let (group, own) = (group(family).0, workload.v4);
    let index = workload.netns.ifindex(Workload::DEVICE)?;
    workload.netns.enter(|| {
        let socket = UdpSocket::bind((group, PORT))?;
        match group {
            IpAddr::V4(group) => socket.join_multicast_v4(&group, &own)?,
            IpAddr::V6(group) => socket.join_multicast_v6(&group, index)?,
        }
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(socket)
    })
}
