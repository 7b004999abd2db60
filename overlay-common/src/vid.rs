use core::{fmt, num::ParseIntError, str::FromStr};

/// The id of a VLAN, 1 to 4094 (IEEE 802.1Q, section 9.6: 0 is a priority only, 4095 is reserved).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vid(u16);

impl Vid {
    /// The largest id.
    pub const MAX: Self = Self(4094);

    /// Makes an id of a number; `None` outside 1..=4094.
    #[inline(always)]
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number == 0 || number > Self::MAX.0 {
            return None;
        }
        Some(Self(number))
    }

    /// The number.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Vid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is not a [`Vid`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseVidError {
    /// Not a decimal number.
    NotANumber(ParseIntError),
    /// A number outside 1..=4094.
    OutOfRange,
}

impl fmt::Display for ParseVidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber(_) => f.write_str("a VLAN id is a number"),
            Self::OutOfRange => write!(f, "a VLAN id is 1 to {}", Vid::MAX),
        }
    }
}

impl core::error::Error for ParseVidError {}

impl FromStr for Vid {
    type Err = ParseVidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number: u64 = text.parse().map_err(ParseVidError::NotANumber)?;
        u16::try_from(number).ok().and_then(Self::new).ok_or(ParseVidError::OutOfRange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(Vid::new(0), None);
        assert_eq!(Vid::new(4094), Some(Vid::MAX));
        assert_eq!(Vid::new(4095), None);
        assert_eq!("4095".parse::<Vid>(), Err(ParseVidError::OutOfRange));
        assert_eq!("65537".parse::<Vid>(), Err(ParseVidError::OutOfRange));
        assert!(matches!("x".parse::<Vid>(), Err(ParseVidError::NotANumber(_))));
    }
}
