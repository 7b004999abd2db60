//! Telling a workload that its packet does not fit the path: ICMP type 3 code 4 (RFC 1191), `ICMPv6` packet too big (RFC
//! 8201). The answer takes the place of the packet, and seems to come from whom the packet was for, as the kernel's tunnels
//! have it (`iptunnel_pmtud_build_icmp` in `net/ipv4/ip_tunnel_core.c`): no router is there that it could come from.

use network_types::ip::{IpProto, Ipv4Hdr, Ipv6Hdr};
use overlay_common::{
    DropReason, Family, IfIndex, Notice, Vni, VtepId,
    explain::Step,
    header::{
        eth::{self, Payload},
        icmp,
        ipv4::{self, Fragment},
        ipv6, outer,
    },
    maps::{jump::Jump, next_hop::Slot, path_mtu::IPV6_MIN, segment::Segment, vtep::Vtep},
};

use crate::{
    checksum::Sum,
    clock, deliver, explain, flow_hash,
    frame::Frame,
    maps::{answers, jumps, notices, scratch, segments, vteps},
    next_hop,
    packet::Packet as _,
    skb::Skb,
    verdict::Outcome,
    watch,
};

/// Bytes that are taken out behind the Ethernet header. The kernel notes in a packet whose checksum is still to be filled in
/// where that begins, and forgets about it when that place is taken out (`skb_postpull_rcsum`). Otherwise it would write a
/// checksum into the answer. More than any headers before TCP and UDP have that a workload's kernel offloads.
const TAKEN_OUT: u32 = 512;

/// The smallest MTU of IPv4 (RFC 791, section 3.2).
const IPV4_MIN: u32 = 68;

/// Answers a frame that does not fit into the tunnel to the remote VTEP that was handed over with it. It counts as dropped,
/// answered or not.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    let device = skb.device().ok_or(DropReason::UnknownPort)?;
    let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    let frame = answer(skb, device, segment)?;
    deliver::to_port(skb, vni, segment, (device, false), &frame)
}

/// The same for a frame in transit. The answer goes back as if it had come from that remote VTEP.
#[inline(always)]
pub(crate) fn from_tunnel(skb: &mut Skb) -> Outcome {
    let device = skb.device().ok_or(DropReason::UnknownPort)?;
    let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    answer(skb, device, segment)?;
    jumps::jump(skb, Jump::ForwardFromTunnel)
}

/// Makes the answer of a frame, and counts; the frame that it was. Answers are held to a rate for each `device`.
#[inline(always)]
fn answer(skb: &mut Skb, device: IfIndex, segment: &Segment) -> Result<Frame, DropReason> {
    let now = clock::now();
    let frame = Frame::handed_over(skb)?;
    let vtep = skb.handed_over_vtep().ok_or(DropReason::UnknownVtep)?;
    let room = room(skb, segment, &frame, vtep, now);
    explain::note(|| Step::Room(room.unwrap_or(0)));
    let room = room.ok_or(DropReason::TooBig)?;
    let answered = match frame.payload() {
        Payload::Ipv4 => answer_ipv4(skb, device, &frame, room, now),
        Payload::Ipv6 => answer_ipv6(skb, device, &frame, room, now),
        Payload::Vlan | Payload::Other => None,
    };
    answered.ok_or(DropReason::TooBig)?;
    watch::dropped(skb, DropReason::TooBig);
    notices::count(Notice::TooBigAnswered);
    Ok(frame)
}

/// The largest IP packet of the workload's flow that fits its segment and the path to the VTEP `id`, in bytes.
#[inline(always)]
fn room(skb: &Skb, segment: &Segment, frame: &Frame, id: VtepId, now: u64) -> Option<u32> {
    let vtep = vteps::get(id)?;
    let slot = next_hop::slot_of(id, vtep, flow_hash::of(skb, frame));
    room_by(skb, segment, frame, (id, vtep, slot), now)
}

