//! The way of a frame on a trunk port, or with VLAN tags, until it is a plain frame of a segment.

use overlay_common::{
    DropReason, IfIndex, Vni,
    header::vlan::{Tag, Tags},
    maps::{jump::Jump, port::Port, segment::Segment},
};

use crate::{
    clock, examine,
    frame::Frame,
    from_port,
    learn::learn,
    maps::{jumps, ports, segments, vlans},
    skb::Skb,
    verdict::Outcome,
    vlan, watch,
};

/// Lets such a frame in, and hands it on with its segment and the tags that it keeps.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    watch::captured_once(skb);
    let device = skb.device().ok_or(DropReason::UnknownPort)?;
    let port = ports::get(device).ok_or(DropReason::UnknownPort)?;
    let (vni, segment, tags) = admit(skb, device, port)?;
    skb.hand_over_tags(tags);
    // What is read back the verifier takes for any tags at once.
    let frame = Frame::handed_over(skb)?;
    skb.hand_over(vni.get());
    learn(skb, vni, segment, frame.source(), from_port::place_of(device, port), clock::now());
    let program = examine::from_port(skb, segment, &frame).unwrap_or(Jump::ForwardFromPort);
    jumps::jump(skb, program)
}

/// Finds the segment that a frame belongs to, and takes its tags off. What it returns are those that are kept. A frame whose
/// only tag says a priority is one without, where tags are not kept (IEEE 802.1Q, section 6.9.1).
#[inline(always)]
fn admit(skb: &mut Skb, device: IfIndex, port: Port) -> Result<(Vni, &'static Segment, Tags), DropReason> {
    let first = vlan::take(skb)?;
    let mapped =
        if port.is_trunk() { first.and_then(Tag::vid).and_then(|vid| vlans::get(device, vid)) } else { None };
    let (vni, tags, unkept) = if let Some(vni) = mapped {
        (vni, vlan::take_all(skb, None)?, DropReason::InnerVlan)
    } else {
        let (untagged, unkept) = match (port.is_trunk(), first) {
            (true, None) => (DropReason::UntaggedFrame, DropReason::InnerVlan),
            (true, Some(tag)) if tag.is_priority() => (DropReason::UntaggedFrame, DropReason::UnmappedVlan),
            (true, Some(_)) => (DropReason::UnmappedVlan, DropReason::UnmappedVlan),
            (false, _) => (DropReason::UnknownPort, DropReason::InnerVlan),
        };
        let vni = port.vni().ok_or(untagged)?;
        let tags = if first.is_some() { vlan::take_all(skb, first)? } else { Tags::NONE };
        (vni, tags, unkept)
    };
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    if tags.is_empty() || segment.keeps_vlan() {
        return Ok((vni, segment, tags));
    }
    if tags.is_priority() { Ok((vni, segment, Tags::NONE)) } else { Err(unkept) }
}
