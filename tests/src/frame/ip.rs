//! IPv4 (RFC 791) and IPv6 (RFC 8200).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context as _, Result, ensure};
use overlay_common::Family;

use super::{ETHER_IPV4, ETHER_IPV6, Reader, checksum, length};

/// What an IPv4 and an IPv6 header have in common.
pub trait Network: Clone + fmt::Debug + Sized {
    /// Its `EtherType`.
    const ETHER_TYPE: u16;
    /// Its family.
    const FAMILY: Family;
    /// Its length, without options.
    const LEN: usize;
    /// The part of it that its length field counts besides the payload.
    const COUNTED: usize;

    /// A plain header.
    fn between(source: IpAddr, destination: IpAddr, protocol: u8) -> Result<Self>;

    /// Source and destination.
    fn addresses(&self) -> (IpAddr, IpAddr);

    /// The protocol of the payload.
    fn protocol(&self) -> u8;

    /// Replaces the source by one of the same family.
    fn set_source(&mut self, source: IpAddr) -> Result<()>;

    /// Replaces the total length of IPv4, and the payload length of IPv6.
    fn set_length(&mut self, length: u16);

    /// Whether a router takes it far, whole, and for what it is.
    fn check_sent(&self) -> Result<()>;

    /// Takes from `other` what a sender may choose for each flow.
    fn choose_as(&mut self, other: &Self);

    /// The packet that carries `payload`.
    fn packet(&self, payload: &[u8]) -> Vec<u8>;

    /// Reads a packet, and returns its payload without what follows the packet.
    fn parse(packet: &[u8]) -> Result<(Self, &[u8])>;
}

/// An IPv4 header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// From.
    pub source: Ipv4Addr,
    /// To.
    pub destination: Ipv4Addr,
    /// The protocol of the payload.
    pub protocol: u8,
    /// The DSCP and ECN bits.
    pub tos: u8,
    /// How many more hops.
    pub ttl: u8,
    /// The identification.
    pub id: u16,
    /// Three flags (0x4000 don't fragment, 0x2000 more fragments) and the offset in units of 8 bytes.
    pub fragment: u16,
    /// Options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// Version and header length, where they should be wrong.
    pub version_length: Option<u8>,
    /// The total length, where it should be wrong.
    pub total_length: Option<u16>,
    /// The header checksum, where it should be wrong.
    pub checksum: Option<u16>,
}

impl Ipv4 {
    /// A plain header: TTL 64, don't fragment.
    #[must_use]
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Self {
        Self {
            source,
            destination,
            protocol,
            tos: 0,
            ttl: 64,
            id: 0,
            fragment: 0x4000,
            options: Vec::new(),
            version_length: None,
            total_length: None,
            checksum: None,
        }
    }

    fn header_len(&self) -> usize {
        20 + self.options.len()
    }
}

impl Network for Ipv4 {
    const ETHER_TYPE: u16 = ETHER_IPV4;
    const FAMILY: Family = Family::Ipv4;
    const LEN: usize = 20;
    const COUNTED: usize = 20;

    fn between(source: IpAddr, destination: IpAddr, protocol: u8) -> Result<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Ok(Self::new(source, destination, protocol)),
            _ => anyhow::bail!("{source} and {destination} are not both IPv4"),
        }
    }

    fn addresses(&self) -> (IpAddr, IpAddr) {
        (self.source.into(), self.destination.into())
    }

    fn protocol(&self) -> u8 {
        self.protocol
    }

    fn set_source(&mut self, source: IpAddr) -> Result<()> {
        let IpAddr::V4(source) = source else { anyhow::bail!("{source} is not IPv4") };
        self.source = source;
        Ok(())
    }

    fn set_length(&mut self, length: u16) {
        self.total_length = Some(length);
    }

    fn check_sent(&self) -> Result<()> {
        ensure!(self.ttl > 1 && self.options.is_empty(), "{self:?}");
        // An identification of 0 is right only where nobody may cut the packet up.
        ensure!(self.id != 0 || self.fragment & 0x4000 != 0, "{self:?}");
        Ok(())
    }

    fn choose_as(&mut self, _: &Self) {}

    fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let words = u8::try_from(self.header_len() / 4).unwrap_or(0);
        let total = length(self.header_len() + payload.len());
        let mut bytes = vec![self.version_length.unwrap_or(0x40 | words), self.tos];
        bytes.extend(self.total_length.unwrap_or(total).to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.options);
        let sum = self.checksum.unwrap_or_else(|| checksum(&[&bytes]));
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn parse(packet: &[u8]) -> Result<(Self, &[u8])> {
        let mut reader = Reader(packet);
        let version_length = reader.u8("IPv4")?;
        ensure!(version_length >> 4 == 4, "IPv4: version {}", version_length >> 4);
        let header_len = usize::from(version_length & 15) * 4;
        let tos = reader.u8("IPv4")?;
        let total_length = reader.u16("IPv4")?;
        let id = reader.u16("IPv4")?;
        let fragment = reader.u16("IPv4")?;
        let [ttl, protocol] = reader.array("IPv4")?;
        let checksum = reader.u16("IPv4")?;
        let source = reader.array::<4>("IPv4")?.into();
        let destination = reader.array::<4>("IPv4")?.into();
        let options_len = header_len.checked_sub(20).context("IPv4: header length")?;
        let options = reader.take(options_len, "IPv4 options")?.to_vec();
        let payload_len = usize::from(total_length).checked_sub(header_len).context("IPv4: total length")?;
        let payload = reader.take(payload_len, "IPv4 payload")?;
        let header = Self {
            source,
            destination,
            protocol,
            tos,
            ttl,
            id,
            fragment,
            options,
            version_length: Some(version_length),
            total_length: Some(total_length),
            checksum: Some(checksum),
        };
        Ok((header, payload))
    }
}

