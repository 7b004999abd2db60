//! Transit: a frame out of one tunnel goes on into another of its segment, to the one VTEP that its destination is known
//! behind.
//!
//! A tunnel packet that another VTEP of the same family gets stays one: other headers are written over its outer ones, and
//! the frame within is not touched. Where more is to be done, with the frame or with what the kernel has noted beside it, the frame
//! comes out of its tunnel as any other does, goes through the same programs, and is encapsulated anew. Its TTL, one less, and its source
//! port go on with it.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};
use overlay_common::{
    DropReason, Family, Vni, VtepId,
    explain::{Anew, Step},
    header::{
        checksum,
        eth::{self, Payload},
        ipv4, ipv6,
        journey::Journey,
        outer, outer_sum, traits, udp, vxlan,
    },
    maps::{fdb::Place, jump::Jump, segment::Segment, vtep::Vtep},
};

use crate::{
    audience::Audience,
    clock,
    decap::Span,
    ecn,
    encap::Inner,
    examine, explain,
    frame::Frame,
    from_uplink, inner_sum,
    maps::{
        counters::{self, Size},
        fdb, flooding, jumps, segments, vteps,
    },
    open_sum,
    packet::Packet,
    send,
    skb::Skb,
    verdict::{Outcome, Verdict},
    vlan, watch,
};

/// What the outer headers of a tunnel packet say, in which everything has been found right.
pub(crate) struct Arrived {
    pub(crate) family: Family,
    /// Bytes of them.
    pub(crate) start: usize,
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    pub(crate) source_port: u16,
    pub(crate) checksum: u16,
    /// Bytes of UDP header and payload.
    pub(crate) udp_len: u16,
}

impl Arrived {
    /// Reads them.
    #[inline(always)]
    pub(crate) fn read(packet: &impl Packet) -> Option<Self> {
        let (family, udp_at, tos, ttl) = match eth::payload(packet.get::<EthHdr>(0)?) {
            Payload::Ipv4 => {
                let ip = packet.get::<Ipv4Hdr>(eth::LEN)?;
                (Family::Ipv4, eth::LEN + ipv4::header_len(ip)?, ip.tos, ip.ttl)
            }
            Payload::Ipv6 => {
                let ip = packet.get::<Ipv6Hdr>(eth::LEN)?;
                let tos = traits::traffic_class([ip.vcf[0], ip.vcf[1]]);
                (Family::Ipv6, eth::LEN + ipv6::LEN, tos, ip.hop_limit)
            }
            Payload::Vlan | Payload::Other => return None,
        };
        let udp = packet.get::<UdpHdr>(udp_at)?;
        Some(Self {
            family,
            start: udp_at + udp::LEN + vxlan::LEN,
            tos,
            ttl,
            source_port: u16::from_be_bytes(udp.src),
            checksum: u16::from_be_bytes(udp.check),
            udp_len: udp::len(udp),
        })
    }

    /// Where the inner frame lies.
    #[inline(always)]
    fn span(&self, skb: &Skb) -> Span {
        let end = self.start - udp::LEN - vxlan::LEN + usize::from(self.udp_len);
        let is_cut = skb.gso_size() == 0 && end != skb.len() as usize;
        Span { start: self.start, end: is_cut.then_some(end) }
    }

    /// The packet mark that the VXLAN header carries, if the segment's do.
    #[inline(always)]
    fn mark(&self, packet: &impl Packet, segment: &Segment) -> Option<u32> {
        if !segment.policy().gbp() {
            return None;
        }
        vxlan::mark(packet.get(self.start - vxlan::LEN)?)
    }
}

/// A packet in transit, and the segment and VTEPs that were handed over with it.
struct Passage {
    vni: Vni,
    segment: &'static Segment,
    source: VtepId,
    target: VtepId,
    arrived: Arrived,
    journey: Journey,
    frame: Frame,
}

