use core::{fmt, str::FromStr};

use bytemuck::{Pod, Zeroable};

/// A 48-bit Ethernet address, in the order of its bytes on the wire.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Takes six bytes as they are on the wire.
    #[inline(always)]
    #[must_use]
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The six bytes as they are on the wire.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// Its bytes as a number, the first one on top.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        (u16::from_be_bytes([a, b]) as u64) << 32 | u32::from_be_bytes([c, d, e, f]) as u64
    }

    /// The address whose [`word`](Self::word) that is.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = word.to_be_bytes();
        Self([a, b, c, d, e, f])
    }

    /// The 12 bytes of two addresses as words, the upper half of the second 0.
    #[inline(always)]
    #[must_use]
    pub const fn pair(self, other: Self) -> [u64; 2] {
        let [a, b, c, d, e, f] = self.0;
        let [g, h, i, j, k, l] = other.0;
        [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u32::from_ne_bytes([i, j, k, l]) as u64]
    }

    /// Whether the group bit is set: multicast and broadcast (IEEE 802, section 8.2).
    #[inline(always)]
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it is for one link only: 01-80-C2-00-00-01 to 0F (IEEE 802.1Q, table 8-1), such as PAUSE, LACP, 802.1X and LLDP.
    ///
    /// 01-80-C2-00-00-00 is not: who takes no part in the spanning tree lets its messages through, or bridges on both sides
    /// would miss a loop. The kernel's bridge has it so too (`br_handle_frame` in `net/bridge/br_input.c`).
    #[inline(always)]
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        let [a, b, c, d, e, f] = self.0;
        let differs = (a ^ 0x01) | (b ^ 0x80) | (c ^ 0xc2) | d | e | (f & 0xf0);
        differs == 0 && f != 0
    }

    /// Whether it is all zeros.
    #[inline(always)]
    #[must_use]
    pub const fn is_zero(self) -> bool {
        let [a, b, c, d, e, f] = self.0;
        a | b | c | d | e | f == 0
    }

    /// Whether a station may have it: neither a group nor all zeros. Only such an address can be a frame's source or
    /// stand in the FDB.
    #[inline(always)]
    #[must_use]
    pub const fn is_station(self) -> bool {
        !self.is_group() && !self.is_zero()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text is not six two-digit hexadecimal bytes between colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseMacError;

impl fmt::Display for ParseMacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a MAC address; write it like 02:00:00:00:00:01")
    }
}

impl core::error::Error for ParseMacError {}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            let part = parts.next().ok_or(ParseMacError)?;
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| ParseMacError)?;
        }
        if parts.next().is_some() {
            return Err(ParseMacError);
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kinds() {
        assert!(MacAddr::BROADCAST.is_group());
        assert!(MacAddr::default().is_zero());
        assert!(!MacAddr::new([1, 0, 0x5e, 0, 0, 1]).is_station());
        assert!(MacAddr::new([2, 0, 0, 0, 0, 1]).is_station());
    }

    #[test]
    fn reserved() {
        for last in 0..=u8::MAX {
            assert_eq!(MacAddr::new([1, 0x80, 0xc2, 0, 0, last]).is_reserved(), (1..16).contains(&last));
        }
        for other in [[1, 0x80, 0xc2, 0, 1, 2], [0, 0x80, 0xc2, 0, 0, 2], [1, 0x80, 0xc2, 1, 0, 2], [0xff; 6]]
        {
            assert!(!MacAddr::new(other).is_reserved());
        }
    }

    #[test]
    fn refuses_what_is_not_a_mac() {
        for text in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "2:0:0:0:0:1",
            "+2:00:00:00:00:01",
            "0g:00:00:00:00:01",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(ParseMacError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trip(bytes: [u8; 6]) {
            let mac = MacAddr::new(bytes);
            prop_assert_eq!(mac.to_string().parse(), Ok(mac));
        }
    }
}
