//! `ANSWERS`: how often workloads were told that packets are too big, so that it is not too often.

use bytemuck::{Pod, Zeroable};

use super::map_data;

/// The map's name: a hash of device index (`u32`) to [`Bucket`], which forgets ports that need no answers when it is full.
pub const NAME: &str = "ANSWERS";

/// Ports that are watched at the same time.
pub const MAX_ENTRIES: usize = 1024;

/// Nanoseconds between answers in the long run: 1000 each second, as the kernel has it (`net.ipv4.icmp_msgs_per_sec`).
pub const INTERVAL_NS: u64 = 1_000_000;

/// Answers that may come at once (`net.ipv4.icmp_msgs_burst`).
pub const BURST: u64 = 50;

/// A token bucket in one word: when it will be full again, nanoseconds of the monotonic clock.
///
/// CPUs race for the word; what that can let through is one answer for each CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Bucket {
    full_at: u64,
}

map_data!(Bucket);

impl Bucket {
    /// Takes a token at `now`, nanoseconds of the monotonic clock; `false` if there is none.
    #[inline(always)]
    #[must_use]
    pub fn take(&mut self, now: u64) -> bool {
        let full_at = if self.full_at > now { self.full_at } else { now };
        if full_at - now > (BURST - 1) * INTERVAL_NS {
            return false;
        }
        self.full_at = full_at + INTERVAL_NS;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::default();
        let mut now = 10_000_000_000;
        let taken = |bucket: &mut Bucket, now| (0..1000).filter(|_| bucket.take(now)).count() as u64;
        assert_eq!(taken(&mut bucket, now), BURST);
        now += 7 * INTERVAL_NS;
        assert_eq!(taken(&mut bucket, now), 7);
        now += 1_000_000 * INTERVAL_NS;
        assert_eq!(taken(&mut bucket, now), BURST);
    }
}
