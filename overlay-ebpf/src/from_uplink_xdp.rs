//! The early part of a packet's way from the underlay: XDP on an uplink.
//!
//! It takes the outer headers off a frame for a station behind a port, and leaves segment and sender in the packet's
//! metadata for `from_uplink`. All else passes as it is. So the driver's GRO sees the inner flows, and TC merged frames.

use core::mem;

use aya_ebpf::{
    helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_meta},
    programs::XdpContext,
};
use network_types::eth::EthHdr;
use overlay_common::{IfIndex, header::eth, maps::fdb::Place};

use crate::{
    clock,
    decap::{self, Span},
    ecn,
    frame::Frame,
    maps::{config, fdb, uplinks},
    mark::Mark,
    packet::{self, Packet as _},
};

/// What becomes of the packet.
pub(crate) enum Early {
    /// It passes as it came.
    Untouched,
    /// It passes without its outer headers.
    Stripped,
    /// It was changed half way.
    Broken,
}

/// Strips a packet that TC would deliver to a single port.
#[inline(always)]
pub(crate) fn handle(context: &XdpContext) -> Early {
    let Some((mark, start)) = strippable(context) else {
        return Early::Untouched;
    };
    // SAFETY: the context is valid.
    if unsafe { bpf_xdp_adjust_meta(context.ctx, -(mem::size_of::<Mark>() as i32)) } != 0 {
        return Early::Untouched;
    }
    let Some(slot) = packet::metadata_mut::<Mark>((context.metadata(), context.data())) else {
        return Early::Untouched;
    };
    *slot = mark;
    // SAFETY: the context is valid. Metadata moves along.
    match unsafe { bpf_xdp_adjust_head(context.ctx, start as i32) } {
        0 => Early::Stripped,
        _ => Early::Broken,
    }
}

/// The mark for a packet, and the bytes of its outer headers, if nothing about it needs a closer look.
#[inline(always)]
fn strippable(context: &XdpContext) -> Option<(Mark, usize)> {
    let uplink = uplinks::get(IfIndex::new(context.ingress_ifindex() as u32)?)?;
    if eth::destination(context.get::<EthHdr>(0)?) != uplink.mac() {
        return None;
    }
    let (tunnel, Span { start, end: None }) =
        decap::recognise(context, |_, _| true, |_, _, _, _| None).ok()??
    else {
        return None;
    };
    let frame = Frame::parse(context, start).ok()?;
    // TC can change the inner header and the packet mark.
    if tunnel.mark.is_some()
        || !ecn::change(context, start + frame.network_offset(), frame.payload(), tunnel.outer_tos)
            .ok()?
            .is_none()
    {
        return None;
    }
    // Without TC behind it, such a frame would enter the host.
    if frame.destination().is_group() || frame.destination() == uplink.mac() {
        return None;
    }
    match fdb::place(tunnel.vni, tunnel.segment, frame.destination(), clock::now())? {
        Place::Port { .. } => Some((Mark::new(config::get()?.mark(), tunnel.vni, tunnel.vtep), start)),
        Place::Vtep(_) => None,
    }
}
