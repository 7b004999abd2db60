use core::{fmt, num::ParseIntError, str::FromStr};

/// A VXLAN Network Identifier: the 24-bit number of a segment, 1 to 16777215 (RFC 7348, section 5).
///
/// 0 is a legal VNI on the wire, but no segment of ours has it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(u32);

impl Vni {
    /// The largest VNI, 2^24 - 1.
    pub const MAX: Self = Self(0x00ff_ffff);

    /// Makes a VNI of a number in host byte order; `None` outside 1..=16777215.
    #[inline(always)]
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 || number > Self::MAX.0 {
            return None;
        }
        Some(Self(number))
    }

    /// Reads the three bytes of the VXLAN header's VNI field, in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn from_be_bytes(bytes: [u8; 3]) -> Option<Self> {
        Self::new(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]))
    }

    /// The three bytes of the VXLAN header's VNI field, in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 3] {
        let [_, high, middle, low] = self.0.to_be_bytes();
        [high, middle, low]
    }

    /// The number, in host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is not a [`Vni`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseVniError {
    /// Not a decimal number.
    NotANumber(ParseIntError),
    /// A number outside 1..=16777215.
    OutOfRange,
}

impl fmt::Display for ParseVniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber(_) => f.write_str("not a number"),
            Self::OutOfRange => write!(f, "a VNI is 1 to {}", Vni::MAX),
        }
    }
}

impl core::error::Error for ParseVniError {}

impl FromStr for Vni {
    type Err = ParseVniError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number: u64 = text.parse().map_err(ParseVniError::NotANumber)?;
        u32::try_from(number).ok().and_then(Self::new).ok_or(ParseVniError::OutOfRange)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(Vni::new(0), None);
        assert_eq!(Vni::new(1).map(Vni::get), Some(1));
        assert_eq!(Vni::new(0x00ff_ffff), Some(Vni::MAX));
        assert_eq!(Vni::new(0x0100_0000), None);
        assert_eq!("16777216".parse::<Vni>(), Err(ParseVniError::OutOfRange));
        assert_eq!("4294967297".parse::<Vni>(), Err(ParseVniError::OutOfRange));
        assert!(matches!("x".parse::<Vni>(), Err(ParseVniError::NotANumber(_))));
    }

    proptest! {
        #[test]
        fn wire_round_trip(number in 1u32..=0x00ff_ffff) {
            let vni = Vni::new(number).unwrap();
            prop_assert_eq!(Vni::from_be_bytes(vni.to_be_bytes()), Some(vni));
        }
    }
}
