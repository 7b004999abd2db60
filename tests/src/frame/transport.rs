//! UDP (RFC 768), TCP (RFC 9293) and the echo of ICMP and `ICMPv6` (RFC 792, RFC 4443).

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use super::{IP_ICMP6, IP_TCP, IP_UDP, Reader, checksum, length};

/// The sum over the pseudo header, `segment` and the addresses it travels between.
pub(super) fn pseudo_checksum((source, destination): (IpAddr, IpAddr), protocol: u8, segment: &[u8]) -> u16 {
    let octets = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let tail = [[0, protocol], length(segment.len()).to_be_bytes()].concat();
    checksum(&[&octets(source), &octets(destination), &tail, segment])
}

/// A UDP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udp {
    /// From.
    pub source: u16,
    /// To.
    pub destination: u16,
    /// The length, where it should be wrong.
    pub length: Option<u16>,
    /// The checksum, where it should be wrong or zero.
    pub checksum: Option<u16>,
}

impl Udp {
    /// The length of the header.
    pub const LEN: usize = 8;

    /// A plain header.
    #[must_use]
    pub fn new(source: u16, destination: u16) -> Self {
        Self { source, destination, length: None, checksum: None }
    }

    /// The datagram that carries `payload` between `addresses`.
    #[must_use]
    pub fn datagram(&self, addresses: (IpAddr, IpAddr), payload: &[u8]) -> Vec<u8> {
        let mut bytes = self.source.to_be_bytes().to_vec();
        bytes.extend(self.destination.to_be_bytes());
        let right = length(Self::LEN + payload.len());
        bytes.extend(self.length.unwrap_or(right).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(payload);
        let sum = self.checksum.unwrap_or_else(|| match pseudo_checksum(addresses, IP_UDP, &bytes) {
            0 => 0xffff,
            sum => sum,
        });
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Reads a datagram, and returns its payload.
    pub fn parse(datagram: &[u8]) -> Result<(Self, &[u8])> {
        let mut reader = Reader(datagram);
        let source = reader.u16("UDP")?;
        let destination = reader.u16("UDP")?;
        let stated = reader.u16("UDP")?;
        let checksum = Some(reader.u16("UDP")?);
        let payload_len = usize::from(stated).checked_sub(Self::LEN).context("UDP: length")?;
        let payload = reader.take(payload_len, "UDP payload")?;
        Ok((Self { source, destination, length: Some(stated), checksum }, payload))
    }
}

/// A TCP header without options: enough for a frame that looks like TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// From.
    pub source: u16,
    /// To.
    pub destination: u16,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgement number.
    pub acknowledgement: u32,
    /// Data offset (upper four bits) and flags.
    pub offset_flags: u16,
    /// The checksum, where it should be wrong.
    pub checksum: Option<u16>,
}

impl Tcp {
    /// A segment with ACK and PSH set.
    #[must_use]
    pub fn new(source: u16, destination: u16) -> Self {
        Self { source, destination, sequence: 1, acknowledgement: 1, offset_flags: 0x5018, checksum: None }
    }

    /// The segment that carries `payload` between `addresses`.
    #[must_use]
    pub fn segment(&self, addresses: (IpAddr, IpAddr), payload: &[u8]) -> Vec<u8> {
        let mut bytes = self.source.to_be_bytes().to_vec();
        bytes.extend(self.destination.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledgement.to_be_bytes());
        bytes.extend(self.offset_flags.to_be_bytes());
        bytes.extend([0xff, 0xff, 0, 0, 0, 0]);
        bytes.extend(payload);
        let sum = self.checksum.unwrap_or_else(|| pseudo_checksum(addresses, IP_TCP, &bytes));
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// An echo request or reply of ICMP or `ICMPv6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Whether it answers.
    pub reply: bool,
    /// Whose.
    pub id: u16,
    /// Which.
    pub sequence: u16,
}

impl Echo {
    /// The message between `addresses`, of the family's protocol.
    #[must_use]
    pub fn message(&self, addresses: (IpAddr, IpAddr), payload: &[u8]) -> Vec<u8> {
        let kind = match (addresses.0.is_ipv4(), self.reply) {
            (true, false) => 8,
            (true, true) => 0,
            (false, false) => 128,
            (false, true) => 129,
        };
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(payload);
        let sum = if addresses.0.is_ipv4() {
            checksum(&[&bytes])
        } else {
            pseudo_checksum(addresses, IP_ICMP6, &bytes)
        };
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// What says that a packet was too big: ICMP type 3 code 4, or `ICMPv6` packet too big.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooBig {
    /// What would have fitted.
    pub mtu: u32,
}

impl TooBig {
    /// The message between `addresses`, of the family's protocol, that quotes `quote`.
    #[must_use]
    pub fn message(&self, addresses: (IpAddr, IpAddr), quote: &[u8]) -> Vec<u8> {
        let head: [u8; 4] = if addresses.0.is_ipv4() { [3, 4, 0, 0] } else { [2, 0, 0, 0] };
        let mut bytes = head.to_vec();
        bytes.extend(self.mtu.to_be_bytes());
        bytes.extend(quote);
        let sum = if addresses.0.is_ipv4() {
            checksum(&[&bytes])
        } else {
            pseudo_checksum(addresses, IP_ICMP6, &bytes)
        };
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// A message of `ICMPv6` between `addresses`, with its checksum, which `message` leaves room for.
#[must_use]
pub fn icmp6(addresses: (IpAddr, IpAddr), mut message: Vec<u8>) -> Vec<u8> {
    let sum = pseudo_checksum(addresses, IP_ICMP6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}
