//! `TALLIES`: where each CPU counts packets that are known again, without asking `STATS` for each.
//!
//! The first of them takes a place for its segment and VTEP on its CPU, and notes it in what `STATS` has for them there. Whoever
//! reads adds what stands at that place. It is theirs until what `STATS` has goes; from then on others may take it.

use bytemuck::{Pod, Zeroable};

use super::{counters::CountersKey, map_data};

/// The map's name: a per-CPU array of [`Tally`], indexed by [`Tally::place`].
pub const NAME: &str = "TALLIES";

/// Places of each CPU. Who finds none free counts in `STATS`.
pub const MAX_ENTRIES: usize = 1 << 10;

/// Places that one may take, one behind the other.
pub const PROBES: u32 = 4;

/// What stands for no place.
pub const NOWHERE: u32 = u32::MAX;

/// Packets and bytes, as `Counters` has them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Tally {
    /// Whose; of no segment while it is nobody's.
    pub key: CountersKey,
    /// Frames from ports.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Frames out of tunnels.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
}

map_data!(Tally);

impl Tally {
    /// The place, below [`MAX_ENTRIES`], that `key` tries after so many others.
    #[inline(always)]
    #[must_use]
    pub const fn place(key: CountersKey, tried: u32) -> u32 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let first = (key.bits().wrapping_mul(ODD) >> (u64::BITS - MAX_ENTRIES.ilog2())) as u32;
        (first + tried) % MAX_ENTRIES as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Vni, VtepId};

    #[test]
    fn places_are_in_the_map_and_apart() {
        let mut used = [0; MAX_ENTRIES];
        for vni in 1..=256 {
            let key = CountersKey::new(Vni::new(vni).unwrap(), Some(VtepId::FIRST));
            for tried in 0..PROBES {
                used[Tally::place(key, tried) as usize] += 1;
            }
            assert_eq!((Tally::place(key, 1) + MAX_ENTRIES as u32 - Tally::place(key, 0)) % 1024, 1);
        }
        assert!(used.iter().all(|keys| *keys <= 16), "{used:?}");
    }
}
