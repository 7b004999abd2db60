//! Knowing packets of tunnels again that are like those before: a way to do without looking at all of their fields.

use overlay_common::{
    Family,
    header::{checksum, eth, ipv4, ipv6, outer, shape::Shape},
    maps::early::{self, Pattern, Rule},
};

use crate::{
    maps::counters,
    packet::{Packet, word},
};

/// Bytes that all headers have without IP options, inner Ethernet included.
const fn len_of(family: Family) -> usize {
    Shape::of_tunnel(family).len
}

/// Words of a packet that hold what its shape leaves out of the IPv4 header, and what of them is summed up: version, length
/// and TOS; total length, id, fragment, TTL and protocol; checksum.
const SUMMED: [(usize, [u8; 8]); 3] =
    [(8, [0, 0, 0, 0, 0, 0, 0xff, 0xff]), (16, [0xff; 8]), (24, [0xff, 0xff, 0, 0, 0, 0, 0, 0])];

/// Where patterns are kept, by their [`early::index`].
pub(crate) trait Kept {
    /// What stands at a place.
    fn at(index: u32) -> Option<&'static mut Pattern>;
}

/// What is done with packets like this one, if that is known, and this one is right. It may be used at `now`.
#[inline(always)]
pub(crate) fn known<K: Kept>(
    packet: &impl Packet,
    family: Family,
    generation: u64,
    now: u64,
) -> Option<(Rule, &'static mut Pattern)> {
    match family {
        Family::Ipv4 => known_as::<K, { len_of(Family::Ipv4) }>(packet, Family::Ipv4, generation, now),
        Family::Ipv6 => known_as::<K, { len_of(Family::Ipv6) }>(packet, Family::Ipv6, generation, now),
    }
}

/// Keeps what is to be done with packets like this one, in which everything is right: from now until then.
#[inline(always)]
pub(crate) fn keep<K: Kept>(
    packet: &impl Packet,
    family: Family,
    generation: u64,
    rule: Rule,
    time: (u64, u64),
) {
    // It is long enough.
    let _ = match family {
        Family::Ipv4 => keep_as::<K, { len_of(Family::Ipv4) }>(packet, Family::Ipv4, generation, rule, time),
        Family::Ipv6 => keep_as::<K, { len_of(Family::Ipv6) }>(packet, Family::Ipv6, generation, rule, time),
    };
}

#[inline(always)]
fn known_as<K: Kept, const LEN: usize>(
    packet: &impl Packet,
    family: Family,
    generation: u64,
    now: u64,
) -> Option<(Rule, &'static mut Pattern)> {
    let head = packet.get::<[u8; LEN]>(0)?;
    let slot = K::at(place(head, family))?;
    if !slot.is_fresh(generation, now) || differs(head, Shape::of_tunnel(family), slot.words()) {
        return None;
    }
    let is_right =
        has_lengths(head, family, packet.len()) && (family == Family::Ipv6 || sum(head) == slot.sum());
    if is_right { Some((slot.rule()?, slot)) } else { None }
}

#[inline(always)]
fn keep_as<K: Kept, const LEN: usize>(
    packet: &impl Packet,
    family: Family,
    generation: u64,
    rule: Rule,
    (now, until): (u64, u64),
) -> Option<()> {
    let head = packet.get::<[u8; LEN]>(0)?;
    let slot = K::at(place(head, family))?;
    // Two whose places fall together would only wear each other out.
    if slot.is_fresh(generation, now) {
        return None;
    }
    for (at, kept) in slot.words_mut().iter_mut().enumerate() {
        *kept = masked(head, Shape::of_tunnel(family), at);
    }
    slot.keep(rule, sum(head), counters::tally(rule.vni, rule.vtep), (generation, until));
    Some(())
}

#[inline(always)]
fn place<const LEN: usize>(head: &[u8; LEN], family: Family) -> u32 {
    let inner = outer::len(family);
    early::index(word(head, inner + 4), word(head, inner) as u32)
}

/// What counts of the word `at` of a shape; 0 where nothing does.
#[inline(always)]
pub(crate) fn masked<const LEN: usize, const N: usize>(head: &[u8; LEN], shape: &Shape<N>, at: usize) -> u64 {
    shape.word(at).map_or(0, |(offset, mask)| word(head, offset) & mask)
}

/// Whether a packet is not like those with these words.
#[inline(always)]
fn differs<const LEN: usize, const N: usize>(head: &[u8; LEN], shape: &Shape<N>, words: &[u64; N]) -> bool {
    let mut differences = 0;
    for (at, kept) in words.iter().enumerate() {
        if shape.word(at).is_some() {
            differences |= masked(head, shape, at) ^ kept;
        }
    }
    differences != 0
}

/// Whether IP and UDP both end where the packet does.
#[inline(always)]
fn has_lengths<const LEN: usize>(head: &[u8; LEN], family: Family, len: usize) -> bool {
    const IPV4_UDP: usize = eth::LEN + ipv4::LEN;
    const IPV6_UDP: usize = eth::LEN + ipv6::LEN;
    match family {
        Family::Ipv4 => {
            half(head, eth::LEN + 2) == length(len - eth::LEN)
                && half(head, IPV4_UDP + 4) == length(len - IPV4_UDP)
        }
        Family::Ipv6 => {
            let length = length(len - IPV6_UDP);
            half(head, eth::LEN + 4) == length && half(head, IPV6_UDP + 4) == length
        }
    }
}

/// A length as the fields of a packet have it.
#[inline(always)]
const fn length(bytes: usize) -> u16 {
    (bytes as u16).to_be()
}

/// The sum of what a shape leaves out of the IPv4 header, in this machine's order of bytes.
#[inline(always)]
fn sum<const LEN: usize>(head: &[u8; LEN]) -> u16 {
    let mut sum = 0;
    for (at, mask) in SUMMED {
        let word = word(head, at) & u64::from_ne_bytes(mask);
        sum += (word & 0xffff_ffff) + (word >> 32);
    }
    checksum::fold(((sum & 0xffff) + (sum >> 16)) as u32)
}

#[inline(always)]
fn half<const LEN: usize>(head: &[u8; LEN], at: usize) -> u16 {
    u16::from_ne_bytes([head[at], head[at + 1]])
}
