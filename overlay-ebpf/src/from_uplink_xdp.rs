//! The early part of a packet's way from the underlay: XDP on an uplink.
//!
//! It takes the outer headers off a frame for a station behind a port. Where the port is fed by XDP, and nothing about the
//! frame is left to TC, it goes straight there. Otherwise segment and sender are left in the packet's metadata for
//! `from_uplink`: so the driver's GRO sees the inner flows, and TC merged frames. All else passes as it is.

use core::mem;

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_action::XDP_REDIRECT,
    helpers::{bpf_check_mtu, bpf_jiffies64, bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_meta},
    programs::XdpContext,
};
use network_types::eth::EthHdr;
use overlay_common::{
    Family, IfIndex,
    explain::{Hand, Step},
    header,
    header::{
        eth::{self, Payload},
        outer,
    },
    maps::{
        config::Config,
        early::{FRESH_TICKS, Pattern, Rule},
        fdb::Place,
        segment::Segment,
    },
};

use crate::{
    clock,
    decap::{self, Span, Tunnel},
    early_transit, ecn, examine, explain,
    frame::Frame,
    helper::done,
    learn,
    maps::{
        config,
        counters::{self, Size},
        early, fdb, generation, jumps, ports, segments, uplinks,
    },
    mark::Mark,
    open_sum,
    packet::{self, Packet as _},
    pattern,
};

/// The longest time that a pattern is kept: [`overlay_common::maps::early::FRESH_TICKS`] where there are 100 in a second.
const KEPT_NS: u64 = 100_000_000;

/// `EARLY`.
struct InXdp;

impl pattern::Kept for InXdp {
    #[inline(always)]
    fn at(index: u32) -> Option<&'static mut Pattern> {
        early::at(index)
    }
}

/// What becomes of the packet.
pub(crate) enum Early {
    /// It passes as it came.
    Untouched,
    /// It passes without its outer headers.
    Stripped,
    /// It goes to a port without its outer headers, or by another uplink to another VTEP.
    Redirected,
    /// It goes on to another VTEP, by the uplink that it came by.
    Returned,
    /// It was changed half way.
    Broken,
    /// It was changed, and the kernel would not send it on.
    Refused,
}

/// A packet for a station behind a port, about which nothing needs a closer look first.
struct Found {
    rule: Rule,
    /// Bytes of its outer headers.
    start: usize,
    /// Whether nothing about the frame is left to TC.
    is_simple: bool,
    /// Where it is counted; `None`: where all are.
    pattern: Option<&'static mut Pattern>,
}

/// Strips a packet that TC would deliver to a single port. With `NATIVE`, one for a port that is fed by XDP is sent there, and
/// one in transit goes to a program of its own.
#[inline(always)]
pub(crate) fn handle<const NATIVE: bool>(context: &XdpContext) -> Early {
    let Some(found) = find::<NATIVE>(context) else {
        return Early::Untouched;
    };
    if NATIVE && found.is_simple { redirect(context, found) } else { strip(context, &found) }
}

/// Takes the outer headers off, and leaves word for TC.
#[inline(always)]
fn strip(context: &XdpContext, found: &Found) -> Early {
    let Some(secret) = config::get().map(Config::mark) else {
        return Early::Untouched;
    };
    // SAFETY: the context is valid.
    if unsafe { bpf_xdp_adjust_meta(context.ctx, -(mem::size_of::<Mark>() as i32)) } != 0 {
        return Early::Untouched;
    }
    let Some(slot) = packet::metadata_mut::<Mark>((context.metadata(), context.data())) else {
        return Early::Untouched;
    };
    *slot = Mark::new(secret, found.rule.vni, found.rule.vtep);
    // SAFETY: the context is valid. Metadata moves along.
    match unsafe { bpf_xdp_adjust_head(context.ctx, found.start as i32) } {
        0 => Early::Stripped,
        _ => Early::Broken,
    }
}

/// Takes the outer headers off, and sends the frame to its port.
#[inline(always)]
fn redirect(context: &XdpContext, found: Found) -> Early {
    let Found { rule, start, pattern, .. } = found;
    let bytes = (context.len() - start) as u32;
    // SAFETY: the context is valid. What fails changes nothing.
    if unsafe { bpf_xdp_adjust_head(context.ctx, start as i32) } != 0 {
        return Early::Untouched;
    }
    match pattern {
        Some(pattern) => counters::received_at(pattern.tally(), rule.vni, rule.vtep, bytes),
        None => counters::received(rule.vni, rule.vtep, Size { packets: 1, bytes }),
    }
    explain::note(|| Step::Redirect(rule.port, Hand::Device));
    // SAFETY: the helper takes plain numbers.
    match unsafe { bpf_redirect(rule.port.get(), 0) } as u32 {
        XDP_REDIRECT => Early::Redirected,
        _ => Early::Refused,
    }
}

