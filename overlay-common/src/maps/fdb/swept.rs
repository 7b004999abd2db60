//! What a look at some learned stations came to: what the program `fdb_sweep` answers.

/// What a look at some of the learned stations came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept(u32);

impl Swept {
    /// `looked` elements of [`crate::maps::ageing`] were looked at, less than 2^16, and `learned` of them were of stations
    /// that are learned, or were until just now.
    #[inline(always)]
    #[must_use]
    pub const fn new(looked: u32, learned: u32) -> Self {
        Self(looked << 16 | learned & 0xffff)
    }

    /// As the program returns it.
    #[inline(always)]
    #[must_use]
    pub const fn code(self) -> u32 {
        self.0
    }

    /// What the program returned.
    #[must_use]
    pub const fn from_code(code: u32) -> Self {
        Self(code)
    }

    /// At how many elements it looked; 0: there are none.
    #[must_use]
    pub const fn looked(self) -> u32 {
        self.0 >> 16
    }

    /// How many of them were of learned stations.
    #[must_use]
    pub const fn learned(self) -> u32 {
        self.0 & 0xffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let swept = Swept::from_code(Swept::new(128, 127).code());
        assert_eq!((swept.looked(), swept.learned()), (128, 127));
    }
}
