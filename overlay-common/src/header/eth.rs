//! Ethernet (IEEE 802.3) as [`network_types`] has it, and the questions we ask of it.

pub use network_types::eth::{EthHdr, EtherType};

use crate::{Family, MacAddr};

/// Bytes of the header, without a VLAN tag.
pub const LEN: usize = EthHdr::LEN;

/// What a frame carries, as far as forwarding cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// A VLAN tag, 802.1Q or 802.1ad.
    Vlan,
    /// Anything else: ARP, LLDP, …
    Other,
}

impl From<Family> for Payload {
    #[inline(always)]
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Ipv4,
            Family::Ipv6 => Self::Ipv6,
        }
    }
}

/// Classifies the `EtherType` field.
#[inline(always)]
#[must_use]
pub fn payload(header: &EthHdr) -> Payload {
    const IPV4: u16 = EtherType::Ipv4 as u16;
    const IPV6: u16 = EtherType::Ipv6 as u16;
    const DOT1Q: u16 = EtherType::Ieee8021q as u16;
    const DOT1AD: u16 = EtherType::Ieee8021ad as u16;
    match header.ether_type {
        IPV4 => Payload::Ipv4,
        IPV6 => Payload::Ipv6,
        DOT1Q | DOT1AD => Payload::Vlan,
        _ => Payload::Other,
    }
}

/// The destination address.
#[inline(always)]
#[must_use]
pub const fn destination(header: &EthHdr) -> MacAddr {
    MacAddr::new(header.dst_addr)
}

/// The source address.
#[inline(always)]
#[must_use]
pub const fn source(header: &EthHdr) -> MacAddr {
    MacAddr::new(header.src_addr)
}

/// The 14 bytes of an Ethernet header in front of an IP packet, ready to be written.
#[inline(always)]
#[must_use]
pub const fn header(destination: MacAddr, source: MacAddr, family: Family) -> [u8; LEN] {
    let [a, b, c, d, e, f] = destination.bytes();
    let [g, h, i, j, k, l] = source.bytes();
    let [m, n] = match family {
        Family::Ipv4 => [0x08, 0x00],
        Family::Ipv6 => [0x86, 0xdd],
    };
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n]
}

/// The destination address in the 14 bytes of an Ethernet header.
#[must_use]
pub const fn destination_of([a, b, c, d, e, f, ..]: &[u8; LEN]) -> MacAddr {
    MacAddr::new([*a, *b, *c, *d, *e, *f])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(ether_type: u16) -> EthHdr {
        EthHdr { dst_addr: [1; 6], src_addr: [2; 6], ether_type: ether_type.to_be() }
    }

    #[test]
    fn payloads() {
        assert_eq!(payload(&header(0x0800)), Payload::Ipv4);
        assert_eq!(payload(&header(0x86dd)), Payload::Ipv6);
        assert_eq!(payload(&header(0x8100)), Payload::Vlan);
        assert_eq!(payload(&header(0x88a8)), Payload::Vlan);
        assert_eq!(payload(&header(0x0806)), Payload::Other);
        assert_eq!(payload(&header(0x0008)), Payload::Other);
    }
}