/// The largest IP packet of a workload that fits its segment and, behind the VLAN tags that the frame keeps, the path to a VTEP
/// by the next hop of a slot, in bytes.
#[inline(always)]
pub(crate) fn room_by(
    skb: &Skb,
    segment: &Segment,
    frame: &Frame,
    (id, vtep, slot): (VtepId, &Vtep, Slot),
    now: u64,
) -> Option<u32> {
    let overhead = outer::overhead(vtep.family()) + eth::LEN + skb.tags_handed_over().len();
    // A workload cannot be told less over IPv6, so what was told of the path must not take that from it.
    let least = if frame.payload() == Payload::Ipv6 { IPV6_MIN + overhead as u16 } else { 0 };
    let mtu = next_hop::mtu(skb, id, vtep, slot, least, now)?;
    let room = u32::from(mtu).checked_sub(overhead as u32)?;
    Some(segment.mtu().map_or(room, |mtu| room.min(u32::from(mtu))))
}

/// Packets that may be fragmented are answered like others: a VTEP does not fragment, so they do not arrive, and a sender
/// that learns the MTU fragments them itself. The kernel's `vxlan` answers only those with DF set, and fragments its own
/// packets for the others.
#[inline(always)]
fn answer_ipv4(skb: &mut Skb, device: IfIndex, frame: &Frame, mtu: u32, now: u64) -> Option<()> {
    let ip = *skb.get::<Ipv4Hdr>(eth::LEN)?;
    let header_len = ipv4::header_len(&ip)?;
    let len = ip_len(skb, u32::from(ipv4::total_len(&ip)), mtu)?;
    let is_answerable = icmp::is_ipv4_host(ip.src_addr)
        && icmp::is_ipv4_host(ip.dst_addr)
        && ipv4::fragment(&ip) != Fragment::Later
        && mtu >= IPV4_MIN;
    if !is_answerable || (ip.proto == IpProto::Icmp as u8 && is_error(skb, Family::Ipv4, header_len)?) {
        return None;
    }
    permit(device, now)?;
    let quoted = len.min(icmp::IPV4_QUOTE_LEN as u32);
    let message = scratch::get()?.first_chunk_mut::<{ icmp::IPV4_FRAME_LEN }>()?;
    let (headers, quote) = message.split_first_chunk_mut::<{ icmp::IPV4_HEADERS_LEN }>()?;
    let quote = quote.first_chunk_mut::<{ icmp::IPV4_QUOTE_LEN }>()?;
    take_quote(skb, quote, quoted)?;
    let (ethernet, headers) = headers.split_first_chunk_mut::<{ eth::LEN }>()?;
    *ethernet = frame.reversed();
    let headers = headers.first_chunk_mut::<{ ipv4::LEN + icmp::LEN }>()?;
    *headers = icmp::ipv4_too_big(ip.dst_addr, ip.src_addr, quoted as u16, mtu as u16);
    let check = Sum::ZERO.with(headers.last_chunk::<{ icmp::LEN }>()?).with(quote).checksum();
    [headers[icmp::IPV4_CHECKSUM_AT], headers[icmp::IPV4_CHECKSUM_AT + 1]] = check;
    replace(skb, message, icmp::IPV4_HEADERS_LEN as u32 + quoted, Payload::Ipv4)
}

