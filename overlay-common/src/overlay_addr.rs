use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bytemuck::{Pod, Zeroable};

use crate::UnderlayAddr;

/// A station's IP address in the overlay: 16 bytes in network byte order, IPv4 as v4-mapped, so that both families share
/// a map.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct OverlayAddr([u8; 16]);

impl OverlayAddr {
    /// Maps the four bytes of an IPv4 address, in network byte order. `None` if no station can have it: "this network",
    /// loopback, multicast, limited broadcast (RFC 1122, section 3.2.1.3).
    #[inline(always)]
    #[must_use]
    pub const fn from_ipv4(bytes: [u8; 4]) -> Option<Self> {
        let [first, ..] = bytes;
        let is_multicast = first & 0xf0 == 0xe0;
        if first == 0 || first == 127 || is_multicast || u32::from_be_bytes(bytes) == u32::MAX {
            return None;
        }
        Some(Self(UnderlayAddr::from_ipv4(bytes).bytes()))
    }

    /// Takes the 16 bytes of an IPv6 address, in network byte order. `None` if no station can have it: unspecified,
    /// loopback, multicast (RFC 4291, section 2.4), and the v4-mapped ones, which stand for IPv4 here.
    #[inline(always)]
    #[must_use]
    pub const fn from_ipv6(bytes: [u8; 16]) -> Option<Self> {
        let is_below_2 = u128::from_be_bytes(bytes) < 2;
        if bytes[0] == 0xff || is_below_2 || UnderlayAddr::from_ipv6(bytes).to_ipv4().is_some() {
            return None;
        }
        Some(Self(bytes))
    }

    /// The same of an address as the standard library has it.
    #[must_use]
    pub fn from_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Self::from_ipv4(address.octets()),
            IpAddr::V6(address) => Self::from_ipv6(address.octets()),
        }
    }

    /// The 16 bytes in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// The address as the standard library has it, IPv4 unmapped.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        match UnderlayAddr::from_ipv6(self.0).to_ipv4() {
            Some(bytes) => Ipv4Addr::from(bytes).into(),
            None => Ipv6Addr::from(self.0).into(),
        }
    }
}

impl fmt::Display for OverlayAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for OverlayAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_station_has_these() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(OverlayAddr::from_ip(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn stations_have_these() {
        for text in
            ["10.0.0.1", "223.255.255.255", "240.0.0.1", "169.254.7.7", "fe80::1", "::2", "2001:db8::"]
        {
            let address = OverlayAddr::from_ip(text.parse().unwrap()).unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn round_trip(bytes: [u8; 16], short: [u8; 4]) {
            for address in [IpAddr::from(bytes), IpAddr::from(short)] {
                if let Some(same) = OverlayAddr::from_ip(address) {
                    prop_assert_eq!(same.ip(), address);
                }
            }
        }
    }
}
