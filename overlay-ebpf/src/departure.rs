//! Sending a workload's frame like one before it: the same headers in front of it, the same way.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
};
use overlay_common::{
    DropReason, Family, IfIndex, Vni, VtepId,
    header::{
        eth::{self, Payload},
        flow_hash::has_ports,
        ipv4::{self, Fragment},
        ipv6, outer,
        policy::DONT_FRAGMENT,
        shape::Shape,
    },
    maps::{
        departure::{self, Departure, IPV4_LEN, IPV6_LEN, Route, Sender},
        next_hop::NextHop,
    },
};

use crate::{
    maps::{counters, departures, next_hops, vteps},
    next_hop,
    packet::{Packet as _, put_word, word},
    pattern::masked,
    redirect,
    skb::Skb,
    verdict::Outcome,
};

const IPV4_FRAME: usize = Shape::IPV4_FRAME.len;
const IPV6_FRAME: usize = Shape::IPV6_FRAME.len;

/// Offsets in an outer packet, whose IP header is behind that of Ethernet.
const IPV4_TOTAL_LEN: usize = eth::LEN + 2;
const IPV4_CHECK: usize = eth::LEN + 10;
const IPV6_PAYLOAD_LEN: usize = eth::LEN + 4;
const IPV4_UDP_LEN: usize = eth::LEN + ipv4::LEN + 4;
const IPV6_UDP_LEN: usize = eth::LEN + ipv6::LEN + 4;

/// Sends a frame like one before it, which came at `now`. `None`: nothing is known of such frames, or it differs in what is not compared; it is as
/// it was.
#[inline(always)]
pub(crate) fn repeat(skb: &mut Skb, device: IfIndex, generation: u64, now: u64) -> Option<Outcome> {
    if skb.gso_size() != 0 {
        return None;
    }
    let time = (generation, now);
    match eth::payload(skb.get::<EthHdr>(0)?) {
        Payload::Ipv4 => repeat_as::<IPV4_FRAME, _>(skb, device, &Shape::IPV4_FRAME, Payload::Ipv4, time),
        Payload::Ipv6 => repeat_as::<IPV6_FRAME, _>(skb, device, &Shape::IPV6_FRAME, Payload::Ipv6, time),
        Payload::Vlan | Payload::Other => None,
    }
}

#[inline(always)]
fn repeat_as<const LEN: usize, const N: usize>(
    skb: &mut Skb,
    device: IfIndex,
    shape: &Shape<N>,
    payload: Payload,
    (generation, now): (u64, u64),
) -> Option<Outcome> {
    let words = words(skb.get::<[u8; LEN]>(0)?, shape);
    let departure = departures::at(departure::index(&words))?;
    let sender = Sender { device, hash: skb.noted_hash() };
    if !departure.is_of(&words, sender, generation, now) {
        return None;
    }
    let route = departure.route()?;
    let hop = next_hops::get(route.slot)?;
    let (len, ip_len) = (skb.len(), skb.len() + outer::overhead(route.family) as u32);
    if !hop.is_good(route.slot, now)
        || len > route.longest
        || ip_len > u32::from(u16::MAX)
        || !hop.carries(ip_len)
    {
        return None;
    }
    let uplink = hop.uplink()?;
    // What fails changes nothing. Neither room need be announced: the packet is complete.
    skb.make_room(payload, route.family, 0).ok()?;
    Some(write(skb, departure, hop, &route, ip_len).and_then(|()| {
        counters::sent_at(departure.tally(), route.vni, route.vtep, len);
        redirect::to_device(uplink)
    }))
}

/// Writes all headers in front of a frame that has room for them.
#[inline(always)]
fn write(
    skb: &mut Skb,
    departure: &Departure,
    hop: &NextHop,
    route: &Route,
    ip_len: u32,
) -> Result<(), DropReason> {
    let ip_len = ip_len as u16;
    match route.family {
        Family::Ipv4 => {
            let bytes = skb.get_mut::<[u8; IPV4_LEN]>(0).ok_or(DropReason::EncapFailed)?;
            put_headers(bytes, departure, hop);
            put_half(bytes, IPV4_TOTAL_LEN, ip_len);
            put_half(bytes, IPV4_CHECK, departure.checksum(ip_len));
            put_half(bytes, IPV4_UDP_LEN, ip_len - ipv4::LEN as u16);
        }
        Family::Ipv6 => {
            let bytes = skb.get_mut::<[u8; IPV6_LEN]>(0).ok_or(DropReason::EncapFailed)?;
            put_headers(bytes, departure, hop);
            let udp_len = ip_len - ipv6::LEN as u16;
            put_half(bytes, IPV6_PAYLOAD_LEN, udp_len);
            put_half(bytes, IPV6_UDP_LEN, udp_len);
        }
    }
    Ok(())
}

#[inline(always)]
fn put_headers<const LEN: usize>(bytes: &mut [u8; LEN], departure: &Departure, hop: &NextHop) {
    for (at, kept) in departure.headers().iter().enumerate() {
        if let Some(offset) = offset::<LEN>(at) {
            put_word(bytes, offset, *kept);
        }
    }
    put_word(bytes, 0, word(hop.ethernet(), 0));
    put_word(bytes, eth::LEN - 8, word(hop.ethernet(), eth::LEN - 8));
}

