//! `DEPARTURES`: what each CPU wrote in front of frames for remote VTEPs, so that the next ones like them get the same without
//! being looked at field by field.
//!
//! A frame is like another if all that was looked at is the same: whatever of its headers a [`Shape`] does not leave out. Its
//! length is checked, and written, for each; and each asks what is known of the next hop. As a `Flow`, a [`Departure`] is used
//! only in its generation, and not for long.
//!
//! [`Shape`]: crate::header::shape::Shape

use bytemuck::{Pod, Zeroable};

use super::{map_data, next_hop::Slot};
use crate::{
    Family, IfIndex, Vni, VtepId,
    header::{checksum, eth, ipv4, outer, shape::IPV6_FRAME_WORDS},
};

/// The map's name: a per-CPU array of [`Departure`], indexed by [`index`]. Only programs use it.
pub const NAME: &str = "DEPARTURES";

/// Those that each CPU keeps. Of two whose places fall together one is kept, until its time is over.
pub const MAX_ENTRIES: usize = 1 << 10;

/// Bytes in front of an inner IP header over IPv4: outer headers and inner Ethernet header.
pub const IPV4_LEN: usize = outer::IPV4_LEN + eth::LEN;
/// The same over IPv6.
pub const IPV6_LEN: usize = outer::IPV6_LEN + eth::LEN;

/// Words that these take, the last one not whole.
pub const HEADER_WORDS: usize = IPV6_LEN.div_ceil(8);

/// What is done with frames that are alike.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Departure {
    generation: u64,
    fresh_until: u64,
    device: u32,
    /// What the kernel has as the flow's hash.
    hash: u32,
    vni: u32,
    vtep: u32,
    slot: Slot,
    family: u32,
    /// Bytes of the longest frame, as the segment has it.
    longest: u32,
    /// Of the IPv4 header, what is summed up but for the length.
    sum: u32,
    words: [u64; IPV6_FRAME_WORDS],
    headers: [u64; HEADER_WORDS],
    /// Where its frames are counted, in `TALLIES`.
    tally: u32,
    _padding: u32,
}

map_data!(Departure);

/// Who sends a frame, and what the kernel has as the hash of its flow; 0: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The port.
    pub device: IfIndex,
    /// The hash.
    pub hash: u32,
}

/// Where frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Their segment.
    pub vni: Vni,
    /// The remote VTEP.
    pub vtep: VtepId,
    /// The place of its next hop.
    pub slot: Slot,
    /// Of its address.
    pub family: Family,
    /// Bytes of the longest frame, as the segment has it.
    pub longest: u32,
}

/// The place for frames with these words, below [`MAX_ENTRIES`].
#[inline(always)]
#[must_use]
pub const fn index<const N: usize>(words: &[u64; N]) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut mixed = 0_u64;
    let mut at = 0;
    while at < N {
        mixed = mixed.rotate_left(11) ^ words[at];
        at += 1;
    }
    ((mixed ^ mixed >> 32).wrapping_mul(ODD) >> (u64::BITS - MAX_ENTRIES.ilog2())) as u32
}

/// What an IPv4 header sums up to without its length, by its checksum, which is right.
#[inline(always)]
#[must_use]
pub const fn sum_without_length(ip: &[u8; ipv4::LEN]) -> u32 {
    let (len, check) = (u16::from_be_bytes([ip[2], ip[3]]), u16::from_be_bytes([ip[10], ip[11]]));
    !check as u32 + !len as u32
}