#[inline(always)]
fn find<const NATIVE: bool>(context: &XdpContext) -> Option<Found> {
    let family = match eth::payload(context.get::<EthHdr>(0)?) {
        Payload::Ipv4 => Family::Ipv4,
        Payload::Ipv6 => Family::Ipv6,
        Payload::Vlan | Payload::Other => return None,
    };
    // It is read before anything that is kept under it.
    let generation = generation::now();
    let shortest = outer::len(family);
    if NATIVE && let Some((rule, pattern)) = pattern::known::<InXdp>(context, family, generation, ticks()) {
        let start = shortest;
        let payload = eth::payload(context.get::<EthHdr>(start)?);
        let is_simple = is_simple(context, start, payload, &rule, None);
        return Some(Found { rule, start, is_simple, pattern: Some(pattern) });
    }
    // A packet that is captured is left whole to TC.
    if generation::is_capturing(generation) {
        return None;
    }
    if NATIVE && early_transit::is_likely(context, family, generation) {
        jumps::to_transit(context);
        return None;
    }
    let (tunnel, Span { start, end: None }) =
        decap::recognise(context, |_, _| true, |_, _, _, _| None).ok()??
    else {
        return None;
    };
    let frame = Frame::parse(context, start).ok()?;
    let network = start + frame.network_offset();
    // TC can change the inner header and the packet mark.
    if tunnel.mark.is_some()
        || !ecn::change(context, network, frame.payload(), tunnel.outer_tos).ok()?.is_none()
    {
        return None;
    }
    let (rule, is_lasting) = find_out::<NATIVE>(context, &tunnel, &frame)?;
    let is_simple = NATIVE && is_simple(context, start, frame.payload(), &rule, Some(tunnel.segment));
    if NATIVE && is_lasting && start == shortest && !header::ecn::matters(tunnel.outer_tos) {
        let now = ticks();
        pattern::keep::<InXdp>(context, family, generation, rule, (now, now + FRESH_TICKS));
    }
    Some(Found { rule, start, is_simple, pattern: None })
}

/// Whether nothing about a frame is left to TC.
#[inline(always)]
fn is_simple(
    context: &XdpContext,
    start: usize,
    payload: Payload,
    rule: &Rule,
    segment: Option<&'static Segment>,
) -> bool {
    let network = start + eth::LEN;
    if context.len() - start > rule.longest as usize || !open_sum::is_filled_in(context, network, payload) {
        return false;
    }
    !rule.look || concerns_nobody(context, start, rule, segment).unwrap_or(false)
}

/// Whether no program has a closer look at a frame of a segment that has some looked at.
#[inline(always)]
fn concerns_nobody(
    context: &XdpContext,
    start: usize,
    rule: &Rule,
    segment: Option<&'static Segment>,
) -> Option<bool> {
    let frame = Frame::parse(context, start).ok()?;
    let segment = segment.or_else(|| segments::get(rule.vni))?;
    Some(!examine::may_concern(context, start + frame.network_offset(), segment, &frame))
}

/// Asks the maps what is done with a frame, and whether that can be kept. `None`: that is for TC to say.
#[inline(always)]
fn find_out<const NATIVE: bool>(
    context: &XdpContext,
    tunnel: &Tunnel,
    frame: &Frame,
) -> Option<(Rule, bool)> {
    let Tunnel { vni, segment, vtep, .. } = *tunnel;
    let uplink = uplinks::get(IfIndex::new(context.ingress_ifindex() as u32)?)?.mac();
    // Without TC behind it, such a frame would enter the host.
    if eth::destination(context.get::<EthHdr>(0)?) != uplink
        || frame.destination().is_group()
        || frame.destination() == uplink
    {
        return None;
    }
    let now = clock::now();
    let (standing, until) = fdb::standing(vni, segment, frame.destination(), now);
    let port = match standing.place(vni)? {
        Place::Port { device, .. } => device,
        Place::Vtep(_) => {
            if NATIVE && segment.transit() {
                jumps::to_transit(context);
            }
            return None;
        }
    };
    let look = segment.suppress() || segment.clamps_mss();
    let mut rule = Rule { vni, vtep, port, peer: false, to_host: false, longest: 0, look };
    let is_fed = NATIVE && !segment.has_trunks() && ports::get(port).is_some_and(|port| port.is_fed_by_xdp());
    let is_steady =
        !is_fed || !segment.learning() || learn::is_known_at(vni, frame.source(), Place::Vtep(vtep), now);
    if is_fed && is_steady {
        rule.longest = longest(context, port);
    }
    Some((rule, is_steady && until > now + KEPT_NS))
}

/// Ticks of the kernel's timer.
#[inline(always)]
fn ticks() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_jiffies64() }
}

/// Bytes of the longest frame that the kernel takes from XDP for `device`; 0 if it is gone.
#[inline(always)]
fn longest(context: &XdpContext, device: IfIndex) -> u32 {
    let mut mtu = 1;
    // SAFETY: the context is valid, and the helper writes one word. A packet of one byte fits any device.
    match done(unsafe { bpf_check_mtu(context.as_ptr(), device.get(), &raw mut mtu, 0, 0) }) {
        Ok(()) => mtu.saturating_add(eth::LEN as u32),
        Err(_) => 0,
    }
}
