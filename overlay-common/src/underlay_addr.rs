use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bytemuck::{Pod, Zeroable};

/// An underlay address: 16 bytes in network byte order, IPv4 as v4-mapped (`::ffff:a.b.c.d`), so that both families
/// share every map.
#[repr(transparent)]
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
        match self.0 {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Some([a, b, c, d]),
            _ => None,
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
        if self.to_ipv4().is_some() { Family::Ipv4 } else { Family::Ipv6 }
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

    proptest! {
        #[test]
        fn round_trip(v4: [u8; 4], v6: [u8; 16]) {
            let v4 = IpAddr::from(v4);
            prop_assert_eq!(UnderlayAddr::from(v4).ip(), v4);
            let v6 = Ipv6Addr::from(v6);
            prop_assume!(v6.to_ipv4_mapped().is_none());
            prop_assert_eq!(UnderlayAddr::from(IpAddr::from(v6)).ip(), IpAddr::from(v6));
        }
    }
}
