//! Knowing packets again that are like those before: XDP's way to do without looking at all of their fields.

use aya_ebpf::{helpers::bpf_jiffies64, programs::XdpContext};
use overlay_common::{
    Family,
    header::{checksum, eth, ipv4, ipv6},
    maps::early::{self, Pattern, Rule, Shape, WORDS},
};

use crate::{
    maps::{counters, early as patterns},
    packet::{Packet as _, word},
};

/// Bytes that all headers have without IP options, inner Ethernet included.
const fn len_of(family: Family) -> usize {
    Shape::of(family).start + eth::LEN
}

/// Words of a packet that hold what a [`Shape`] leaves out of the IPv4 header, and what of them is summed up: version, length
/// and TOS; total length, id, fragment, TTL and protocol; checksum.
const SUMMED: [(usize, [u8; 8]); 3] =
    [(8, [0, 0, 0, 0, 0, 0, 0xff, 0xff]), (16, [0xff; 8]), (24, [0xff, 0xff, 0, 0, 0, 0, 0, 0])];

/// What is done with packets like this one, if that is known, and this one is right.
#[inline(always)]
pub(crate) fn known(
    context: &XdpContext,
    family: Family,
    generation: u64,
) -> Option<(Rule, &'static mut Pattern)> {
    match family {
        Family::Ipv4 => known_as::<{ len_of(Family::Ipv4) }>(context, Family::Ipv4, generation),
        Family::Ipv6 => known_as::<{ len_of(Family::Ipv6) }>(context, Family::Ipv6, generation),
    }
}

/// Keeps what is to be done with packets like this one, in which everything is right.
#[inline(always)]
pub(crate) fn keep(context: &XdpContext, family: Family, generation: u64, rule: Rule) {
    // It is long enough.
    let _ = match family {
        Family::Ipv4 => keep_as::<{ len_of(Family::Ipv4) }>(context, Family::Ipv4, generation, rule),
        Family::Ipv6 => keep_as::<{ len_of(Family::Ipv6) }>(context, Family::Ipv6, generation, rule),
    };
}

#[inline(always)]
fn known_as<const LEN: usize>(
    context: &XdpContext,
    family: Family,
    generation: u64,
) -> Option<(Rule, &'static mut Pattern)> {
    let head = context.get::<[u8; LEN]>(0)?;
    let slot = patterns::at(place(head, family))?;
    if !slot.is_fresh(generation, ticks()) || !is_like(head, family, slot) {
        return None;
    }
    let is_right =
        has_lengths(head, family, context.len()) && (family == Family::Ipv6 || sum(head) == slot.sum());
    if is_right { Some((slot.rule()?, slot)) } else { None }
}

#[inline(always)]
fn keep_as<const LEN: usize>(
    context: &XdpContext,
    family: Family,
    generation: u64,
    rule: Rule,
) -> Option<()> {
    let head = context.get::<[u8; LEN]>(0)?;
    let slot = patterns::at(place(head, family))?;
    if let Some((vni, vtep, counted)) = slot.counted() {
        counters::received_before(vni, vtep, counted);
    }
    slot.clear();
    let shape = Shape::of(family);
    for at in 0..WORDS {
        slot.set_word(at, word(head, shape.offsets[at]) & shape.mask(at));
    }
    slot.keep(rule, sum(head), generation, ticks());
    Some(())
}

#[inline(always)]
fn ticks() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_jiffies64() }
}

#[inline(always)]
fn place<const LEN: usize>(head: &[u8; LEN], family: Family) -> u32 {
    let inner = Shape::of(family).start;
    early::index(word(head, inner + 4), word(head, inner) as u32)
}

#[inline(always)]
fn is_like<const LEN: usize>(head: &[u8; LEN], family: Family, pattern: &Pattern) -> bool {
    let shape = Shape::of(family);
    let mut differences = 0;
    for at in 0..WORDS {
        if shape.mask(at) != 0 {
            differences |= word(head, shape.offsets[at]) & shape.mask(at) ^ pattern.word(at);
        }
    }
    differences == 0
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