/// Where the word `at` of headers of `LEN` bytes lies. The last one overlaps the one before if they are not whole words.
#[inline(always)]
const fn offset<const LEN: usize>(at: usize) -> Option<usize> {
    if at * 8 + 8 <= LEN {
        Some(at * 8)
    } else if at * 8 < LEN {
        Some(LEN - 8)
    } else {
        None
    }
}

#[inline(always)]
fn put_half<const LEN: usize>(bytes: &mut [u8; LEN], at: usize, half: u16) {
    [bytes[at], bytes[at + 1]] = half.to_be_bytes();
}

#[inline(always)]
fn words<const LEN: usize, const N: usize>(head: &[u8; LEN], shape: &Shape<N>) -> [u64; N] {
    let mut words = [0; N];
    for (at, kept) in words.iter_mut().enumerate() {
        *kept = masked(head, shape, at);
    }
    words
}

/// What was found out about a frame that was sent.
pub(crate) struct Sent {
    pub(crate) sender: Sender,
    pub(crate) vni: Vni,
    pub(crate) vtep: VtepId,
    pub(crate) flow_hash: u32,
    /// Bytes of the longest frame, as the segment has it.
    pub(crate) longest: u32,
    pub(crate) generation: u64,
    /// When the frame came, and until when what was found out can be used.
    pub(crate) time: (u64, u64),
}

/// Keeps what was done with a frame, whose headers were written, for those like it: plain ones of TCP and UDP.
#[inline(always)]
pub(crate) fn keep(skb: &mut Skb, sent: &Sent) {
    keep_apart(skb.raw(), sent);
}

/// In a stack frame of its own, since the caller's is short.
#[inline(never)]
fn keep_apart(skb: *mut __sk_buff, sent: &Sent) -> i32 {
    let skb = Skb::new(TcContext::new(skb));
    i32::from(keep_if_plain(&skb, sent).is_some())
}

#[inline(always)]
fn keep_if_plain(skb: &Skb, sent: &Sent) -> Option<()> {
    let vtep = vteps::get(sent.vtep)?;
    let family = vtep.family();
    let slot = next_hop::slot_of(sent.vtep, vtep, sent.flow_hash);
    let hop = next_hops::get(slot)?;
    let (now, _) = sent.time;
    // The UDP checksum is over what differs.
    if vtep.udp_checksum() || !hop.is_good(slot, now) {
        return None;
    }
    let Sent { vni, vtep, longest, .. } = *sent;
    let route = Route { vni, vtep, slot, family, longest };
    match family {
        Family::Ipv4 => {
            let ip = skb.get::<[u8; ipv4::LEN]>(eth::LEN)?;
            // That of a packet that may be fragmented has an id.
            if ip[6] & DONT_FRAGMENT == 0 {
                return None;
            }
            let sum = departure::sum_without_length(ip);
            keep_with::<IPV4_LEN, { outer::IPV4_LEN }>(skb, sum, sent, route)
        }
        Family::Ipv6 => keep_with::<IPV6_LEN, { outer::IPV6_LEN }>(skb, 0, sent, route),
    }
}

/// Keeps headers of `LEN` bytes, of which those outside the frame are `OUTER`.
#[inline(always)]
fn keep_with<const LEN: usize, const OUTER: usize>(
    skb: &Skb,
    sum: u32,
    sent: &Sent,
    route: Route,
) -> Option<()> {
    match eth::payload(skb.get::<EthHdr>(OUTER)?) {
        Payload::Ipv4 => {
            let ip = skb.get::<Ipv4Hdr>(OUTER + eth::LEN)?;
            let is_plain = ipv4::header_len(ip) == Some(ipv4::LEN) && ipv4::fragment(ip) == Fragment::Whole;
            if !is_plain || !has_ports(ip.proto) {
                return None;
            }
            keep_as::<LEN, OUTER, IPV4_FRAME, _>(skb, &Shape::IPV4_FRAME, sum, sent, route)
        }
        Payload::Ipv6 => {
            let ip = skb.get::<Ipv6Hdr>(OUTER + eth::LEN)?;
            if ip.vcf[0] >> 4 != 6 || !has_ports(ip.next_hdr) {
                return None;
            }
            keep_as::<LEN, OUTER, IPV6_FRAME, _>(skb, &Shape::IPV6_FRAME, sum, sent, route)
        }
        Payload::Vlan | Payload::Other => None,
    }
}

#[inline(always)]
fn keep_as<const LEN: usize, const OUTER: usize, const FRAME: usize, const N: usize>(
    skb: &Skb,
    shape: &Shape<N>,
    sum: u32,
    sent: &Sent,
    route: Route,
) -> Option<()> {
    let words = words(skb.get::<[u8; FRAME]>(OUTER)?, shape);
    let departure = departures::at(departure::index(&words))?;
    let (now, until) = sent.time;
    // Two whose places fall together would only wear each other out.
    if departure.is_fresh(sent.generation, now) {
        return None;
    }
    let headers = skb.get::<[u8; LEN]>(0)?;
    for (at, kept) in departure.headers_mut().iter_mut().enumerate() {
        if let Some(offset) = offset::<LEN>(at) {
            *kept = word(headers, offset);
        }
    }
    let tally = counters::tally(sent.vni, sent.vtep);
    departure.keep(&words, sent.sender, route, (sum, tally), (sent.generation, until));
    Some(())
}