impl Passage {
    #[inline(always)]
    fn read(skb: &Skb) -> Result<Self, DropReason> {
        let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
        let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
        let source = skb.handed_over_vtep().ok_or(DropReason::UnknownVtep)?;
        let target = skb.target_handed_over().ok_or(DropReason::UnknownVtep)?;
        explain::note(|| Step::Transit(Some(vni), Some(source), Some(target)));
        if source == target {
            return Err(DropReason::SameVtep);
        }
        let arrived = Arrived::read(skb).ok_or(DropReason::OuterTruncated)?;
        explain::note(|| Step::Journey(arrived.ttl, arrived.source_port));
        let has_open_sum = skb.gso_size() != 0 && arrived.checksum != 0;
        let journey =
            Journey::new(arrived.ttl, arrived.source_port, has_open_sum).ok_or(DropReason::TtlExpired)?;
        let (frame, _) = Frame::parse_tagged(skb, arrived.start)?;
        let frame = frame.with_tags(skb.tags_handed_over());
        Ok(Self { vni, segment, source, target, arrived, journey, frame })
    }

    /// Where the IP header of the frame is.
    #[inline(always)]
    fn network(&self) -> usize {
        self.arrived.start + self.frame.network_offset()
    }
}

/// Sends a tunnel packet from the VTEP that was handed over with it on to the other one that was; or has its frame come out, if
/// more is to be done than to write other outer headers.
#[inline(always)]
pub(crate) fn whole(skb: &mut Skb) -> Outcome {
    if skb.has_vlan_tag() {
        vlan::pop(skb)?;
    }
    let target = skb.target_handed_over().ok_or(DropReason::UnknownVtep)?;
    let has_open_sum = match measure(skb.raw()) {
        DROPPED => return Ok(Verdict::Copied),
        UNWRAP => return jumps::jump(skb, Jump::UnwrapFromUplink),
        code => code == STAYS_OPEN,
    };
    let inner = flooding::inner().ok_or(DropReason::EncapFailed)?;
    match send::on_to_vtep(skb, target, inner, has_open_sum) {
        Err(DropReason::TooBig) => {
            explain::note(|| Step::Anew(Anew::TooBig));
            jumps::jump(skb, Jump::UnwrapFromUplink)
        }
        sent => {
            let source = skb.handed_over_vtep().ok_or(DropReason::UnknownVtep)?;
            counters::received(inner.vni(), source, inner.size());
            sent
        }
    }
}

// What `measure` returns: the packet was dropped, its frame has to come out, or other headers are all that it needs, and with
// them, where the kernel carries several packets as one, the start of their UDP checksums.
const DROPPED: u32 = 0;
const UNWRAP: u32 = 1;
const STAYS: u32 = 2;
const STAYS_OPEN: u32 = 3;

/// Takes the measures of a packet, and leaves them in [`flooding::inner`]. In a stack frame of its own, since the caller's is
/// short.
#[inline(never)]
fn measure(skb: *mut __sk_buff) -> u32 {
    let skb = Skb::new(TcContext::new(skb));
    match take_measures(&skb) {
        Ok(code) => code,
        Err(reason) => {
            watch::dropped(&skb, reason);
            DROPPED
        }
    }
}

#[inline(always)]
fn take_measures(skb: &Skb) -> Result<u32, DropReason> {
    let passage = Passage::read(skb)?;
    let Passage { vni, segment, target, arrived, journey, frame, .. } = &passage;
    let (network, span) = (passage.network(), arrived.span(skb));
    if skb.gso_size() != 0 && !from_uplink::is_whole(skb, span, frame) {
        return Err(DropReason::Merged);
    }
    let vtep = vteps::get(*target).ok_or(DropReason::UnknownVtep)?;
    if !stays(skb, arrived, span, vtep) {
        let is_other = vtep.family() != arrived.family;
        return Ok(unwrap_for(if is_other { Anew::Family } else { Anew::Headers }));
    }
    if !ecn::change(skb, network, frame.payload(), arrived.tos)?.is_none() {
        return Ok(unwrap_for(Anew::Congestion));
    }
    if examine::may_concern(skb, network, segment, frame) {
        return Ok(unwrap_for(Anew::Looked));
    }
    let about = (*vni, *segment, arrived.mark(skb, segment).unwrap_or(0));
    let sum =
        if vtep.udp_checksum() { checksum::fold(inner_sum::behind::<{ outer::IPV6_LEN }>(skb)) } else { 0 };
    let inner = flooding::inner().ok_or(DropReason::EncapFailed)?;
    *inner = Inner::within(skb, about, (*frame, arrived.start), *journey, sum)?;
    if !inner.fits(segment) {
        return Ok(unwrap_for(Anew::TooBig));
    }
    Ok(if journey.has_open_sum() { STAYS_OPEN } else { STAYS })
}

