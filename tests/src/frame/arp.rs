//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};

use super::{ETHER_ARP, Ethernet, Mac, Reader};

/// An ARP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 request, 2 reply.
    pub operation: u16,
    /// Who sends.
    pub sender: (Mac, Ipv4Addr),
    /// Who is asked or told; the MAC address is zero in a request.
    pub target: (Mac, Ipv4Addr),
}

const FIXED: [u8; 6] = [0, 1, 8, 0, 6, 4];

impl Arp {
    /// The broadcast frame by which `sender` asks for the MAC address of `wanted`.
    #[must_use]
    pub fn request(sender: (Mac, Ipv4Addr), wanted: Ipv4Addr) -> Vec<u8> {
        let arp = Self { operation: 1, sender, target: (Mac([0; 6]), wanted) };
        Ethernet::new(sender.0, Mac::BROADCAST, ETHER_ARP).frame(&arp.packet())
    }

    /// The packet, to be put into an Ethernet frame.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        let mut bytes = FIXED.to_vec();
        bytes.extend(self.operation.to_be_bytes());
        for (mac, address) in [self.sender, self.target] {
            bytes.extend(mac.0);
            bytes.extend(address.octets());
        }
        bytes
    }

    /// Reads a packet; what follows it is padding.
    pub fn parse(packet: &[u8]) -> Result<(Self, &[u8])> {
        let mut reader = Reader(packet);
        let fixed: [u8; 6] = reader.array("ARP")?;
        ensure!(fixed == FIXED, "ARP: not for IPv4 over Ethernet");
        let operation = reader.u16("ARP")?;
        let mut end = || -> Result<_> { Ok((Mac(reader.array("ARP")?), reader.array::<4>("ARP")?.into())) };
        let (sender, target) = (end()?, end()?);
        Ok((Self { operation, sender, target }, reader.0))
    }
}
