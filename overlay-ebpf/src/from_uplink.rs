//! The way of a packet from the underlay: TC ingress of an uplink.

use network_types::eth::EthHdr;
use overlay_common::{
    DropReason, IfIndex, MacAddr, Vni, VtepId,
    header::{
        eth::{self, Payload},
        ipv4, ipv6,
        vlan::{LEN, MAX_KEPT, Tags},
    },
    maps::{
        early::Rule,
        fdb::Place,
        flow::{FRESH_NS, Flow, Key},
        jump::Jump,
        segment::Segment,
    },
};

use crate::{
    arrival::{self, Kept},
    clock,
    decap::{self, Span, Tunnel},
    deliver, ecn, examine, flood_to_ports, foreign,
    frame::Frame,
    gso::Headers,
    learn::learn,
    maps::{
        config,
        counters::{self, Size},
        fdb, flows, generation, jumps, members, segments, uplinks, vteps,
    },
    mark::Mark,
    packet::{self, Packet as _},
    path_mtu,
    skb::Skb,
    verdict::{Outcome, Verdict},
    vlan, watch,
};

/// Bytes of the VLAN tags that a frame can keep.
const TAGS_LEN: u32 = (MAX_KEPT * LEN) as u32;

/// Delivers a packet of one of our tunnels to the ports of its segment; anything else passes.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    receive::<false, false>(skb)
}

/// The same for a packet that [`handle`] found to be captured, and whose VNI it handed over.
#[inline(always)]
pub(crate) fn handle_captured(skb: &mut Skb) -> Outcome {
    watch::captured(skb, Vni::new(skb.handed_over()));
    receive::<false, true>(skb)
}

/// The same for a packet that [`handle`] found VLAN tags in, or one on that says a priority.
#[inline(always)]
pub(crate) fn handle_tagged(skb: &mut Skb) -> Outcome {
    receive::<true, true>(skb)
}

#[inline(always)]
fn receive<const TAGGED: bool, const CAPTURED: bool>(skb: &mut Skb) -> Outcome {
    let Some(device) = skb.device() else { return Ok(Verdict::NotOurs) };
    let mut arrival =
        Arrival { device, generation: generation::now(), now: clock::now(), known: None, slot: None };
    if !TAGGED
        && !CAPTURED
        && skb.has_metadata()
        && uplinks::get(device).is_some_and(|uplink| uplink.has_xdp())
        && let Some((vni, vtep)) = unmark(skb)
    {
        // Without its outer headers the frame must not pass any more.
        if skb.has_vlan_tag() {
            if skb.is_of_vlan() {
                return Err(DropReason::OuterVlan);
            }
            vlan::pop(skb)?;
        }
        let (segment, _) = match arrival.look(skb, 0, |device, source, destination| {
            Key::from_member(device, vni, vtep, source, destination)
        }) {
            Some(known) => known,
            // The tunnel can have been removed since XDP took the packet in.
            None if !is_member(vni, vtep) => return Err(DropReason::NotAMember),
            None => (segments::get(vni).ok_or(DropReason::UnknownVni)?, vtep),
        };
        let tunnel = Tunnel::stripped(vni, segment, vtep);
        return switch::<false, CAPTURED>(skb, tunnel, Span { start: 0, end: None }, arrival);
    }
    if !(skb.is_to_host() || skb.is_to_group()) {
        return Ok(Verdict::NotOurs);
    }
    if skb.has_vlan_tag() && (!TAGGED || skb.is_of_vlan()) {
        if !skb.is_of_vlan() {
            // Without the program, the packet passes all the same.
            let _ = jumps::jump(skb, Jump::TaggedFromUplink);
        }
        return Ok(Verdict::NotOurs);
    }
    if !TAGGED
        && !CAPTURED
        && let Some(outcome) = arrival::repeat(skb, arrival.generation, arrival.now)
    {
        return outcome;
    }
    let tags_len = if TAGGED { TAGS_LEN } else { 0 };
    if TAGGED || skb.get::<[u8; decap::HEADERS_LEN as usize]>(0).is_none() {
        // A short packet stays as it is, and is judged by the bytes that it has.
        let _ = skb.pull((decap::HEADERS_LEN + tags_len).min(skb.len()));
    }
    skb.hand_over(0);
    let recognised = decap::recognise(skb, foreign::takes, |skb, vni, sender, start| {
        if CAPTURED {
            return None;
        }
        arrival.look(skb, start, |device, source, destination| {
            Key::from_uplink(device, vni, sender, source, destination)
        })
    });
    if arrival.known.is_none() && uplinks::get(device).is_none() {
        return Ok(Verdict::NotOurs);
    }
    match recognised {
        Ok(Some((tunnel, span))) => {
            if !CAPTURED && arrival.known.is_none() && generation::is_capturing(arrival.generation) {
                skb.hand_over(tunnel.vni.get());
                // Without the program, the packet goes its way all the same.
                let _ = jumps::jump(skb, Jump::CaptureFromUplink);
            }
            switch::<TAGGED, CAPTURED>(skb, tunnel, span, arrival)
        }
        Ok(None) if foreign::is_adopted(skb) => {
            // Without the program, the kernel has it.
            let _ = jumps::jump(skb, Jump::AdoptedFromUplink);
            Ok(Verdict::NotOurs)
        }
        Ok(None) if path_mtu::is_news(skb) => {
            // Without the program, the packet passes all the same.
            let _ = jumps::jump(skb, Jump::PathMtuFromUplink);
            Ok(Verdict::NotOurs)
        }
        Ok(None) => Ok(Verdict::NotOurs),
        Err(DropReason::NotAMember) => jumps::jump(skb, Jump::AdmitFromUplink),
        Err(reason) => Err(reason),
    }
}

