//! Frames of segments that a `vxlan` device of the kernel serves as well: what is known goes the short way, and all else passes
//! untouched, so that the kernel's bridge and its device do with it what they did before.
//!
//! Whether a frame is one that is known is decided before anything of it is changed. So the kernel also decides about whatever
//! would be an error elsewhere.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use network_types::ip::Ipv6Hdr;
use overlay_common::{
    DropReason, Vni, VtepId,
    explain::Left,
    header::{
        eth::{self, Payload},
        ipv4::IpProto,
        vlan::Tags,
    },
    maps::{adopted::Adopted, departure::Sender, early::Rule, fdb::Place, flow::FRESH_NS, jump::Jump},
};

use crate::{
    arrival::{self, Kept},
    clock, decap,
    departure::{self, Sent},
    ecn,
    encap::{Inner, Target},
    explain::{self, left},
    frame::Frame,
    from_uplink::{is_whole, strip},
    inner_sum,
    maps::{
        adopted,
        counters::{self, Size},
        drops, generation, jumps, uplinks,
    },
    packet::Packet as _,
    redirect, send,
    skb::Skb,
    verdict::{Outcome, Verdict},
};

/// Sends a frame of a bridge member, or of the host by the device itself, to a remote VTEP, if the kernel would: like one before it, or
/// else by [`forward`].
#[inline(always)]
pub(crate) fn from_port(skb: &mut Skb) -> Outcome {
    let Some(device) = left(skb.device().filter(|_| !skb.has_vlan_tag()), Left::Tag) else {
        return Ok(Verdict::NotOurs);
    };
    if let Some(outcome) = departure::repeat(skb, device, generation::now(), clock::now()) {
        return outcome;
    }
    // Without the program, the kernel has it.
    let _ = jumps::jump(skb, Jump::ForwardAdopted);
    Ok(Verdict::NotOurs)
}

/// Sends a frame that came to [`from_port`], and is like none before it.
#[inline(always)]
pub(crate) fn forward(skb: &mut Skb) -> Outcome {
    try_forward(skb).unwrap_or(Ok(Verdict::NotOurs))
}

/// Delivers a packet of such a segment to a bridge member, or to the host by the device itself, if the kernel would.
#[inline(always)]
pub(crate) fn from_uplink(skb: &mut Skb) -> Outcome {
    try_from_uplink(skb).unwrap_or(Ok(Verdict::NotOurs))
}

/// `None`: the kernel shall have it.
#[inline(always)]
fn try_forward(skb: &mut Skb) -> Option<Outcome> {
    let device = skb.device()?;
    let (generation, now) = (generation::now(), clock::now());
    let vni = left(adopted::vni_of(device), Left::NoMember)?;
    let adopted = left(adopted::get(vni, now), Left::Lease)?;
    let id = VtepId::new(vtep_apart(skb.raw(), vni.get(), now) as u16)?;
    let frame = Frame::parse(skb, 0).ok()?;
    let segment = adopted.segment();
    let mut inner = left(Inner::new(skb, vni, segment, frame, now).ok(), Left::Merged)?;
    if inner.is_congested() {
        return left(None, Left::Congested);
    }
    if inner.is_merged_oddly() {
        return left(None, Left::Merged);
    }
    if !inner.fits(segment) {
        return left(None, Left::TooBig);
    }
    skb.hand_over_tags(Tags::NONE);
    if send::wants_sum(id) {
        inner.add_sum(skb, inner_sum::of(skb, 1));
    }
    let hash = skb.noted_hash();
    let action = match send_apart(skb.raw(), id.index(), &inner) {
        PASSED => return None,
        DROPPED => return Some(Ok(Verdict::Copied)),
        action => action,
    };
    // Who explains keeps nothing, and has no stack for it.
    if !cfg!(feature = "explain") && inner.is_single() {
        keep_apart(skb.raw(), id.index(), hash, generation, &inner);
    }
    Some(Ok(Verdict::Redirected(action as i32)))
}

/// Keeps what was done with a frame for those like it. In a stack frame of its own, too.
#[inline(never)]
fn keep_apart(skb: *mut __sk_buff, id: u32, hash: u32, generation: u64, inner: &Inner) -> i32 {
    let mut skb = Skb::new(TcContext::new(skb));
    let now = inner.came_at();
    if let Some(vtep) = VtepId::new(id as u16)
        && let Some(device) = skb.device()
        && let Some(adopted) = adopted::get(inner.vni(), now)
    {
        let longest = adopted.segment().mtu().map_or(u32::MAX, |mtu| u32::from(mtu) + eth::LEN as u32);
        departure::keep(
            &mut skb,
            &Sent {
                sender: Sender { device, hash },
                vni: inner.vni(),
                vtep,
                flow_hash: inner.flow_hash(),
                longest,
                generation,
                time: (now, until(adopted, now)),
            },
        );
    }
    0
}

/// Until when what was found out at `now` can be used.
#[inline(always)]
fn until(adopted: &Adopted, now: u64) -> u64 {
    (now + FRESH_NS).min(adopted.lease())
}

/// Whether a frame at `offset` is of those that the kernel's bridge and device only forward.
#[inline(always)]
fn is_plain(skb: &Skb, offset: usize, frame: &Frame, adopted: &Adopted) -> bool {
    match frame.payload() {
        Payload::Ipv4 => true,
        // They answer neighbour solicitations where they are so set.
        Payload::Ipv6 => {
            !adopted.segment().suppress()
                || skb
                    .get::<Ipv6Hdr>(offset + eth::LEN)
                    .is_some_and(|ip| ip.next_hdr != IpProto::Ipv6Icmp as u8)
        }
        Payload::Vlan | Payload::Other => false,
    }
}

