//! `BUM_RATES`: how much a port may have flooded.

use bytemuck::{Pod, Zeroable};

use super::map_data;

/// The map's name: a hash of device index (`u32`) to [`BumRate`]. A port that is not in it has no limit.
pub const NAME: &str = "BUM_RATES";

/// One for each port.
pub const MAX_ENTRIES: usize = super::port::MAX_ENTRIES;

/// The highest limit, in packets per second.
pub const MAX_RATE: u32 = 100_000_000;

const SECOND_NS: u64 = 1_000_000_000;

/// How long the rate may have been saved up for, in nanoseconds.
const BURST_NS: u64 = SECOND_NS / 10;
/// But so many packets at least: a workload that starts says several things at once.
const BURST_PACKETS: u64 = 16;

/// A limit and how far it is used up: the generic cell rate algorithm (ITU-T I.371, annex A), which needs one word.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct BumRate {
    /// When the rate allows for the next packet; later than now while a burst is being paid for.
    next: u64,
    /// How much later than now that may be.
    tolerance: u64,
    /// What a packet costs, in nanoseconds.
    interval: u64,
    /// Packets per second.
    rate: u32,
    pad: u32,
}

map_data!(BumRate);

impl BumRate {
    /// At most `rate` packets per second; `None` for 0 and for more than [`MAX_RATE`].
    #[must_use]
    pub const fn new(rate: u32) -> Option<Self> {
        if rate == 0 || rate > MAX_RATE {
            return None;
        }
        let interval = SECOND_NS / rate as u64;
        let least = interval * (BURST_PACKETS - 1);
        let tolerance = if least > BURST_NS { least } else { BURST_NS };
        Some(Self { next: 0, tolerance, interval, rate, pad: 0 })
    }

    /// Packets per second.
    #[must_use]
    pub const fn rate(&self) -> u32 {
        self.rate
    }

    /// The word that changes from packet to packet; see [`Self::after`].
    #[inline(always)]
    #[must_use]
    pub const fn next_mut(&mut self) -> &mut u64 {
        &mut self.next
    }

    /// What the word becomes of `next` when `packets` packets come at `now`, nanoseconds of the monotonic clock; `None`:
    /// they are too many.
    #[inline(always)]
    #[must_use]
    pub const fn after(&self, next: u64, now: u64, packets: u32) -> Option<u64> {
        let from = if next > now { next } else { now };
        if from - now > self.tolerance {
            return None;
        }
        Some(from + self.interval * packets as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits() {
        assert_eq!(BumRate::new(0), None);
        assert_eq!(BumRate::new(MAX_RATE + 1), None);
        assert_eq!(BumRate::new(7).map(|rate| rate.rate()), Some(7));
        assert_eq!(size_of::<BumRate>(), 32);
    }

    #[test]
    fn a_burst_of_sixteen_passes_at_any_rate() {
        let rate = BumRate::new(1).unwrap();
        let mut next = 0;
        for packet in 0..17 {
            match rate.after(next, SECOND_NS, 1) {
                Some(after) if packet < 16 => next = after,
                after => assert_eq!((packet, after), (16, None)),
            }
        }
    }

    proptest! {
        #[test]
        fn the_rate_holds_over_time(rate in 100u32..1_000_000, load in 2u64..10) {
            let limit = BumRate::new(rate).unwrap();
            let (mut next, mut now, mut passed) = (0, SECOND_NS, 0_u64);
            let step = SECOND_NS / u64::from(rate) / load + 1;
            // For the time of 3000 packets of the rate, or a tenth of a second.
            let end = now + (3000 * SECOND_NS / u64::from(rate)).max(BURST_NS);
            let whole = (end - now) * u64::from(rate) / SECOND_NS;
            while now < end {
                if let Some(after) = limit.after(next, now, 1) {
                    (next, passed) = (after, passed + 1);
                }
                now += step;
            }
            let burst = (u64::from(rate) / 10).max(BURST_PACKETS);
            prop_assert!(passed <= whole + whole / 50 + burst + 2, "{passed} of {whole}");
            prop_assert!(passed + 2 >= whole.min(3000 * load / 2), "{passed} of {whole}");
        }
    }
}