/// A packet as it came, and what is known of its flow.
struct Arrival {
    device: IfIndex,
    generation: u64,
    now: u64,
    /// All that packets of its flow go by.
    known: Option<&'static Flow>,
    /// The place to keep that, where it has to be found out.
    slot: Option<&'static mut Flow>,
}

impl Arrival {
    /// Looks for what is known of the flow of an inner frame that starts at `start`: its segment, and who sends it.
    #[inline(always)]
    fn look(
        &mut self,
        skb: &Skb,
        start: usize,
        key: impl FnOnce(IfIndex, MacAddr, MacAddr) -> Key,
    ) -> Option<(&'static Segment, VtepId)> {
        let header = skb.get::<EthHdr>(start)?;
        let key = key(self.device, eth::source(header), eth::destination(header));
        match flows::get(&key, self.generation, self.now)? {
            Ok(known) => {
                self.known = Some(known);
                Some((known.segment(), known.vtep()?))
            }
            Err(slot) => {
                self.slot = Some(slot);
                None
            }
        }
    }
}

/// Whether the VTEP `id` may send into segment `vni`.
#[inline(always)]
fn is_member(vni: Vni, id: VtepId) -> bool {
    vteps::get(id).is_some_and(|vtep| members::get(vni, vtep.remote()) == Some(id))
}

/// Segment and sender of a frame whose outer headers XDP took off.
#[inline(always)]
fn unmark(skb: &mut Skb) -> Option<(Vni, VtepId)> {
    let signature = config::get()?.mark();
    let mark = packet::metadata_mut::<Mark>(skb.metadata_bounds())?;
    let found = mark.read(signature)?;
    mark.erase();
    Some(found)
}

/// Switches the inner frame at `span` to the ports of its segment, and to nothing else.
#[inline(always)]
fn switch<const TAGGED: bool, const CAPTURED: bool>(
    skb: &mut Skb,
    tunnel: Tunnel,
    span: Span,
    arrival: Arrival,
) -> Outcome {
    let Tunnel { vni, segment, vtep, outer_tos, mark } = tunnel;
    let parsed = if TAGGED {
        Frame::parse_tagged(skb, span.start)
    } else {
        Frame::parse(skb, span.start).map(|frame| (frame, Tags::NONE))
    };
    let (frame, tags) = match parsed {
        Err(DropReason::InnerVlan) if !TAGGED && segment.keeps_vlan() && span.start != 0 => {
            return jumps::jump(skb, Jump::TaggedFromUplink);
        }
        parsed => parsed?,
    };
    if TAGGED && !tags.is_empty() && !segment.keeps_vlan() {
        return Err(DropReason::InnerVlan);
    }
    // What is read back the verifier takes for any tags at once.
    skb.hand_over_tags(tags);
    let frame = if TAGGED { frame.with_tags(skb.tags_handed_over()) } else { frame };
    let destination = frame.destination();
    let (generation, now) = (arrival.generation, arrival.now);
    let (place, until) = arrival.place(skb, &tunnel, &frame);
    match place {
        // What was sent to a group was flooded, and a frame without outer headers has lost how far it may go.
        Some(Place::Vtep(to)) if segment.transit() && span.start != 0 && !skb.is_to_group() => {
            if CAPTURED {
                watch::sent_to(skb, vni, Place::Vtep(to));
            }
            skb.hand_over_target(to);
            skb.hand_over_vtep(vtep);
            skb.hand_over(vni.get());
            return jumps::jump(skb, Jump::TransitFromUplink);
        }
        Some(Place::Vtep(_)) => return Err(DropReason::TunnelToTunnel),
        None if destination.is_reserved() => return Err(DropReason::ReservedMac),
        None if !destination.is_group() && !segment.flood() => return Err(DropReason::UnknownUnicast),
        None if !flood_to_ports::has_ports(vni) => return Err(DropReason::NoReceivers),
        Some(Place::Port { .. }) | None => {}
    }
    if skb.gso_size() != 0 && !is_whole(skb, span, &frame) {
        return Err(DropReason::Merged);
    }
    if !TAGGED
        && !CAPTURED
        && until != 0
        && let Some(Place::Port { device: port, peer }) = place
        && arrival::is_plain(&tunnel, span)
    {
        let rule = Rule { vni, vtep, port, peer, to_host: false, longest: 0, look: false };
        arrival::keep(skb, &Kept { rule, start: span.start, generation, time: (now, until) });
    }
    let congestion = ecn::change(skb, span.start + frame.network_offset(), frame.payload(), outer_tos)?;
    let packets = skb.packets();
    if TAGGED && skb.has_vlan_tag() {
        vlan::pop(skb)?;
    }
    strip(skb, span, &frame)?;
    congestion.apply(skb, frame.payload()).map_err(|_| DropReason::DecapFailed)?;
    if let Some(mark) = mark {
        skb.set_mark(mark);
    }
    let frame = frame.without_tags_in_bytes();
    counters::received(vni, vtep, Size { packets, ..frame.size(skb) });
    let program = match (examine::from_tunnel(skb, segment, &frame), place) {
        (None, Some(Place::Port { device, peer })) => {
            if CAPTURED {
                watch::sent_to_port(skb, vni, device);
            }
            return deliver::to_port(skb, vni, segment, (device, peer), &frame);
        }
        (Some(program), _) => program,
        (None, _) => Jump::ForwardFromTunnel,
    };
    skb.hand_over_journey(None);
    skb.hand_over_vtep(vtep);
    skb.hand_over(vni.get());
    jumps::jump(skb, program)
}

