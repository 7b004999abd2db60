//! Lowering the MSS option of TCP handshakes (RFC 9293, section 3.7.1), so that segments fit the tunnels from the first one
//! on, even where nobody answers what is too big or a workload does not listen.

use core::{ffi::c_void, hint, ptr};

use aya_ebpf::helpers::bpf_loop;
use network_types::ip::{IpProto, Ipv4Hdr, Ipv6Hdr};
use overlay_common::{
    DropReason, Notice, Vni, VtepId,
    header::{
        eth::{self, Payload},
        ipv4::{self, Fragment},
        ipv6,
        tcp::{self, Found},
    },
    maps::{
        fdb::Place,
        jump::Jump,
        next_hop::{LOTS, Slot},
        segment::{ClampMss, Segment},
    },
};

use crate::{
    clock, examine,
    frame::Frame,
    maps::{fdb, flood, jumps, notices, segments, vteps},
    packet::Packet,
    skb::Skb,
    too_big,
    verdict::Outcome,
};

/// Bytes that hold every header up to the end of TCP's fixed one, whatever the options of IPv4.
const HEADERS_LEN: u32 = (eth::LEN + ipv4::MAX_LEN + tcp::LEN) as u32;

/// Whether a frame is one of a TCP handshake; one whose headers cannot be read in place may be. Its IP header is at `network`.
#[inline(always)]
pub(crate) fn is_handshake(packet: &impl Packet, network: usize, frame: &Frame) -> bool {
    match tcp_at(packet, network, frame) {
        Ok(Some((at, _))) => packet.get(at).is_none_or(tcp::is_syn),
        Ok(None) => false,
        Err(()) => true,
    }
}

/// Where the TCP header of a frame is, if it is TCP, and bytes of IP and TCP header without options, which an MSS does not
/// count. `Err`: the IP header cannot be read in place.
#[inline(always)]
fn tcp_at(packet: &impl Packet, network: usize, frame: &Frame) -> Result<Option<(usize, u32)>, ()> {
    match frame.payload() {
        Payload::Ipv4 => {
            let ip = packet.get::<Ipv4Hdr>(network).ok_or(())?;
            let is_tcp = ip.proto == IpProto::Tcp as u8 && ipv4::fragment(ip) != Fragment::Later;
            let at = ipv4::header_len(ip).filter(|_| is_tcp).map(|len| network + len);
            Ok(at.map(|at| (at, (ipv4::LEN + tcp::LEN) as u32)))
        }
        Payload::Ipv6 => {
            let ip = packet.get::<Ipv6Hdr>(network).ok_or(())?;
            let is_tcp = ip.next_hdr == IpProto::Tcp as u8;
            Ok(is_tcp.then_some((network + ipv6::LEN, (ipv6::LEN + tcp::LEN) as u32)))
        }
        Payload::Vlan | Payload::Other => Ok(None),
    }
}

/// Lowers the MSS in a frame of a port, which then goes on.
#[inline(always)]
pub(crate) fn from_port(skb: &mut Skb) -> Outcome {
    let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    let frame = Frame::handed_over(skb)?;
    let now = clock::now();
    let towards = match fdb::place(vni, segment, frame.destination(), now) {
        Some(Place::Vtep(id)) => id.index(),
        // It does not leave the host.
        Some(Place::Port { .. }) => 0,
        None => any_vtep(vni),
    };
    // Otherwise the compiler merges the arms, and reads what only one of them has set.
    let towards = VtepId::new(hint::black_box(towards) as u16);
    clamp(skb, segment, &frame, towards, now)?;
    jumps::jump(skb, Jump::ForwardFromPort)
}

/// A remote VTEP of what is flooded, which has to do for all; 0: there is none.
#[inline(always)]
fn any_vtep(vni: Vni) -> u32 {
    flood::get(vni).filter(|list| list.is_of(vni)).and_then(|list| list.vtep(0)).map_or(0, VtepId::index)
}

/// Lowers the MSS in a frame out of a tunnel, which then goes on.
#[inline(always)]
pub(crate) fn from_tunnel(skb: &mut Skb) -> Outcome {
    let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    let frame = Frame::handed_over(skb)?;
    let from = skb.handed_over_vtep();
    clamp(skb, segment, &frame, from, clock::now())?;
    jumps::jump(skb, examine::rest_from_tunnel(segment, &frame))
}

/// Lowers the MSS option of a frame, if it is a handshake that has one, to what the segment wants: a number, or what fits
/// the path of the tunnel to or from `vtep`.
#[inline(always)]
fn clamp(
    skb: &mut Skb,
    segment: &Segment,
    frame: &Frame,
    vtep: Option<VtepId>,
    now: u64,
) -> Result<(), DropReason> {
    // A short frame stays as it is, and is judged by the bytes that it has.
    let _ = skb.pull(HEADERS_LEN.min(skb.len()));
    let Ok(Some((at, headers))) = tcp_at(skb, eth::LEN, frame) else {
        return Ok(());
    };
    let most = match segment.clamp_mss() {
        ClampMss::Off => None,
        ClampMss::To(mss) => Some(mss),
        ClampMss::ToPath => {
            vtep.and_then(|id| fitting(skb, segment, frame, id, now)).map(|room| mss(room, headers))
        }
    };
    match most {
        Some(most) => lower(skb, at, most.max(tcp::MIN_MSS)),
        None => Ok(()),
    }
}

