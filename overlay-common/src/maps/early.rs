//! `EARLY`: what each CPU found out in XDP about packets for ports, so that the next ones like them need not be looked at
//! field by field: what they look like, and where they go.
//!
//! A packet is like another if all that was looked at is the same: whatever of its headers a [`Shape`] does not leave out.
//! What it leaves out is checked for each: lengths, and the sum of the IPv4 header. As a `Flow` of TC, a [`Pattern`] is used only
//! in its generation, and not for long.

use bytemuck::{Pod, Zeroable};

use super::map_data;
use crate::{Family, IfIndex, Vni, VtepId};

/// The map's name: a per-CPU array of [`Pattern`], indexed by [`index`].
pub const NAME: &str = "EARLY";

/// Patterns that each CPU keeps. Two whose places fall together take turns.
pub const MAX_ENTRIES: usize = 1 << 10;

/// How long a pattern is used, in ticks of the kernel's timer, of which a second has at least 100.
pub const FRESH_TICKS: u64 = 10;

/// Words that the longest shape has.
pub const WORDS: usize = 11;

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
    packets: u64,
    bytes: u64,
    words: [u64; WORDS],
}

map_data!(Pattern);

/// The segment has some frames looked at more closely.
const LOOK: u32 = 1;

/// What XDP does with packets of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Their segment.
    pub vni: Vni,
    /// Their sender.
    pub vtep: VtepId,
    /// Where their inner frames go.
    pub port: IfIndex,
    /// Bytes of the longest frame that may go straight there; 0: none may.
    pub longest: u32,
    /// Whether the segment has some frames looked at more closely.
    pub look: bool,
}

/// Which bytes of a packet without IP options are compared: words of 8 bytes, by their offset, and masks on them. Left out
/// are the UDP checksum and source port, and of IP lengths, id, TTL, DF, DSCP, checksum and flow label.
pub struct Shape {
    /// Bytes of all outer headers.
    pub start: usize,
    /// Offsets; the last ones can be the same word.
    pub offsets: [usize; WORDS],
    /// Masks, in the packet's order of bytes.
    masks: [[u8; 8]; WORDS],
}

impl Shape {
    /// Over IPv4: 14 bytes of Ethernet, 20 of IP, 8 of UDP, 8 of VXLAN, 14 of Ethernet.
    pub const IPV4: Self = Self {
        start: 50,
        offsets: [0, 8, 16, 24, 32, 40, 48, 56, 56, 56, 56],
        masks: [
            [0xff; 8],
            // The end of the source, the type, version and length, and of the TOS byte what ECN says.
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03],
            // Not the length, the id, DF and the TTL.
            [0, 0, 0, 0, 0xbf, 0xff, 0, 0xff],
            // Not the checksum.
            [0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            // Not the source port and the length.
            [0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0],
            // Not UDP's checksum.
            [0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            [0xff; 8],
            [0xff; 8],
            [0; 8],
            [0; 8],
            [0; 8],
        ],
    };

    /// Over IPv6: 14 bytes of Ethernet, 40 of IP, 8 of UDP, 8 of VXLAN, 14 of Ethernet.
    pub const IPV6: Self = Self {
        start: 70,
        offsets: [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 76],
        masks: [
            [0xff; 8],
            // The end of the source, the type, version, and of the traffic class what ECN says.
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0, 0x30],
            // Not the flow label, the length and the hop limit.
            [0, 0, 0, 0, 0xff, 0, 0xff, 0xff],
            [0xff; 8],
            [0xff; 8],
            [0xff; 8],
            // The end of the destination; not the source port.
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
            // The port; not length and checksum of UDP.
            [0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff],
            [0xff; 8],
            [0xff; 8],
            [0xff; 8],
        ],
    };