impl Arrival {
    /// Where the destination of a frame is, and until when that can be used; 0: it can not. What is not known is found out, and
    /// kept; then the place of the source is learned.
    #[inline(always)]
    fn place(self, skb: &Skb, tunnel: &Tunnel, frame: &Frame) -> (Option<Place>, u64) {
        let Tunnel { vni, segment, vtep, .. } = *tunnel;
        if let Some(known) = self.known {
            return (known.place(vni), known.fresh_until());
        }
        let is_steady = learn(skb, vni, segment, frame.source(), Place::Vtep(vtep), self.now);
        let (standing, until) = fdb::standing(vni, segment, frame.destination(), self.now);
        if let Some(flow) = self.slot
            && is_steady
            && until != 0
        {
            flow.set(vni, segment, standing);
            flow.set_vtep(vtep);
            flow.keep(self.generation, until.min(self.now + FRESH_NS));
        }
        // Its next packet will have it kept.
        (standing.place(vni), 0)
    }
}

/// Whether a packet of several segments is one TCP flow in one tunnel packet.
///
/// Of UDP the kernel would not find the segments again behind a tunnel, whose mark stays on the skb; and several tunnel
/// packets can be one GSO packet too, the first inner frame followed by the other packets' headers.
#[inline(always)]
pub(crate) fn is_whole(skb: &Skb, span: Span, frame: &Frame) -> bool {
    let start = span.start + frame.network_offset() - eth::LEN;
    let Some(headers) = Headers::parse(skb, start, frame.payload()) else {
        return false;
    };
    headers.is_tcp && headers.end.is_none_or(|end| start as u32 + end == skb.len())
}

/// Takes the outer headers off, what trails the inner frame, and its VLAN tags.
#[inline(always)]
pub(crate) fn strip(skb: &mut Skb, span: Span, frame: &Frame) -> Result<(), DropReason> {
    let Span { start, end } = span;
    if start == 0 {
        return Ok(());
    }
    if let Some(end) = end {
        skb.resize(end as u32).map_err(|_| DropReason::DecapFailed)?;
    }
    // The kernel leaves no less than an IP header behind the Ethernet header.
    let unwanted = start + frame.network_offset() - eth::LEN;
    let shortest = unwanted + eth::LEN + if frame.payload() == Payload::Ipv6 { ipv6::LEN } else { ipv4::LEN };
    if (skb.len() as usize) < shortest {
        skb.resize(shortest as u32).map_err(|_| DropReason::DecapFailed)?;
    }
    skb.remove_room(unwanted as u32, frame.payload()).map_err(|_| DropReason::DecapFailed)?;
    *skb.get_mut::<[u8; eth::LEN]>(0).ok_or(DropReason::DecapFailed)? = frame.plain_bytes();
    Ok(())
}
