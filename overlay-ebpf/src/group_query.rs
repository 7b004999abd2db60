//! Queries of IGMP and MLD: only those count that everybody hears whom they ask. Who hears none says nothing, and would be
//! taken for one who does not listen.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::bpf_loop;
use network_types::{eth::EthHdr, ip::Ipv6Hdr};
use overlay_common::{
    Family, UnderlayAddr, Vni,
    header::{checksum, eth, igmp, ipv4, ipv6, mld},
    maps::{
        flood::FloodList,
        mdb::{Group, LAST_QUERIES, LEFT_NS, Listener, MdbKey, Subject},
    },
};

use crate::{
    group_message::{Found, NETWORK},
    maps::{flood, flooding, mdb},
    packet::Packet as _,
    skb::Skb,
};

/// All hosts (RFC 3376, section 4.1.12).
const ALL_IPV4: UnderlayAddr = UnderlayAddr::from_ipv4([224, 0, 0, 1]);
/// All nodes of the link (RFC 3810, section 5.1.15).
const ALL_IPV6: UnderlayAddr = UnderlayAddr::from_ipv6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// The option that says that routers shall look at a packet (RFC 2113).
const ALERT_IPV4: [u8; 4] = [0x94, 4, 0, 0];
/// The same for MLD (RFC 2711).
const ALERT_IPV6: [u8; 4] = [5, 2, 0, 0];

/// Bytes of an IPv4 header with that option.
const HEADER_LEN: usize = ipv4::LEN + ALERT_IPV4.len();

/// Whether all hosts hear a query, or at least those who listen to `group`, which it is about: RFC 3376, sections 4 and 9.1,
/// and RFC 3810, section 6.2, tell them to ignore others.
#[inline(always)]
pub(crate) fn is_heard(skb: &Skb, found: &Found, group: Option<UnderlayAddr>) -> bool {
    let (is_right, destination, all) = match found.family {
        Family::Ipv4 => (is_right_ipv4(skb), destination_ipv4(skb), ALL_IPV4),
        Family::Ipv6 => (is_right_ipv6(skb), destination_ipv6(skb), ALL_IPV6),
    };
    let (Some(true), Some(destination), Some(header)) = (is_right, destination, skb.get::<EthHdr>(0)) else {
        return false;
    };
    let is_to_them = destination == all || group.is_some_and(|group| destination == group);
    is_to_them && eth::destination(header) == destination.group_mac()
}

#[inline(always)]
fn destination_ipv4(skb: &Skb) -> Option<UnderlayAddr> {
    let header = skb.get::<[u8; HEADER_LEN]>(NETWORK)?;
    Some(UnderlayAddr::from_ipv4([header[16], header[17], header[18], header[19]]))
}

#[inline(always)]
fn destination_ipv6(skb: &Skb) -> Option<UnderlayAddr> {
    Some(UnderlayAddr::from_ipv6(skb.get::<Ipv6Hdr>(NETWORK)?.dst_addr))
}

/// The sender may have no address: it asks on behalf of others then.
#[inline(always)]
fn is_right_ipv4(skb: &Skb) -> Option<bool> {
    const VERSION_AND_LENGTH: u8 = 0x40 | (HEADER_LEN / 4) as u8;
    let header = skb.get::<[u8; HEADER_LEN]>(NETWORK)?;
    let (source, options) =
        ([header[12], header[13], header[14], header[15]], [header[20], header[21], header[22], header[23]]);
    let is_from_somebody = u32::from_ne_bytes(source) == 0 || UnderlayAddr::from_ipv4(source).is_of_a_host();
    let ttl = header[8];
    Some(
        header[0] == VERSION_AND_LENGTH
            && ttl == 1
            && options == ALERT_IPV4
            && is_from_somebody
            && checksum::fold(checksum::sum(header)) == 0xffff,
    )
}

/// Its hop limit was looked at with the message.
#[inline(always)]
fn is_right_ipv6(skb: &Skb) -> Option<bool> {
    let ip = skb.get::<Ipv6Hdr>(NETWORK)?;
    ipv6::next(ip)?;
    let is_of_the_link = ip.src_addr[0] == 0xfe && ip.src_addr[1] & 0xc0 == 0x80;
    let [_, 0, a, b, c, d, e, f] = *skb.get::<[u8; 8]>(NETWORK + ipv6::LEN)? else { return Some(false) };
    // Two bytes of padding stand behind the option, or in front of it.
    let (option, pad) = if a == ALERT_IPV6[0] { ([a, b, c, d], [e, f]) } else { ([c, d, e, f], [a, b]) };
    Some(is_of_the_link && option == ALERT_IPV6 && (pad == [0, 0] || pad == [1, 0]))
}

/// Notes a query of segment `vni` about a group: those who listen to it count on for as long as they have to answer.
#[inline(always)]
pub(crate) fn hear(skb: &Skb, vni: Vni, found: &Found, (group, within): (UnderlayAddr, u64), now: u64) {
    if is_heard(skb, found, Some(group))
        && let Some(group) = Group::new(group)
        && let Some(time) = time_to_answer(skb, found, within)
    {
        shorten(vni, group, now + time);
    }
}

/// How long those who listen to the group that a query is about count on, if they do not answer; `None`: not
/// all of them are asked, or answers to an earlier query are not to be forgotten (RFC 3376, sections 4.1.5 and 6.6.1).
#[inline(always)]
fn time_to_answer(skb: &Skb, found: &Found, within: u64) -> Option<u64> {
    const SUPPRESS: u8 = 1 << 3;
    let head = match found.family {
        Family::Ipv4 => igmp::LEN,
        Family::Ipv6 => mld::LEN,
    };
    if found.len != head {
        let mut rest = [0; 4];
        skb.load(found.at + head, &mut rest, 4).ok()?;
        let [flags, _, sources @ ..] = rest;
        if found.len != head + rest.len() || flags & SUPPRESS != 0 || sources != [0; 2] {
            return None;
        }
    }
    Some((within * LAST_QUERIES).max(LEFT_NS))
}

/// A walk along all places where somebody may listen.
struct Asked {
    vni: Vni,
    list: &'static FloodList,
    group: Group,
    until: u64,
}

/// Lets those who listen to a group in segment `vni` count until then, wherever they are, unless they say that they do.
#[inline(always)]
fn shorten(vni: Vni, group: Group, until: u64) {
    let Some(list) = flood::get(vni) else { return };
    let mut asked = Asked { vni, list, group, until };
    let places = list.port_count() + list.vtep_count();
    // SAFETY: `shorten_at` takes the `Asked` that it is given here, which outlives the loop.
    unsafe { bpf_loop(places, shorten_at as *mut c_void, ptr::from_mut(&mut asked).cast(), 0) };
}

unsafe extern "C" fn shorten_at(at: u64, asked: *mut c_void) -> i64 {
    // SAFETY: `shorten` passes an `Asked`.
    let asked = unsafe { &*asked.cast::<Asked>() };
    let ports = asked.list.port_count() as usize;
    let at = at as usize;
    let place = if at < ports {
        asked.list.port(at).map(Listener::Port)
    } else {
        asked.list.vtep(at - ports).map(Listener::Vtep)
    };
    let (Some(place), Some(key)) = (place.filter(|_| asked.list.is_of(asked.vni)), flooding::mdb_key())
    else {
        return 0;
    };
    *key = MdbKey::new(asked.vni, Subject::Listener(asked.group, place));
    if let Some(entry) = mdb::entry_mut(key)
        && entry.until() > asked.until
    {
        entry.set_until(asked.until);
    }
    0
}