    /// That of a family.
    #[inline(always)]
    #[must_use]
    pub const fn of(family: Family) -> &'static Self {
        match family {
            Family::Ipv4 => &Self::IPV4,
            Family::Ipv6 => &Self::IPV6,
        }
    }

    /// What counts of a word, in this machine's order of bytes.
    #[inline(always)]
    #[must_use]
    pub const fn mask(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.masks[at])
    }
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
    /// Whether it is of this generation, and may be used at `now`, in ticks.
    #[inline(always)]
    #[must_use]
    pub const fn is_fresh(&self, generation: u64, now: u64) -> bool {
        self.generation == generation && now < self.fresh_until
    }

    /// The word at a place of its shape.
    #[inline(always)]
    #[must_use]
    pub const fn word(&self, at: usize) -> u64 {
        self.words[at]
    }

    /// What the fields left out of an IPv4 header sum up to, if the header is right.
    #[inline(always)]
    #[must_use]
    pub const fn sum(&self) -> u16 {
        self.sum as u16
    }

    /// Counts a frame.
    #[inline(always)]
    pub const fn count(&mut self, bytes: u32) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    /// Packets and bytes that were counted here and not in `STATS` yet, and whose they are.
    #[inline(always)]
    #[must_use]
    pub const fn counted(&self) -> Option<(Vni, VtepId, [u64; 2])> {
        if self.packets == 0 {
            return None;
        }
        match (Vni::new(self.vni), VtepId::new(self.vtep as u16)) {
            (Some(vni), Some(vtep)) => Some((vni, vtep, [self.packets, self.bytes])),
            _ => None,
        }
    }

    /// What is done with its packets.
    #[inline(always)]
    #[must_use]
    pub const fn rule(&self) -> Option<Rule> {
        let (vni, vtep, port) = (Vni::new(self.vni), VtepId::new(self.vtep as u16), IfIndex::new(self.port));
        let (Some(vni), Some(vtep), Some(port)) = (vni, vtep, port) else { return None };
        Some(Rule { vni, vtep, port, longest: self.longest, look: self.flags & LOOK != 0 })
    }

    /// Takes the place for other packets, about which nothing is known yet, and forgets what was counted.
    #[inline(always)]
    pub const fn clear(&mut self) {
        (self.fresh_until, self.packets, self.bytes) = (0, 0, 0);
    }

    /// Sets the word at a place of its shape.
    #[inline(always)]
    pub const fn set_word(&mut self, at: usize, word: u64) {
        self.words[at] = word;
    }

    /// Keeps what was found out in `generation`, at `now` in ticks; what was counted has been taken out.
    #[inline(always)]
    pub const fn keep(&mut self, rule: Rule, sum: u16, generation: u64, now: u64) {
        let Rule { vni, vtep, port, longest, look } = rule;
        (self.vni, self.vtep, self.port) = (vni.get(), vtep.index(), port.get());
        (self.longest, self.sum) = (longest, sum as u32);
        self.flags = if look { LOOK } else { 0 };
        (self.generation, self.fresh_until) = (generation, now + FRESH_TICKS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each byte of a packet, which of its bits are compared.
    fn compared(shape: &Shape) -> [u8; 84] {
        let mut bytes = [0; 84];
        for (offset, mask) in shape.offsets.iter().zip(shape.masks) {
            for (byte, mask) in bytes[*offset..].iter_mut().zip(mask) {
                *byte |= mask;
            }
        }
        bytes
    }

    #[test]
    fn shapes_leave_out_what_they_say_and_nothing_else() {
        let v4 = compared(&Shape::IPV4);
        // TOS, length, id, DF, TTL, checksum; source port, length and checksum of UDP.
        let out = [15, 16, 17, 18, 19, 20, 22, 24, 25, 34, 35, 38, 39, 40, 41];
        for (at, mask) in v4[..Shape::IPV4.start + 14].iter().enumerate() {
            assert_eq!(*mask != 0xff, out.contains(&at), "byte {at}");
        }
        assert_eq!((v4[15], v4[20]), (0x03, 0xbf));
        let v6 = compared(&Shape::IPV6);
        // Traffic class, flow label, length, hop limit; source port, length and checksum of UDP.
        let out = [14, 15, 16, 17, 18, 19, 21, 54, 55, 58, 59, 60, 61];
        for (at, mask) in v6.iter().enumerate() {
            assert_eq!(*mask != 0xff, out.contains(&at), "byte {at}");
        }
        assert_eq!((v6[14], v6[15]), (0xf0, 0x30));
    }

    #[test]
    fn a_pattern_says_again_what_it_was_told_while_it_is_fresh() {
        let rule = Rule {
            vni: Vni::MAX,
            vtep: VtepId::FIRST,
            port: IfIndex::new(7).unwrap(),
            longest: 1514,
            look: true,
        };
        let mut pattern = Pattern::zeroed();
        assert!(pattern.rule().is_none() && pattern.counted().is_none() && !pattern.is_fresh(0, 0));
        pattern.keep(rule, 0xfffe, 3, 100);
        assert_eq!((pattern.rule(), pattern.sum()), (Some(rule), 0xfffe));
        assert!(pattern.is_fresh(3, 109) && !pattern.is_fresh(3, 110) && !pattern.is_fresh(4, 100));
        pattern.count(60);
        pattern.count(1514);
        assert_eq!(pattern.counted(), Some((Vni::MAX, VtepId::FIRST, [2, 1574])));
        pattern.clear();
        assert!(pattern.counted().is_none() && !pattern.is_fresh(3, 100));
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
