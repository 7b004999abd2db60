//! Raw frames: built field by field, wrong on request, and read back.
//!
//! A length or checksum that is `None` is written correctly. What is parsed carries the values found, so
//! that building it again gives the same bytes.

mod arp;
mod ip;
mod nd;
mod transport;
mod verify;
mod vxlan;

use std::fmt;

use anyhow::{Context as _, Result};

pub use self::{
    arp::Arp,
    ip::{Ipv4, Ipv6, Network},
    nd::Nd,
    transport::{Echo, Tcp, TooBig, Udp, icmp6},
    verify::verify,
    vxlan::{Outer, Vxlan},
};

/// The `EtherType` of IPv4.
pub const ETHER_IPV4: u16 = 0x0800;
/// The `EtherType` of ARP.
pub const ETHER_ARP: u16 = 0x0806;
/// The `EtherType` of an 802.1Q tag.
pub const ETHER_TAG: u16 = 0x8100;
/// The `EtherType` of IPv6.
pub const ETHER_IPV6: u16 = 0x86dd;
/// An `EtherType` for local experiments (IEEE 802 9.2.3): nothing else on the machine speaks it.
pub const ETHER_EXPERIMENT: u16 = 0x88b5;
/// IP protocol number of ICMP.
pub const IP_ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const IP_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const IP_UDP: u8 = 17;
/// IP protocol number of `ICMPv6`.
pub const IP_ICMP6: u8 = 58;
/// The UDP port of VXLAN.
pub const VXLAN_PORT: u16 = 4789;

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everyone.
    pub const BROADCAST: Self = Self([0xff; 6]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

/// An Ethernet header, with an 802.1Q tag on request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// To.
    pub destination: Mac,
    /// From.
    pub source: Mac,
    /// The control information of an 802.1Q tag: priority and VLAN id.
    pub tag: Option<u16>,
    /// What follows.
    pub ether_type: u16,
}

impl Ethernet {
    /// A header without a tag.
    #[must_use]
    pub fn new(source: Mac, destination: Mac, ether_type: u16) -> Self {
        Self { destination, source, tag: None, ether_type }
    }

    /// The frame that carries `payload`.
    #[must_use]
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(18 + payload.len());
        bytes.extend(self.destination.0);
        bytes.extend(self.source.0);
        if let Some(tag) = self.tag {
            bytes.extend(ETHER_TAG.to_be_bytes());
            bytes.extend(tag.to_be_bytes());
        }
        bytes.extend(self.ether_type.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// Reads the header of a frame, and returns what follows it.
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8])> {
        let mut reader = Reader(frame);
        let destination = Mac(reader.array("Ethernet")?);
        let source = Mac(reader.array("Ethernet")?);
        let mut ether_type = reader.u16("Ethernet")?;
        let mut tag = None;
        if ether_type == ETHER_TAG {
            tag = Some(reader.u16("802.1Q")?);
            ether_type = reader.u16("802.1Q")?;
        }
        Ok((Self { destination, source, tag, ether_type }, reader.0))
    }
}

/// Takes fields off the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, header: &str) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).with_context(|| format!("{header}: cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, header: &str) -> Result<[u8; N]> {
        let taken = self.take(N, header)?;
        taken.try_into().with_context(|| format!("{header}: cut short"))
    }

    fn u8(&mut self, header: &str) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array(header)?))
    }

    fn u16(&mut self, header: &str) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array(header)?))
    }

    fn u32(&mut self, header: &str) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array(header)?))
    }
}

/// The Internet checksum of `parts` one after the other (RFC 1071); only the last may have an odd length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

/// The length of `part`, as a 16-bit field carries it: modulo 65536.
#[expect(clippy::cast_possible_truncation, reason = "the field has no more bits")]
fn length(part: usize) -> u16 {
    part as u16
}
