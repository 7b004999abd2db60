//! Neighbor Discovery for IPv6 (RFC 4861): solicitations and advertisements.

use std::net::Ipv6Addr;

use super::{ETHER_IPV6, Ethernet, IP_ICMP6, Ipv6, Mac, Network as _, transport::icmp6};

/// A solicitation or an advertisement, with everything around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nd {
    /// The Ethernet header.
    pub ethernet: Ethernet,
    /// The IPv6 header: hop limit 255.
    pub ip: Ipv6,
    /// `ICMPv6` type: 135 solicitation, 136 advertisement.
    pub kind: u8,
    /// `ICMPv6` code.
    pub code: u8,
    /// The flags of an advertisement: 0x80 router, 0x40 solicited, 0x20 override.
    pub flags: u8,
    /// Who is asked for, or speaks.
    pub target: Ipv6Addr,
    /// The options.
    pub options: Vec<u8>,
    /// The checksum, where it should be wrong.
    pub checksum: Option<u16>,
}

impl Nd {
    /// The question of `sender` to everybody for the MAC address of `target`.
    #[must_use]
    pub fn solicitation(sender: (Mac, Ipv6Addr), target: Ipv6Addr) -> Self {
        let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
        group[13..].copy_from_slice(&target.octets()[13..]);
        let [.., a, b, c] = group;
        let to = (Mac([0x33, 0x33, 0xff, a, b, c]), group.into());
        Self::new(135, sender, to, target, &[1, 1])
    }

    /// The word of `sender` that it has its address, to `receiver`.
    #[must_use]
    pub fn advertisement(sender: (Mac, Ipv6Addr), receiver: (Mac, Ipv6Addr), flags: u8) -> Self {
        Self { flags, ..Self::new(136, sender, receiver, sender.1, &[2, 1]) }
    }

    fn new(kind: u8, from: (Mac, Ipv6Addr), to: (Mac, Ipv6Addr), target: Ipv6Addr, option: &[u8]) -> Self {
        let ip = Ipv6 { hop_limit: 255, ..Ipv6::new(from.1, to.1, IP_ICMP6) };
        let options = [option, &from.0.0].concat();
        let ethernet = Ethernet::new(from.0, to.0, ETHER_IPV6);
        Self { ethernet, ip, kind, code: 0, flags: 0, target, options, checksum: None }
    }

    /// The same after a change.
    #[must_use]
    pub fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let mut message = vec![self.kind, self.code, 0, 0, self.flags, 0, 0, 0];
        message.extend(self.target.octets());
        message.extend(&self.options);
        let mut message = icmp6(self.ip.addresses(), message);
        if let Some(sum) = self.checksum {
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        self.ethernet.frame(&self.ip.packet(&message))
    }
}
