//! The early part of transit: native XDP on an uplink writes other outer headers over those of a tunnel packet, and sends it on
//! to another VTEP. What is not simple passes as it is, and TC does it ([`crate::transit`]).
//!
//! What is known of a flow is kept where TC keeps it, and asked for again here, so that no packet of a flow takes the longer
//! way when that has aged: it would arrive behind later ones.

use aya_ebpf::{bindings::xdp_action::XDP_REDIRECT, helpers::bpf_redirect, programs::XdpContext};
use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    vxlan::VxlanHdr,
};
use overlay_common::{
    Family, IfIndex, UnderlayAddr, VtepId,
    explain::{Hand, Step},
    header::{eth, fields::Fields, journey::Journey, outer, vxlan},
    maps::{
        fdb::Place,
        flow::{FRESH_NS, Flow, Key},
        next_hop::NextHop,
        vtep::Vtep,
    },
};

use crate::{
    clock,
    decap::{self, Span, Tunnel},
    ecn, encap, examine, explain,
    frame::Frame,
    from_uplink_xdp::Early,
    learn,
    maps::{
        counters::{self, Size},
        fdb, flows, generation, uplinks, vteps,
    },
    next_hop::{self, Load},
    open_sum,
    packet::Packet as _,
    transit::Arrived,
};

/// Whether a packet looks like one of a flow in transit. It has yet to be looked at in every other respect.
#[inline(always)]
pub(crate) fn is_likely(context: &XdpContext, family: Family, generation: u64) -> bool {
    key(context, family)
        .and_then(|key| flows::known(&key, generation, clock::now()))
        .is_some_and(|flow| target(flow).is_some())
}

/// The key of a flow of packets that look like this one, if it has no IP options.
#[inline(always)]
fn key(context: &XdpContext, family: Family) -> Option<Key> {
    let start = outer::len(family);
    let inner = context.get::<EthHdr>(start)?;
    let vni = vxlan::segment(context.get::<VxlanHdr>(start - vxlan::LEN)?).ok()?;
    let sender = match family {
        Family::Ipv4 => UnderlayAddr::from_ipv4(context.get::<Ipv4Hdr>(eth::LEN)?.src_addr),
        Family::Ipv6 => UnderlayAddr::from_ipv6(context.get::<Ipv6Hdr>(eth::LEN)?.src_addr),
    };
    let device = IfIndex::new(context.ingress_ifindex() as u32)?;
    Some(Key::from_uplink(device, vni, sender, eth::source(inner), eth::destination(inner)))
}

/// The VTEP that packets of a flow go on to.
#[inline(always)]
fn target(flow: &Flow) -> Option<VtepId> {
    match flow.place(flow.vni()?)? {
        Place::Vtep(id) if flow.segment().transit() => Some(id),
        Place::Vtep(_) | Place::Port { .. } => None,
    }
}

/// Sends a packet on to another VTEP, if all about that is simple.
#[inline(always)]
pub(crate) fn handle(mut context: XdpContext) -> Early {
    plan(&context).and_then(|plan| plan.follow(&mut context)).unwrap_or(Early::Untouched)
}

/// How a packet goes on.
struct Plan {
    source: VtepId,
    target: VtepId,
    vtep: &'static Vtep,
    hop: &'static NextHop,
    fields: Fields,
    returns: bool,
}

