use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bytemuck::{Pod, Zeroable};

use crate::MacAddr;

/// An underlay address: 16 bytes in network byte order, IPv4 as v4-mapped (`::ffff:a.b.c.d`), so that both families
/// share every map. It is aligned, so that the programs can copy and compare it by words.
#[repr(C, align(4))]
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct UnderlayAddr([u8; 16]);

/// The family of an underlay address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Its name, as people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }
}

impl UnderlayAddr {
    /// Maps the four bytes of an IPv4 address, in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn from_ipv4([a, b, c, d]: [u8; 4]) -> Self {
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    /// The four bytes in network byte order, if it is an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn to_ipv4(self) -> Option<[u8; 4]> {
        match self.family() {
            Family::Ipv4 => {
                let [.., a, b, c, d] = self.0;
                Some([a, b, c, d])
            }
            Family::Ipv6 => None,
        }
    }

    /// Takes the 16 bytes of an IPv6 address, in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn from_ipv6(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its family.
    #[inline(always)]
    #[must_use]
    pub const fn family(self) -> Family {
        let [a, b, c, _] = self.words();
        if (a | b | (c ^ 0xffff_u32.to_be())) == 0 { Family::Ipv4 } else { Family::Ipv6 }
    }

    /// The 16 bytes in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// The 16 bytes as the kernel has them in four words; the last one is an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> [u32; 4] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.0;
        [
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
            u32::from_ne_bytes([i, j, k, l]),
            u32::from_ne_bytes([m, n, o, p]),
        ]
    }

    /// The same in two words.
    #[inline(always)]
    #[must_use]
    pub const fn long_words(self) -> [u64; 2] {
        let [a, b, c, d] = self.words();
        [a as u64 | (b as u64) << 32, c as u64 | (d as u64) << 32]
    }

    /// Whether it is a multicast group (RFC 1112, section 4; RFC 4291, section 2.7).
    #[inline(always)]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        match self.to_ipv4() {
            Some([first, ..]) => first & 0xf0 == 0xe0,
            None => self.0[0] == 0xff,
        }
    }

    /// Whether one host can have it: neither a group, nor broadcast, nor unspecified, nor loopback.
    #[inline(always)]
    #[must_use]
    pub const fn is_of_a_host(self) -> bool {
        if let Some([first, ..]) = self.to_ipv4() {
            return first != 0 && first != 127 && first < 0xe0;
        }
        let [a, b, c, d] = self.words();
        let is_unspecified_or_loopback = (a | b | c) == 0 && u32::from_be(d) <= 1;
        self.0[0] != 0xff && !is_unspecified_or_loopback
    }

    /// The MAC address of a multicast group (RFC 1112, section 6.4; RFC 2464, section 7).
    #[inline(always)]
    #[must_use]
    pub const fn group_mac(self) -> MacAddr {
        let [.., m, n, o, p] = self.0;
        MacAddr::new(match self.family() {
            Family::Ipv4 => [0x01, 0x00, 0x5e, n & 0x7f, o, p],
            Family::Ipv6 => [0x33, 0x33, m, n, o, p],
        })
    }

    /// Takes what [`Self::words`] gives.
    #[inline(always)]
    #[must_use]
    pub const fn from_words([a, b, c, d]: [u32; 4]) -> Self {
        let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (a.to_ne_bytes(), b.to_ne_bytes());
        let ([c0, c1, c2, c3], [d0, d1, d2, d3]) = (c.to_ne_bytes(), d.to_ne_bytes());
        Self([a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3])
    }

    /// The address as the standard library has it, IPv4 unmapped.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        match self.to_ipv4() {
            Some(bytes) => Ipv4Addr::from(bytes).into(),
            None => Ipv6Addr::from(self.0).into(),
        }
    }
}

impl From<IpAddr> for UnderlayAddr {
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => Self::from_ipv4(addr.octets()),
            IpAddr::V6(addr) => Self(addr.octets()),
        }
    }
}

impl fmt::Display for UnderlayAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for UnderlayAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addr(text: &str) -> UnderlayAddr {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn groups() {
        assert_eq!(addr("239.129.2.3").group_mac(), MacAddr::new([1, 0, 0x5e, 1, 2, 3]));
        assert_eq!(addr("ff05::1:203").group_mac(), MacAddr::new([0x33, 0x33, 0, 1, 2, 3]));
    }

    #[test]
    fn kinds() {
        for group in ["224.0.0.1", "239.255.255.255", "ff02::1", "ff05::1"] {
            assert!(addr(group).is_multicast() && !addr(group).is_of_a_host(), "{group}");
        }
        for nobody in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1"] {
            assert!(!addr(nobody).is_multicast() && !addr(nobody).is_of_a_host(), "{nobody}");
        }
        for host in ["10.0.0.1", "223.255.255.255", "fd00::1", "::2", "1::"] {
            assert!(!addr(host).is_multicast() && addr(host).is_of_a_host(), "{host}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(v4: [u8; 4], v6: [u8; 16]) {
            let v4 = IpAddr::from(v4);
            prop_assert_eq!(UnderlayAddr::from(v4).ip(), v4);
            let v6 = Ipv6Addr::from(v6);
            prop_assume!(v6.to_ipv4_mapped().is_none());
            let addr = UnderlayAddr::from(IpAddr::from(v6));
            prop_assert_eq!(addr.ip(), IpAddr::from(v6));
            prop_assert_eq!(UnderlayAddr::from_words(addr.words()), addr);
        }
    }
}