/// An IPv6 header, without extension headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// From.
    pub source: Ipv6Addr,
    /// To.
    pub destination: Ipv6Addr,
    /// The protocol of the payload.
    pub next_header: u8,
    /// The DSCP and ECN bits.
    pub traffic_class: u8,
    /// The flow label, 20 bits.
    pub flow_label: u32,
    /// How many more hops.
    pub hop_limit: u8,
    /// The payload length, where it should be wrong.
    pub payload_length: Option<u16>,
}

impl Ipv6 {
    /// A plain header: hop limit 64.
    #[must_use]
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8) -> Self {
        Self {
            source,
            destination,
            next_header,
            traffic_class: 0,
            flow_label: 0,
            hop_limit: 64,
            payload_length: None,
        }
    }
}

impl Network for Ipv6 {
    const ETHER_TYPE: u16 = ETHER_IPV6;
    const FAMILY: Family = Family::Ipv6;
    const LEN: usize = 40;
    const COUNTED: usize = 0;

    fn between(source: IpAddr, destination: IpAddr, protocol: u8) -> Result<Self> {
        match (source, destination) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => Ok(Self::new(source, destination, protocol)),
            _ => anyhow::bail!("{source} and {destination} are not both IPv6"),
        }
    }

    fn addresses(&self) -> (IpAddr, IpAddr) {
        (self.source.into(), self.destination.into())
    }

    fn protocol(&self) -> u8 {
        self.next_header
    }

    fn set_source(&mut self, source: IpAddr) -> Result<()> {
        let IpAddr::V6(source) = source else { anyhow::bail!("{source} is not IPv6") };
        self.source = source;
        Ok(())
    }

    fn set_length(&mut self, length: u16) {
        self.payload_length = Some(length);
    }

    fn check_sent(&self) -> Result<()> {
        ensure!(self.hop_limit > 1 && self.flow_label != 0, "{self:?}");
        Ok(())
    }

    fn choose_as(&mut self, other: &Self) {
        self.flow_label = other.flow_label;
    }

    fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | (self.flow_label & 0xf_ffff);
        let mut bytes = first.to_be_bytes().to_vec();
        bytes.extend(self.payload_length.unwrap_or(length(payload.len())).to_be_bytes());
        bytes.extend([self.next_header, self.hop_limit]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(payload);
        bytes
    }

    fn parse(packet: &[u8]) -> Result<(Self, &[u8])> {
        let mut reader = Reader(packet);
        let first = reader.u32("IPv6")?;
        ensure!(first >> 28 == 6, "IPv6: version {}", first >> 28);
        let payload_length = reader.u16("IPv6")?;
        let [next_header, hop_limit] = reader.array("IPv6")?;
        let source = reader.array::<16>("IPv6")?.into();
        let destination = reader.array::<16>("IPv6")?.into();
        let payload = reader.take(payload_length.into(), "IPv6 payload")?;
        let header = Self {
            source,
            destination,
            next_header,
            traffic_class: u8::try_from(first >> 20 & 0xff)?,
            flow_label: first & 0xf_ffff,
            hop_limit,
            payload_length: Some(payload_length),
        };
        Ok((header, payload))
    }
}
