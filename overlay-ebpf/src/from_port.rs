//! The way of a frame that a workload sends: TC ingress of its port.

use overlay_common::{
    DropReason, IfIndex, Vni,
    header::{eth, vlan::Tags},
    maps::{
        departure::Sender,
        fdb::Place,
        flow::{FRESH_NS, Flow, Key},
        jump::Jump,
        port::{Port, PortKind},
        segment::Segment,
    },
};

use crate::{
    clock, deliver,
    departure::{self, Sent},
    encap::Inner,
    examine,
    frame::Frame,
    groups, inner_sum,
    learn::learn,
    maps::{counters, fdb, flows, generation, jumps, ports, segments},
    send,
    skb::Skb,
    verdict::Outcome,
    watch,
};

/// A frame that came from a port and passed the guards.
struct Received {
    device: IfIndex,
    vni: Vni,
    segment: &'static Segment,
    frame: Frame,
    now: u64,
    generation: u64,
    /// Until when what was found out about its flow can be used; 0: it can not.
    until: u64,
}

/// Lets a frame in, and switches it to where its destination is.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    let_in::<false>(skb)
}

/// The same for a frame that [`handle`] found to be captured.
#[inline(always)]
pub(crate) fn handle_captured(skb: &mut Skb) -> Outcome {
    watch::captured(skb, skb.device().and_then(ports::get).and_then(|port| port.vni()));
    let_in::<true>(skb)
}

#[inline(always)]
fn let_in<const CAPTURED: bool>(skb: &mut Skb) -> Outcome {
    let device = skb.device().ok_or(DropReason::UnknownPort)?;
    if skb.has_vlan_tag() {
        return jumps::jump(skb, Jump::TaggedFromPort);
    }
    let (generation, now) = (generation::now(), clock::now());
    if !CAPTURED && let Some(outcome) = departure::repeat(skb, device, generation, now) {
        return outcome;
    }
    let frame = match Frame::parse(skb, 0) {
        Err(DropReason::InnerVlan) => return jumps::jump(skb, Jump::TaggedFromPort),
        parsed => parsed?,
    };
    let key = Key::from_port(device, frame.source(), frame.destination());
    let flow = match flows::get(&key, generation, now).ok_or(DropReason::UnknownPort)? {
        Ok(known) => known,
        Err(flow) => {
            if !CAPTURED && generation::is_capturing(generation) {
                // Without the program, the frame goes its way all the same.
                let _ = jumps::jump(skb, Jump::CaptureFromPort);
            }
            let port = ports::get(device).ok_or(DropReason::UnknownPort)?;
            if port.is_trunk() {
                return jumps::jump(skb, Jump::TaggedFromPort);
            }
            let until = find_out(skb, flow, &frame, (device, port), now)?;
            flow.keep(generation, if CAPTURED { 0 } else { until });
            flow
        }
    };
    let vni = flow.vni().ok_or(DropReason::UnknownVni)?;
    let segment = flow.segment();
    skb.hand_over_tags(Tags::NONE);
    if let Some(program) = examine::from_port(skb, segment, &frame) {
        skb.hand_over(vni.get());
        return jumps::jump(skb, program);
    }
    let place = flow.place(vni);
    let until = flow.fresh_until();
    forward::<false, CAPTURED>(skb, Received { device, vni, segment, frame, now, generation, until }, place)
}

/// Learns where the source is, and finds out all that the frames of its flow go by; until when that can be used.
#[inline(always)]
fn find_out(
    skb: &Skb,
    flow: &mut Flow,
    frame: &Frame,
    (device, port): (IfIndex, Port),
    now: u64,
) -> Result<u64, DropReason> {
    let vni = port.vni().ok_or(DropReason::UnknownPort)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    let is_steady = learn(skb, vni, segment, frame.source(), place_of(device, port), now);
    let (standing, until) = fdb::standing(vni, segment, frame.destination(), now);
    flow.set(vni, segment, standing);
    Ok(if is_steady { until.min(now + FRESH_NS) } else { 0 })
}

/// Switches a frame of the segment that was handed over with it; [`handle`] has let it in.
#[inline(always)]
pub(crate) fn handle_again(skb: &mut Skb) -> Outcome {
    let device = skb.device().ok_or(DropReason::UnknownPort)?;
    let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    let frame = Frame::handed_over(skb)?;
    let now = clock::now();
    let place = fdb::place(vni, segment, frame.destination(), now);
    forward::<true, true>(skb, Received { device, vni, segment, frame, now, generation: 0, until: 0 }, place)
}

/// `AGAIN` tells that this is [`handle_again`], which does the rarer part; `CAPTURED`, that the frame may be captured.
#[inline(always)]
fn forward<const AGAIN: bool, const CAPTURED: bool>(
    skb: &mut Skb,
    Received { device, vni, segment, frame, now, generation, until }: Received,
    place: Option<Place>,
) -> Outcome {
    let destination = frame.destination();
    if CAPTURED && let Some(place) = place {
        watch::sent_to(skb, vni, place);
    }
    match place {
        Some(Place::Vtep(id)) => {
            let mut inner = Inner::new(skb, vni, segment, frame, now)?;
            if send::wants_sum(id) {
                if !AGAIN {
                    skb.hand_over(vni.get());
                    return jumps::jump(skb, Jump::ForwardFromPort);
                }
                inner = inner.with_sum(skb, inner_sum::of(skb, 1));
            }
            let hash = skb.noted_hash();
            let sent =
                if inner.fits(segment) { send::to_vtep(skb, id, &inner) } else { Err(DropReason::TooBig) };
            if let Err(DropReason::TooBig) = sent {
                skb.hand_over_vtep(id);
                skb.hand_over(vni.get());
                return jumps::jump(skb, Jump::TooBigFromPort);
            }
            if !AGAIN && !CAPTURED && until != 0 && inner.is_single() && tells_all(segment) && sent.is_ok() {
                let sender = Sender { device, hash };
                let longest = segment.mtu().map_or(u32::MAX, |mtu| u32::from(mtu) + eth::LEN as u32);
                let (flow_hash, time) = (inner.flow_hash(), (now, until));
                departure::keep(skb, &Sent { sender, vni, vtep: id, flow_hash, longest, generation, time });
            }
            sent
        }
        Some(Place::Port { device: to, .. }) if to == device => Err(DropReason::SamePort),
        Some(Place::Port { device: to, peer }) => {
            counters::sent(vni, None, frame.size(skb));
            deliver::to_port(skb, vni, segment, (to, peer), &frame)
        }
        None if destination.is_reserved() => Err(DropReason::ReservedMac),
        None if destination.is_group() || segment.flood() => {
            skb.hand_over(vni.get());
            let is_about_groups = groups::concerns(segment, &frame);
            jumps::jump(skb, if is_about_groups { Jump::GroupsFromPort } else { Jump::FloodFromPort })
        }
        None => Err(DropReason::UnknownUnicast),
    }
}

/// Whether the first bytes of TCP and UDP tell all that matters of frames of a segment.
#[inline(always)]
fn tells_all(segment: &Segment) -> bool {
    !segment.clamps_mss() && !segment.policy().gbp()
}

/// Where the stations behind a port are.
#[inline(always)]
pub(crate) fn place_of(device: IfIndex, port: Port) -> Place {
    Place::Port { device, peer: port.kind() == PortKind::VethPeer }
}