/// The code for a packet whose frame has to come out, and a word of why.
#[inline(always)]
fn unwrap_for(why: Anew) -> u32 {
    explain::note(|| Step::Anew(why));
    UNWRAP
}

/// Whether the outer headers of a packet can be written over with those towards `vtep`.
///
/// The kernel notes beside a packet where a checksum is still to be filled in. If that is the outer one, it has to forget it, which
/// it does when the headers are taken off; and who carries several packets as one needs help where each is to get a checksum.
#[inline(always)]
fn stays(skb: &Skb, arrived: &Arrived, span: Span, vtep: &Vtep) -> bool {
    let is_gso = skb.gso_size() != 0;
    let payload = Payload::from(arrived.family);
    vtep.family() == arrived.family
        && span.start == outer::len(arrived.family)
        && span.end.is_none()
        && !(is_gso && vtep.udp_checksum())
        && (is_gso || arrived.checksum == 0 || open_sum::is_filled_in(skb, eth::LEN, payload))
}

/// Takes the outer headers of a packet in transit off, and sends its frame the way of those that need a closer look.
#[inline(always)]
pub(crate) fn unwrap(skb: &mut Skb) -> Outcome {
    let passage = Passage::read(skb)?;
    let Passage { vni, segment, source, arrived, journey, frame, .. } = &passage;
    let congestion = ecn::change(skb, passage.network(), frame.payload(), arrived.tos)?;
    let (packets, mark, span) = (skb.packets(), arrived.mark(skb, segment), arrived.span(skb));
    from_uplink::strip(skb, span, frame)?;
    congestion.apply(skb, frame.payload()).map_err(|_| DropReason::DecapFailed)?;
    if let Some(mark) = mark {
        skb.set_mark(mark);
    }
    let frame = frame.without_tags_in_bytes();
    counters::received(*vni, *source, Size { packets, ..frame.size(skb) });
    skb.hand_over_journey(Some(*journey));
    jumps::jump(skb, examine::from_tunnel(skb, segment, &frame).unwrap_or(Jump::ForwardFromTunnel))
}

/// Encapsulates a frame in transit, whose outer headers are off, for the VTEP that its destination is behind.
#[inline(always)]
pub(crate) fn anew(skb: &mut Skb) -> Outcome {
    let vni = Audience::segment(skb).ok_or(DropReason::UnknownVni)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    let journey = skb.journey_handed_over().ok_or(DropReason::TunnelToTunnel)?;
    let frame = Frame::handed_over(skb)?;
    let now = clock::now();
    let Some(Place::Vtep(id)) = fdb::place(vni, segment, frame.destination(), now) else {
        return Err(DropReason::UnknownUnicast);
    };
    explain::note(|| Step::Transit(Some(vni), skb.handed_over_vtep(), Some(id)));
    if skb.handed_over_vtep() == Some(id) {
        return Err(DropReason::SameVtep);
    }
    let mut inner = Inner::new(skb, vni, segment, frame, now)?.with_journey(journey);
    if send::wants_sum(id) {
        inner = inner.with_sum(skb, inner_sum::of(skb, 1));
    }
    let sent = if inner.fits(segment) { send::to_vtep(skb, id, &inner) } else { Err(DropReason::TooBig) };
    match sent {
        Err(DropReason::TooBig) => {
            // What answers it comes from where it should have gone.
            skb.hand_over_vtep(id);
            skb.hand_over(vni.get());
            jumps::jump(skb, Jump::TooBigFromTunnel)
        }
        Ok(Verdict::Redirected(_)) if journey.has_open_sum() && skb.gso_size() != 0 => {
            leave_open(skb, id).ok_or(DropReason::EncapFailed)?;
            sent
        }
        sent => sent,
    }
}

/// Has the kernel go on making checksums of what it carries as one: what tells it so stays with a packet for good, whatever
/// headers that gets.
#[inline(always)]
fn leave_open(skb: &mut Skb, id: VtepId) -> Option<()> {
    let len = skb.len();
    match vteps::get(id)?.family() {
        Family::Ipv4 => outer_sum::open_ipv4(skb.get_mut(0)?, len),
        Family::Ipv6 => outer_sum::open_ipv6(skb.get_mut(0)?, len),
    }
    Some(())
}