impl Departure {
    /// Whether it is of frames with these words, in which the type of the frame is one, of that sender, of this generation, and may be used at `now`, nanoseconds of
    /// the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub fn is_of<const N: usize>(&self, words: &[u64; N], sender: Sender, generation: u64, now: u64) -> bool {
        let mut differences = u64::from(self.device ^ sender.device.get() | self.hash ^ sender.hash);
        for (one, other) in self.words.iter().zip(words) {
            differences |= one ^ other;
        }
        differences == 0 && self.is_fresh(generation, now)
    }

    /// Whether it is of this generation, and may be used at `now`, nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn is_fresh(&self, generation: u64, now: u64) -> bool {
        self.generation == generation && now < self.fresh_until
    }

    /// Where its frames go. `None` does not happen where it is of any.
    #[inline(always)]
    #[must_use]
    pub const fn route(&self) -> Option<Route> {
        let (Some(vni), Some(vtep)) = (Vni::new(self.vni), VtepId::new(self.vtep as u16)) else {
            return None;
        };
        let family = if self.family == IPV6 { Family::Ipv6 } else { Family::Ipv4 };
        Some(Route { vni, vtep, slot: self.slot, family, longest: self.longest })
    }

    /// Where its frames are counted, in `TALLIES`.
    #[inline(always)]
    #[must_use]
    pub const fn tally(&self) -> u32 {
        self.tally
    }

    /// What is written in front of a frame, as words in this machine's order of bytes: [`IPV4_LEN`] or [`IPV6_LEN`] bytes, of
    /// which the Ethernet header, lengths and the IPv4 checksum are anything.
    #[inline(always)]
    #[must_use]
    pub const fn headers(&self) -> &[u64; HEADER_WORDS] {
        &self.headers
    }

    /// The checksum of an IPv4 header of a packet of `len` bytes.
    #[inline(always)]
    #[must_use]
    pub const fn checksum(&self, len: u16) -> u16 {
        !checksum::fold(self.sum + len as u32)
    }

    /// Keeps what was found out in `generation` about frames with these words, to be used until then: the IPv4 header that
    /// was written, if it was one, without its length; and where they are counted.
    #[inline(always)]
    pub fn keep<const N: usize>(
        &mut self,
        words: &[u64; N],
        sender: Sender,
        route: Route,
        (sum, tally): (u32, u32),
        (generation, until): (u64, u64),
    ) {
        let Route { vni, vtep, slot, family, longest } = route;
        (self.device, self.hash) = (sender.device.get(), sender.hash);
        (self.vni, self.vtep, self.slot, self.longest) = (vni.get(), vtep.index(), slot, longest);
        (self.sum, self.tally) = (sum, tally);
        self.family = if family == Family::Ipv6 { IPV6 } else { 0 };
        for (kept, word) in self.words.iter_mut().zip(words) {
            *kept = *word;
        }
        (self.generation, self.fresh_until) = (generation, until);
    }

    /// What is written in front of a frame, to be set before it is kept.
    #[inline(always)]
    pub const fn headers_mut(&mut self) -> &mut [u64; HEADER_WORDS] {
        &mut self.headers
    }
}

/// How a [`Departure`] says IPv6.
const IPV6: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: Sender = Sender { device: IfIndex::new(3).unwrap(), hash: 0 };

    fn kept() -> ([u64; IPV6_FRAME_WORDS], Route, Departure) {
        let words = [1, 2, 3, 4, 5, 6, 7, 8];
        let route = Route {
            vni: Vni::MAX,
            vtep: VtepId::FIRST,
            slot: Slot::new(VtepId::FIRST),
            family: Family::Ipv6,
            longest: 1464,
        };
        let mut departure = Departure::zeroed();
        departure.keep(&words, SENDER, route, (0, 5), (7, 100));
        (words, route, departure)
    }

    #[test]
    fn one_is_of_frames_like_those_it_was_kept_for_and_of_no_others() {
        let (words, route, departure) = kept();
        assert_eq!(departure.route(), Some(route));
        assert!(departure.is_of(&words, SENDER, 7, 99));
        assert!(!departure.is_of(&words, SENDER, 7, 100) && !departure.is_of(&words, SENDER, 8, 99));
        for at in 0..IPV6_FRAME_WORDS {
            let mut other = words;
            other[at] ^= 1 << 63;
            assert!(!departure.is_of(&other, SENDER, 7, 99), "word {at}");
        }
        let device = IfIndex::new(4).unwrap();
        assert!(!departure.is_of(&words, Sender { device, ..SENDER }, 7, 99));
        assert!(!departure.is_of(&words, Sender { hash: 1 << 31, ..SENDER }, 7, 99));
        assert!(!Departure::zeroed().is_of(&[0; IPV6_FRAME_WORDS], SENDER, 0, 0));
    }

    #[test]
    fn checksums_are_right_for_any_length() {
        let mut ip = [0x45, 0, 0x05, 0xdc, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let check = !checksum::fold(checksum::sum(&ip));
        [ip[10], ip[11]] = check.to_be_bytes();
        let (words, route, mut departure) = kept();
        departure.keep(&words, SENDER, route, (sum_without_length(&ip), 5), (7, 100));
        for len in 0..=u16::MAX {
            [ip[2], ip[3]] = len.to_be_bytes();
            [ip[10], ip[11]] = departure.checksum(len).to_be_bytes();
            assert!(ipv4::checksum_is_right(&ip, 0), "{len}");
        }
    }

    #[test]
    fn places_are_in_the_map_and_spread() {
        let mut used = [false; MAX_ENTRIES];
        for number in 0..1024_u64 {
            // Ports count up, and so do addresses, at the ends of words.
            let words = [2, 0, 0, 0, (number % 64) << 48 | (number / 64) << 24, 0, 0, 0];
            used[index(&words) as usize] = true;
        }
        // Of 1024 thrown at random, 647 places are hit.
        assert!(used.iter().filter(|used| **used).count() > 500);
    }
}
