//! VXLAN (RFC 7348), alone and with everything around it.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use super::{Ethernet, IP_UDP, Mac, Network, Reader, Udp, VXLAN_PORT};

/// A VXLAN header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The first byte; 0x08 says that the VNI is valid.
    pub flags: u8,
    /// The three reserved bytes after the flags.
    pub reserved: [u8; 3],
    /// The segment, 24 bits.
    pub vni: u32,
    /// The reserved last byte.
    pub reserved_last: u8,
}

impl Vxlan {
    /// The length of the header.
    pub const LEN: usize = 8;

    /// A header as RFC 7348 has it.
    #[must_use]
    pub fn new(vni: u32) -> Self {
        Self { flags: 0x08, reserved: [0; 3], vni, reserved_last: 0 }
    }

    /// The header, and `inner` after it.
    #[must_use]
    pub fn packet(&self, inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![self.flags];
        bytes.extend(self.reserved);
        bytes.extend((self.vni << 8 | u32::from(self.reserved_last)).to_be_bytes());
        bytes.extend(inner);
        bytes
    }

    /// Reads a header, and returns the frame after it.
    pub fn parse(packet: &[u8]) -> Result<(Self, &[u8])> {
        let mut reader = Reader(packet);
        let flags = reader.u8("VXLAN")?;
        let reserved = reader.array("VXLAN")?;
        let last = reader.u32("VXLAN")?;
        let [.., reserved_last] = last.to_be_bytes();
        Ok((Self { flags, reserved, vni: last >> 8, reserved_last }, reader.0))
    }
}

/// Everything around an inner frame, from the Ethernet header of the underlay to the VXLAN header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outer<N> {
    /// The Ethernet header.
    pub ethernet: Ethernet,
    /// The IPv4 or IPv6 header.
    pub ip: N,
    /// The UDP header.
    pub udp: Udp,
    /// The VXLAN header.
    pub vxlan: Vxlan,
}

impl<N: Network> Outer<N> {
    /// The length of all of it, without IP options.
    pub const LEN: usize = 14 + N::LEN + Udp::LEN + Vxlan::LEN;

    /// Plain headers from one VTEP to another, without a UDP checksum.
    pub fn new(from: (Mac, impl Into<IpAddr>), to: (Mac, impl Into<IpAddr>), vni: u32) -> Result<Self> {
        let (source, destination) = (from.1.into(), to.1.into());
        let mut udp = Udp::new(0xc001, VXLAN_PORT);
        udp.checksum = Some(0);
        Ok(Self {
            ethernet: Ethernet::new(from.0, to.0, N::ETHER_TYPE),
            ip: N::between(source, destination, IP_UDP)?,
            udp,
            vxlan: Vxlan::new(vni),
        })
    }

    /// The frame that carries `inner`.
    #[must_use]
    pub fn frame(&self, inner: &[u8]) -> Vec<u8> {
        let datagram = self.udp.datagram(self.ip.addresses(), &self.vxlan.packet(inner));
        self.ethernet.frame(&self.ip.packet(&datagram))
    }

    /// Takes from the headers of a frame what a sender may choose for each flow.
    pub fn choose_as(&mut self, frame: &[u8]) -> Result<()> {
        let (_, packet) = Ethernet::parse(frame)?;
        let (ip, datagram) = N::parse(packet)?;
        self.udp.source = Udp::parse(datagram)?.0.source;
        self.ip.choose_as(&ip);
        Ok(())
    }

    /// Reads the headers of a frame, and returns the inner frame.
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8])> {
        let (ethernet, packet) = Ethernet::parse(frame)?;
        ensure!(ethernet.ether_type == N::ETHER_TYPE, "EtherType {:#06x}", ethernet.ether_type);
        let (ip, datagram) = N::parse(packet)?;
        ensure!(ip.protocol() == IP_UDP, "protocol {}", ip.protocol());
        let (udp, payload) = Udp::parse(datagram)?;
        let (vxlan, inner) = Vxlan::parse(payload)?;
        Ok((Self { ethernet, ip, udp, vxlan }, inner))
    }
}
