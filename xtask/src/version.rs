//! Major and minor number of compilers, packages and programs.

use std::fmt;

/// Major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32);

impl Version {
    /// Reads the leading two numbers of, for example, `1.96.0-nightly` or `1.96.0+dfsg1-1`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Some(Self(major, minor)),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_leading_two_numbers() {
        for (text, expected) in [
            ("1.96.0", Some(Version(1, 96))),
            ("1.97.0-nightly\n", Some(Version(1, 97))),
            ("1.85.0+dfsg3-1~deb12u3", Some(Version(1, 85))),
            ("22.1", Some(Version(22, 1))),
            ("(none)", None),
            ("22", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn orders_by_number_and_not_by_letter() {
        assert!(Version(1, 100) > Version(1, 96));
        assert!(Version(2, 0) > Version(1, 96));
    }
}
