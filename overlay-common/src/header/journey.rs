//! What goes on with a frame from one tunnel into another, of the outer headers that it came with.

/// What goes on with a frame from one tunnel into another: one word, which programs hand over beside the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journey(u32);

/// Tells a journey from nothing.
const SET: u32 = 1 << 31;
/// The kernel has yet to make the UDP checksums.
const OPEN_SUM: u32 = 1 << 30;

impl Journey {
    /// From the TTL or hop limit that a packet came with and its UDP source port (host byte order). `open_sum` says that the
    /// kernel carries several packets as one, and makes their UDP checksums when it cuts that up.
    ///
    /// `None` where no hop is left. This is what ends loops, of VTEPs that each take the other for the one that a station is
    /// behind: the TTL goes on from packet to packet, one less each time, as with a router (RFC 1812, section 5.3.1).
    #[inline(always)]
    #[must_use]
    pub const fn new(ttl: u8, source_port: u16, open_sum: bool) -> Option<Self> {
        if ttl <= 1 {
            return None;
        }
        let open_sum = if open_sum { OPEN_SUM } else { 0 };
        Some(Self(SET | open_sum | (source_port as u32) << 8 | (ttl - 1) as u32))
    }

    /// The one that a word stands for; `None`: the word stands for none.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u32) -> Option<Self> {
        if word & SET == 0 { None } else { Some(Self(word)) }
    }

    /// The word that stands for it, not 0.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// The TTL or hop limit that the packet goes on with.
    #[inline(always)]
    #[must_use]
    pub const fn ttl(self) -> u8 {
        self.0 as u8
    }

    /// The UDP source port, host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn source_port(self) -> u16 {
        (self.0 >> 8) as u16
    }

    /// What tells its flow from others: the source port is all that is known of the flow.
    #[inline(always)]
    #[must_use]
    pub const fn flow_hash(self) -> u32 {
        self.source_port() as u32
    }

    /// Whether the kernel makes the UDP checksums later.
    #[inline(always)]
    #[must_use]
    pub const fn has_open_sum(self) -> bool {
        self.0 & OPEN_SUM != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_hop_goes_nowhere() {
        assert_eq!(Journey::new(0, 5, false), None);
        assert_eq!(Journey::new(1, 5, true), None);
        assert_eq!(Journey::new(2, 5, true).map(Journey::ttl), Some(1));
        assert_eq!(Journey::from_word(0), None);
    }

    proptest! {
        #[test]
        fn a_word_says_it_all(ttl in 2u8.., source_port: u16, open_sum: bool) {
            let journey = Journey::new(ttl, source_port, open_sum).unwrap();
            prop_assert_eq!(Journey::from_word(journey.word()), Some(journey));
            prop_assert_eq!((journey.ttl(), journey.source_port()), (ttl - 1, source_port));
            prop_assert_eq!(journey.has_open_sum(), open_sum);
        }
    }
}
