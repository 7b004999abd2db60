//! `EARLY` and `ARRIVALS`: what each CPU found out about packets for ports, in XDP and in TC, so that the next ones like them
//! need not be looked at field by field: what they look like, and where they go.
//!
//! A packet is like another if all that was looked at is the same: whatever of its headers a [`Shape`] does not leave out.
//! What it leaves out is checked for each: lengths, and the sum of the IPv4 header. As a `Flow`, a [`Pattern`] is used only in its
//! generation, and not for long.
//!
//! [`Shape`]: crate::header::shape::Shape

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{IfIndex, Vni, VtepId, header::shape::TUNNEL_WORDS};

/// The name of XDP's map: a per-CPU array of [`Pattern`], indexed by [`index`]. Only programs use it.
pub const NAME: &str = "EARLY";

/// The name of TC's: another one.
pub const ARRIVALS: &str = "ARRIVALS";

/// Patterns that each CPU keeps. Two whose places fall together take turns.
pub const MAX_ENTRIES: usize = 1 << 10;

/// How long XDP uses a pattern, in ticks of the kernel's timer, of which a second has at least 100.
pub const FRESH_TICKS: u64 = 10;

/// What packets for ports look like, and where they go.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Pattern {
    generation: u64,
    fresh_until: u64,
    /// Of the IPv4 header, what the fields left out of the shape sum up to.
    sum: u32,
    port: u32,
    longest: u32,
    flags: u32,
    vni: u32,
    vtep: u32,
    tally: u32,
    _padding: u32,
    words: [u64; TUNNEL_WORDS],
}

map_data!(Pattern);

/// The segment has some frames looked at more closely.
const LOOK: u32 = 1;
/// They go to the peer of the port.
const PEER: u32 = 1 << 1;
/// They go to the host, as if they came in by the port.
const HOST: u32 = 1 << 2;

/// What is done with packets of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Their segment.
    pub vni: Vni,
    /// Their sender.
    pub vtep: VtepId,
    /// Where their inner frames go.
    pub port: IfIndex,
    /// Whether they go to the port's peer, straight into the namespace of the workload.
    pub peer: bool,
    /// Whether they go to the host, as if they came in by the port.
    pub to_host: bool,
    /// Bytes of the longest frame that XDP may send straight there; 0: none may.
    pub longest: u32,
    /// Whether the segment has some frames looked at more closely.
    pub look: bool,
}

/// The place of the pattern of frames between two stations, below [`MAX_ENTRIES`], by the last 8 of the 12 bytes of
/// both as a word, and the first 4.
#[inline(always)]
#[must_use]
pub const fn index(last: u64, first: u32) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    // What differs most, the ends of addresses, is at the upper end of the word where the order is little endian.
    let mixed = (last ^ last >> 32 ^ (first as u64) << 29).wrapping_mul(ODD);
    (mixed >> (u64::BITS - MAX_ENTRIES.ilog2())) as u32
}

impl Pattern {
    /// Whether it is of this generation, and may be used at `now`, in units of who kept it.
    #[inline(always)]
    #[must_use]
    pub const fn is_fresh(&self, generation: u64, now: u64) -> bool {
        self.generation == generation && now < self.fresh_until
    }

    /// Its words, by the places of its shape.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> &[u64; TUNNEL_WORDS] {
        &self.words
    }

    /// What the fields left out of an IPv4 header sum up to, if the header is right.
    #[inline(always)]
    #[must_use]
    pub const fn sum(&self) -> u16 {
        self.sum as u16
    }

    /// Where its packets are counted, in `TALLIES`.
    #[inline(always)]
    #[must_use]
    pub const fn tally(&self) -> u32 {
        self.tally
    }

    /// What is done with its packets.
    #[inline(always)]
    #[must_use]
    pub const fn rule(&self) -> Option<Rule> {
        let (vni, vtep, port) = (Vni::new(self.vni), VtepId::new(self.vtep as u16), IfIndex::new(self.port));
        let (Some(vni), Some(vtep), Some(port)) = (vni, vtep, port) else { return None };
        let (look, peer) = (self.flags & LOOK != 0, self.flags & PEER != 0);
        let to_host = self.flags & HOST != 0;
        Some(Rule { vni, vtep, port, peer, to_host, longest: self.longest, look })
    }

    /// Its words, to be set before it is kept.
    #[inline(always)]
    pub const fn words_mut(&mut self) -> &mut [u64; TUNNEL_WORDS] {
        &mut self.words
    }

    /// Keeps what was found out in `generation`, to be used until then, and where its packets are counted.
    #[inline(always)]
    pub const fn keep(&mut self, rule: Rule, sum: u16, tally: u32, (generation, until): (u64, u64)) {
        let Rule { vni, vtep, port, peer, to_host, longest, look } = rule;
        (self.vni, self.vtep, self.port) = (vni.get(), vtep.index(), port.get());
        (self.longest, self.sum, self.tally) = (longest, sum as u32, tally);
        self.flags =
            if look { LOOK } else { 0 } | if peer { PEER } else { 0 } | if to_host { HOST } else { 0 };
        (self.generation, self.fresh_until) = (generation, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_says_again_what_it_was_told_while_it_is_fresh() {
        let rule = Rule {
            vni: Vni::MAX,
            vtep: VtepId::FIRST,
            port: IfIndex::new(7).unwrap(),
            peer: false,
            to_host: false,
            longest: 1514,
            look: true,
        };
        let mut pattern = Pattern::zeroed();
        assert!(pattern.rule().is_none() && !pattern.is_fresh(0, 0));
        pattern.keep(rule, 0xfffe, 9, (3, 110));
        assert_eq!((pattern.rule(), pattern.sum(), pattern.tally()), (Some(rule), 0xfffe, 9));
        assert!(pattern.is_fresh(3, 109) && !pattern.is_fresh(3, 110) && !pattern.is_fresh(4, 100));
        let other = Rule { peer: true, to_host: true, look: false, ..rule };
        pattern.keep(other, 0, 9, (3, 110));
        assert_eq!(pattern.rule(), Some(other));
    }

    #[test]
    fn places_are_in_the_map_and_spread() {
        let mut used = [false; MAX_ENTRIES];
        for number in 0..1024_u64 {
            used[index(number << 56 | (number >> 8) << 48, 0x0200_0000) as usize] = true;
        }
        // Of 1024 thrown at random, 647 places are hit.
        assert!(used.iter().filter(|used| **used).count() > 400);
    }
}