/// The id of the VTEP that a frame of a bridge member in segment `vni` goes to; 0: it is not known, or the kernel shall see this
/// frame. In a stack frame of its own, since the caller's is short.
#[inline(never)]
fn vtep_apart(skb: *mut __sk_buff, vni: u32, now: u64) -> u32 {
    let skb = Skb::new(TcContext::new(skb));
    Vni::new(vni).and_then(|vni| vtep(&skb, vni, now)).map_or(0, VtepId::index)
}

#[inline(always)]
fn vtep(skb: &Skb, vni: Vni, now: u64) -> Option<VtepId> {
    let frame = left(Frame::parse(skb, 0).ok(), Left::Frame)?;
    let adopted = adopted::get(vni, now)?;
    if !is_plain(skb, 0, &frame, adopted) {
        return left(None, Left::Protocol);
    }
    let source = left(adopted::station(vni, frame.source()), Left::SourceUnknown)?;
    if left(source.place(vni), Left::SourceUnknown)?.port() != skb.device() {
        return left(None, Left::SourceElsewhere);
    }
    if source.is_due(adopted.patience(), now) {
        return left(None, Left::SourceDue);
    }
    let destination = left(adopted::station(vni, frame.destination()), Left::DestinationUnknown)?;
    let Place::Vtep(id) = left(destination.place(vni), Left::DestinationUnknown)? else {
        return left(None, Left::DestinationHere);
    };
    if destination.is_asked(adopted.patience(), now) { left(None, Left::DestinationDue) } else { Some(id) }
}

/// What [`send_apart`] returns for a frame that was dropped and counted.
const DROPPED: i64 = 0;
/// What it returns for one that is as it was.
const PASSED: i64 = -1;

/// In a stack frame of its own, since the caller's is short; else what the redirect helper returned.
#[inline(never)]
fn send_apart(skb: *mut __sk_buff, id: u32, inner: &Inner) -> i64 {
    let mut skb = Skb::new(TcContext::new(skb));
    let target =
        VtepId::new(id as u16).ok_or(DropReason::UnknownVtep).and_then(|id| Target::find(&skb, id, inner));
    // A neighbour that is not resolved, and a packet that is too big, the kernel knows what to do about.
    let target = match target {
        Ok(target) => target,
        Err(reason) => {
            let why = if reason == DropReason::TooBig { Left::TooBig } else { Left::NoWay };
            explain::note_left(why);
            return PASSED;
        }
    };
    if !target.is_resolved() {
        explain::note_left(Left::Unresolved);
        return PASSED;
    }
    match target.send(&mut skb, inner) {
        Ok(Verdict::Redirected(action)) => i64::from(action),
        Ok(Verdict::NotOurs | Verdict::Copied) => DROPPED,
        Err(reason) => {
            drops::count(reason);
            DROPPED
        }
    }
}

/// `None`: the kernel shall have it.
#[inline(always)]
fn try_from_uplink(skb: &mut Skb) -> Option<Outcome> {
    let device = skb.device()?;
    uplinks::get(device)?;
    if skb.has_vlan_tag() {
        return left(None, Left::Tag);
    }
    let (generation, now) = (generation::now(), clock::now());
    let (tunnel, span, adopted) = decap::adopted(skb, now)?;
    let frame = left(Frame::parse(skb, span.start).ok(), Left::Frame)?;
    let (vni, vtep) = (tunnel.vni, tunnel.vtep);
    if !is_plain(skb, span.start, &frame, adopted) {
        return left(None, Left::Protocol);
    }
    let source = left(adopted::station(vni, frame.source()), Left::SourceUnknown)?;
    if left(source.place(vni), Left::SourceUnknown)? != Place::Vtep(vtep) {
        return left(None, Left::SourceElsewhere);
    }
    if source.is_due(adopted.patience(), now) {
        return left(None, Left::SourceDue);
    }
    let destination = left(adopted::station(vni, frame.destination()), Left::DestinationUnknown)?;
    let Place::Port { device: port, peer } = left(destination.place(vni), Left::DestinationUnknown)? else {
        return left(None, Left::DestinationHere);
    };
    let to_host = adopted.bridge().is_none();
    if skb.gso_size() != 0 && !is_whole(skb, span, &frame) {
        return left(None, Left::Merged);
    }
    let network = span.start + frame.network_offset();
    let congestion =
        left(ecn::change(skb, network, frame.payload(), tunnel.outer_tos).ok(), Left::Congested)?;
    if arrival::is_plain(&tunnel, span) {
        let rule = Rule { vni, vtep, port, peer, to_host, longest: 0, look: false };
        let time = (now, until(adopted, now));
        arrival::keep(skb, &Kept { rule, start: span.start, generation, time });
    }
    let packets = skb.packets();
    let changed = strip(skb, span, &frame)
        .and_then(|()| congestion.apply(skb, frame.payload()).map_err(|_| DropReason::DecapFailed));
    Some(changed.and_then(|()| {
        counters::received(vni, vtep, Size { packets, ..frame.size(skb) });
        if to_host { redirect::to_host(port) } else { redirect::to_port(skb, port, peer, frame.payload()) }
    }))
}
