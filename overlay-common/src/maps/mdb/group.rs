use core::fmt;

use crate::{Family, UnderlayAddr};

/// A multicast group of the overlay whose listeners are learned: none of those that are for one link only, which
/// everybody gets (RFC 4541, sections 2.1.2 and 3).
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(UnderlayAddr);

impl Group {
    /// Takes an address, IPv4 as v4-mapped; `None` if it is no group, or for one link only.
    #[inline(always)]
    #[must_use]
    pub const fn new(addr: UnderlayAddr) -> Option<Self> {
        let is_for_one_link = match addr.to_ipv4() {
            Some([_, 0, 0, _]) => addr.bytes()[12] == 224,
            Some(_) => false,
            None => addr.bytes()[1] & 0x0f <= 2,
        };
        if addr.is_multicast() && !is_for_one_link { Some(Self(addr)) } else { None }
    }

    /// Takes back the words of an address that [`Self::addr`] gave.
    #[inline(always)]
    #[must_use]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self(UnderlayAddr::from_words(words))
    }

    /// The address.
    #[inline(always)]
    #[must_use]
    pub const fn addr(self) -> UnderlayAddr {
        self.0
    }

    /// The family.
    #[inline(always)]
    #[must_use]
    pub const fn family(self) -> Family {
        self.0.family()
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    fn addr(text: &str) -> UnderlayAddr {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn groups() {
        for text in ["224.0.1.1", "225.0.0.1", "239.1.1.1", "ff05::1", "ff0e::1", "ff33::1", "ff15::2"] {
            assert!(Group::new(addr(text)).is_some(), "{text}");
        }
        for text in
            ["224.0.0.1", "224.0.0.251", "10.0.0.1", "ff02::1", "ff01::1", "ff02::1:ff00:1", "fd00::1"]
        {
            assert!(Group::new(addr(text)).is_none(), "{text}");
        }
    }
}