#[inline(always)]
fn plan(context: &XdpContext) -> Option<Plan> {
    let device = IfIndex::new(context.ingress_ifindex() as u32)?;
    let uplink = uplinks::get(device)?;
    // Another's, on a device that takes everybody's packets, or a group's.
    if eth::destination(context.get::<EthHdr>(0)?) != uplink.mac() {
        return None;
    }
    let (generation, now) = (generation::now(), clock::now());
    let (mut known, mut slot) = (None, None);
    let recognised = decap::recognise(
        context,
        |_, _| true,
        |packet, vni, sender, start| {
            let inner = packet.get::<EthHdr>(start)?;
            let key = Key::from_uplink(device, vni, sender, eth::source(inner), eth::destination(inner));
            match flows::get(&key, generation, now)? {
                Ok(flow) => {
                    known = target(flow);
                    Some((flow.segment(), flow.vtep()?))
                }
                Err(place) => {
                    slot = Some(place);
                    None
                }
            }
        },
    );
    let (tunnel, Span { start, end: None }) = recognised.ok()?? else { return None };
    let Tunnel { vni, segment, vtep: source, outer_tos, mark } = tunnel;
    if !segment.transit() {
        return None;
    }
    let frame = Frame::parse(context, start).ok()?;
    let (network, len) = (start + frame.network_offset(), (context.len() - start) as u32);
    let is_simple = ecn::change(context, network, frame.payload(), outer_tos).ok()?.is_none()
        && open_sum::is_filled_in(context, network, frame.payload())
        && segment.mtu().is_none_or(|mtu| len <= u32::from(mtu) + eth::LEN as u32)
        && !examine::may_concern(context, network, segment, &frame);
    if !is_simple {
        return None;
    }
    let target = match (known, slot) {
        (Some(known), _) => known,
        (None, Some(slot)) => find_out(slot, &tunnel, &frame, generation, now)?,
        (None, None) => return None,
    };
    let vtep = vteps::get(target)?;
    let arrived = Arrived::read(context)?;
    // What TC drops it also counts.
    let journey = Journey::new(arrived.ttl, arrived.source_port, false)?;
    if source == target
        || vtep.family() != arrived.family
        || start != outer::len(arrived.family)
        || vtep.udp_checksum()
    {
        return None;
    }
    let load = Load { ip_len: (context.len() - eth::LEN) as u32, heeds_told: true };
    let hop = next_hop::resolved(context, target, vtep, load, journey.flow_hash(), now)?;
    let out = hop.uplink()?;
    let by = if out == device { uplink } else { uplinks::get(out)? };
    if !by.sends_from_xdp() {
        return None;
    }
    let returns = out == device && by.returns_from_xdp();
    let about = (vni, segment, mark.unwrap_or(0));
    let fields = encap::transit::fields(context, about, (&frame, network), journey, len);
    Some(Plan { source, target, vtep, hop, fields, returns })
}

/// Finds out where packets of a flow go, and keeps that as TC would; `None` where they do not go on, or TC has to learn first.
#[inline(always)]
fn find_out(slot: &mut Flow, tunnel: &Tunnel, frame: &Frame, generation: u64, now: u64) -> Option<VtepId> {
    let Tunnel { vni, segment, vtep: source, .. } = *tunnel;
    if segment.learning() && !learn::is_known_at(vni, frame.source(), Place::Vtep(source), now) {
        return None;
    }
    let (standing, until) = fdb::standing(vni, segment, frame.destination(), now);
    let Place::Vtep(target) = standing.place(vni)? else { return None };
    slot.set(vni, segment, standing);
    slot.set_vtep(source);
    slot.keep(generation, until.min(now + FRESH_NS));
    Some(target)
}

impl Plan {
    /// Says where the packet goes.
    #[inline(always)]
    fn explain(&self) {
        explain::note(|| Step::Transit(Some(self.fields.vni), Some(self.source), Some(self.target)));
        explain::note(|| Step::Vtep(Some(self.target)));
        explain::note(|| Step::NextHop(self.hop.uplink(), self.hop.mtu(), true));
        if let Some(out) = self.hop.uplink() {
            explain::note(|| Step::Redirect(out, Hand::Device));
        }
    }

    #[inline(always)]
    fn follow(&self, context: &mut XdpContext) -> Option<Early> {
        match self.vtep.family() {
            Family::Ipv4 => {
                let headers = context.get_mut::<[u8; outer::IPV4_LEN]>(0)?;
                self.vtep.outer().write_ipv4(headers, self.hop.ethernet(), &self.fields);
            }
            Family::Ipv6 => {
                let headers = context.get_mut::<[u8; outer::IPV6_LEN]>(0)?;
                self.vtep.outer().write_ipv6(headers, self.hop.ethernet(), &self.fields, None);
            }
        }
        let size = Size { packets: 1, bytes: self.fields.frame_len };
        counters::received(self.fields.vni, self.source, size);
        counters::sent(self.fields.vni, Some(self.target), size);
        self.explain();
        if self.returns {
            return Some(Early::Returned);
        }
        let Some(out) = self.hop.uplink() else { return Some(Early::Refused) };
        // SAFETY: the helper takes plain numbers.
        match unsafe { bpf_redirect(out.get(), 0) } as u32 {
            XDP_REDIRECT => Some(Early::Redirected),
            _ => Some(Early::Refused),
        }
    }
}
