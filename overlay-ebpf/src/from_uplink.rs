//! The way of a packet from the underlay: TC ingress of an uplink.

use overlay_common::{
    DropReason,
    header::{eth, ipv4},
    maps::fdb::Place,
};

use crate::{
    decap::{self, Span, Tunnel},
    flood, foreign,
    frame::Frame,
    learn::learn,
    maps::{
        counters::{self, Size},
        fdb, segments, uplinks,
    },
    mark::Mark,
    packet::{self, Packet as _},
    redirect,
    skb::Skb,
    verdict::{Outcome, Verdict},
};

/// Delivers a packet of one of our tunnels to the ports of its segment; anything else passes.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    let Some(uplink) = skb.device().and_then(uplinks::get) else {
        return Ok(Verdict::NotOurs);
    };
    if uplink.has_xdp()
        && let Some(tunnel) = marked(skb)
    {
        return deliver(skb, tunnel, Span { start: 0, end: None });
    }
    if skb.has_vlan_tag() || !skb.is_to_host() {
        return Ok(Verdict::NotOurs);
    }
    if skb.get::<[u8; decap::HEADERS_LEN as usize]>(0).is_none() {
        // A short packet stays as it is, and is judged by the bytes that it has.
        let _ = skb.pull(decap::HEADERS_LEN.min(skb.len()));
    }
    match decap::recognise(skb, foreign::listens)? {
        Some((tunnel, span)) => deliver(skb, tunnel, span),
        None => Ok(Verdict::NotOurs),
    }
}

/// The tunnel of a frame whose outer headers XDP took off.
#[inline(always)]
fn marked(skb: &Skb) -> Option<Tunnel> {
    let (vni, vtep) = packet::metadata::<Mark>(skb.metadata_bounds())?.read()?;
    Some(Tunnel { vni, segment: segments::get(vni)?, vtep })
}

/// Switches the inner frame at `span` to the ports of its segment, and to nothing else.
#[inline(always)]
fn deliver(skb: &mut Skb, tunnel: Tunnel, span: Span) -> Outcome {
    let frame = Frame::parse(skb, span.start)?;
    let Tunnel { vni, segment, vtep } = tunnel;
    learn(skb, vni, segment, frame.source(), Place::Vtep(vtep));

    let destination = frame.destination();
    let place = if destination.is_group() { None } else { fdb::place(vni, destination) };
    match place {
        Some(Place::Vtep(_)) => return Err(DropReason::TunnelToTunnel),
        None if !destination.is_group() && !segment.flood() => return Err(DropReason::UnknownUnicast),
        Some(Place::Port { .. }) | None => {}
    }
    let packets = skb.packets();
    strip(skb, span, &frame)?;
    counters::received(vni, vtep, Size { packets, bytes: skb.len() });
    match place {
        Some(Place::Port { device, peer }) => redirect::to_port(skb, device, peer, frame.payload()),
        Some(Place::Vtep(_)) | None => flood::from_tunnel(skb, vni),
    }
}

/// Takes the outer headers off, and what trails the inner frame.
#[inline(always)]
fn strip(skb: &mut Skb, span: Span, frame: &Frame) -> Result<(), DropReason> {
    /// Shortest inner frame that the kernel leaves when it shrinks an IPv4 packet.
    const SHORTEST: usize = eth::LEN + ipv4::LEN;
    let Span { start, end } = span;
    if start == 0 {
        return Ok(());
    }
    let end = end.unwrap_or(skb.len() as usize);
    let padded = end.max(start + SHORTEST);
    if padded != skb.len() as usize {
        skb.resize(padded as u32).map_err(|_| DropReason::DecapFailed)?;
    }
    skb.remove_room(start as u32, frame.payload()).map_err(|_| DropReason::DecapFailed)?;
    *skb.get_mut::<[u8; eth::LEN]>(0).ok_or(DropReason::DecapFailed)? = frame.bytes();
    Ok(())
}