/// The MSS for IP packets of `room` bytes, so many of which are headers.
#[inline(always)]
fn mss(room: u32, headers: u32) -> u16 {
    room.saturating_sub(headers) as u16
}

/// The largest IP packet that fits the path of the tunnel to or from the VTEP `id`: of equal-cost ones every one, for the flow
/// the other way is another.
#[inline(always)]
fn fitting(skb: &Skb, segment: &Segment, frame: &Frame, id: VtepId, now: u64) -> Option<u32> {
    let vtep = vteps::get(id)?;
    if !vtep.is_multipath() {
        return too_big::room_by(skb, segment, frame, (id, vtep, Slot::new(id)), now);
    }
    let mut paths = Paths { skb, segment, frame, id, now, room: u32::MAX };
    let pointer = ptr::from_mut(&mut paths).cast();
    // SAFETY: `look_at_path` takes the `Paths` that it is given here, which outlives the loop.
    unsafe { bpf_loop(LOTS, look_at_path as *mut c_void, pointer, 0) };
    (paths.room != u32::MAX).then_some(paths.room)
}

/// A walk along the paths of all lots of flows to a VTEP.
struct Paths<'a> {
    skb: &'a Skb,
    segment: &'a Segment,
    frame: &'a Frame,
    id: VtepId,
    now: u64,
    /// What fits all of them so far.
    room: u32,
}

unsafe extern "C" fn look_at_path(lot: u64, paths: *mut c_void) -> i64 {
    // SAFETY: `fitting` passes `Paths`.
    let paths = unsafe { &mut *paths.cast::<Paths<'_>>() };
    if let Some(vtep) = vteps::get(paths.id) {
        let path = (paths.id, vtep, Slot::of_flow(paths.id, lot as u32));
        let room = too_big::room_by(paths.skb, paths.segment, paths.frame, path, paths.now);
        paths.room = paths.room.min(room.unwrap_or(u32::MAX));
    }
    0
}

/// Lowers the MSS option in the TCP header at `at` to `most`; the checksum stays right, also where it is still to be filled
/// in.
#[inline(always)]
fn lower(skb: &mut Skb, at: usize, most: u16) -> Result<(), DropReason> {
    let Some((option, mss)) = find(skb, at).filter(|&(_, mss)| mss > most) else {
        return Ok(());
    };
    let (from, to) = (mss.to_be_bytes(), most.to_be_bytes());
    let is_odd = (option - at) % 2 == 1;
    // Words of the checksum begin at even offsets.
    let word = |[a, b]: [u8; 2]| u16::from_ne_bytes(if is_odd { [b, a] } else { [a, b] });
    skb.replace_in_checksum(at + tcp::CHECKSUM_AT, word(from), word(to))
        .and_then(|()| skb.store(option as u32, &to))
        .map_err(|_| DropReason::EncapFailed)?;
    notices::count(Notice::MssClamped);
    Ok(())
}

/// Where the MSS is that the handshake at `at` tells, and the MSS.
#[inline(always)]
fn find(skb: &Skb, at: usize) -> Option<(usize, u16)> {
    let header = skb.get::<[u8; tcp::LEN]>(at).filter(|header| tcp::is_syn(header))?;
    let mut walk = Walk { skb, at: at + tcp::LEN, end: at + tcp::header_len(header)?, found: false };
    let pointer = ptr::from_mut(&mut walk).cast();
    // SAFETY: `look_at_option` takes the `Walk` that it is given here, which outlives the loop.
    unsafe { bpf_loop(tcp::MAX_OPTIONS, look_at_option as *mut c_void, pointer, 0) };
    let option = walk.found.then_some(walk.at + 2)?;
    let mut mss = [0; 2];
    skb.load(option, &mut mss, 2).ok()?;
    Some((option, u16::from_be_bytes(mss)))
}

/// A walk along the options of a TCP header.
struct Walk<'a> {
    skb: &'a Skb,
    /// Where the option is that is looked at next.
    at: usize,
    /// Where the header ends.
    end: usize,
    /// Whether the one at `at` is the MSS.
    found: bool,
}

unsafe extern "C" fn look_at_option(_: u64, walk: *mut c_void) -> i64 {
    const CONTINUE: i64 = 0;
    const STOP: i64 = 1;
    // SAFETY: `find` passes a `Walk`.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    let mut option = [0; 2];
    if walk.at + tcp::MSS_OPTION_LEN > walk.end || walk.skb.load(walk.at, &mut option, 2).is_err() {
        return STOP;
    }
    match tcp::option(option) {
        Found::Other(len) => {
            walk.at += len;
            CONTINUE
        }
        Found::Mss => {
            walk.found = true;
            STOP
        }
        Found::End => STOP,
    }
}