/// A path that carries less than the smallest MTU of IPv6 cannot be told: a sender must not go below that (RFC 8201,
/// section 4), and to name that one would be a lie. IPv6 does not work there (RFC 8200, section 5).
#[inline(always)]
fn answer_ipv6(skb: &mut Skb, device: IfIndex, frame: &Frame, mtu: u32, now: u64) -> Option<()> {
    let ip = *skb.get::<Ipv6Hdr>(eth::LEN)?;
    ipv6::next(&ip)?;
    let len = ip_len(skb, u32::from(ipv6::payload_len(&ip)) + ipv6::LEN as u32, mtu)?;
    let is_answerable =
        icmp::is_ipv6_host(ip.src_addr) && icmp::is_ipv6_host(ip.dst_addr) && mtu >= u32::from(IPV6_MIN);
    let is_icmp = ip.next_hdr == IpProto::Ipv6Icmp as u8;
    if !is_answerable || (is_icmp && is_error(skb, Family::Ipv6, ipv6::LEN)?) {
        return None;
    }
    permit(device, now)?;
    let quoted = len.min(icmp::IPV6_QUOTE_LEN as u32);
    let message = scratch::get()?.first_chunk_mut::<{ icmp::IPV6_FRAME_LEN }>()?;
    let (headers, quote) = message.split_first_chunk_mut::<{ icmp::IPV6_HEADERS_LEN }>()?;
    let quote = quote.first_chunk_mut::<{ icmp::IPV6_QUOTE_LEN }>()?;
    take_quote(skb, quote, quoted)?;
    let (ethernet, headers) = headers.split_first_chunk_mut::<{ eth::LEN }>()?;
    *ethernet = frame.reversed();
    let headers = headers.first_chunk_mut::<{ ipv6::LEN + icmp::LEN }>()?;
    *headers = icmp::ipv6_too_big(ip.dst_addr, ip.src_addr, quoted as u16, mtu as u16);
    let pseudo = Sum::ZERO.with(&ip.src_addr).with(&ip.dst_addr).with(&icmp::ipv6_pseudo_tail(quoted as u16));
    let check = pseudo.with(headers.last_chunk::<{ icmp::LEN }>()?).with(quote).checksum();
    [headers[icmp::IPV6_CHECKSUM_AT], headers[icmp::IPV6_CHECKSUM_AT + 1]] = check;
    replace(skb, message, icmp::IPV6_HEADERS_LEN as u32 + quoted, Payload::Ipv6)
}

/// Bytes of the IP packet that says it has `stated`, if it is larger than `mtu`. One of several segments need not say.
#[inline(always)]
fn ip_len(skb: &Skb, stated: u32, mtu: u32) -> Option<u32> {
    let there = skb.len().checked_sub(eth::LEN as u32)?;
    if skb.gso_size() != 0 {
        return Some(there);
    }
    (mtu < stated && stated <= there).then_some(stated)
}

/// Whether the ICMP message behind an IP header of `header_len` bytes is an error.
#[inline(always)]
fn is_error(skb: &Skb, family: Family, header_len: usize) -> Option<bool> {
    let mut kind = [0];
    skb.load(eth::LEN + header_len, &mut kind, 1).ok()?;
    Some(icmp::is_error(family, kind[0]))
}

/// Holds answers to the workload behind `device` to their rate.
#[inline(always)]
fn permit(device: IfIndex, now: u64) -> Option<()> {
    if answers::take(device, now) {
        return Some(());
    }
    notices::count(Notice::TooBigUnanswered);
    None
}

/// Copies the first `quoted` bytes of the IP packet to `quote`, and zeros behind them; the frame then has room for the
/// answer and what is taken out.
#[inline(always)]
fn take_quote<const N: usize>(skb: &mut Skb, quote: &mut [u8; N], quoted: u32) -> Option<()> {
    if quoted < N as u32 {
        skb.resize(eth::LEN as u32 + quoted).ok()?;
    }
    skb.resize(TAKEN_OUT + icmp::IPV6_FRAME_LEN as u32).ok()?;
    skb.load(eth::LEN, quote, N).ok()
}

/// Makes the frame the first `len` bytes of `message`.
#[inline(always)]
fn replace<const N: usize>(skb: &mut Skb, message: &[u8; N], len: u32, payload: Payload) -> Option<()> {
    skb.remove_room(TAKEN_OUT, payload).ok()?;
    skb.rewrite(message).ok()?;
    skb.resize(len).ok()
}
