//! Handing a frame to the workload behind a port, with the VLAN tags that it shall have there.

use overlay_common::{
    DropReason, IfIndex, Vni,
    header::vlan::{LEN, Tag, Tags},
    maps::{
        jump::Jump,
        port::{Port, PortKind},
        segment::Segment,
    },
};

use crate::{
    frame::Frame,
    maps::{jumps, ports, tags, vlans},
    redirect,
    skb::Skb,
    verdict::Outcome,
    vlan,
};

/// Sends a frame of segment `vni` to the port `device`; with `peer`, straight to the device's peer where that can be. Its
/// tags are handed over with it already.
#[inline(always)]
pub(crate) fn to_port(
    skb: &mut Skb,
    vni: Vni,
    segment: &Segment,
    (device, peer): (IfIndex, bool),
    frame: &Frame,
) -> Outcome {
    if !needs_tags(segment, frame) {
        return redirect::to_port(skb, device, peer, frame.payload());
    }
    skb.hand_over_port(device);
    skb.hand_over(vni.get());
    jumps::jump(skb, Jump::DeliverToPort)
}

/// Whether a frame can need VLAN tags where it leaves by a port.
#[inline(always)]
pub(crate) fn needs_tags(segment: &Segment, frame: &Frame) -> bool {
    segment.has_trunks() || frame.tags_len() != 0
}

/// Sends a frame to the port that was handed over with it.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
    let device = skb.port_handed_over().ok_or(DropReason::UnknownPort)?;
    let frame = Frame::handed_over(skb)?;
    let port = ports::get(device).ok_or(DropReason::UnknownPort)?;
    let kept = skb.tags_handed_over();
    let tag = tag_for(device, port, vni, kept)?;
    vlan::push_all(skb, kept)?;
    if let Some(tag) = tag {
        vlan::push(skb, tag)?;
    }
    // The kernel knows of a tag beside the bytes, wherever the frame appears; of one among them, only a device tells it.
    let is_among_bytes = kept.len() + usize::from(tag.is_some()) * LEN > LEN;
    let peer = port.kind() == PortKind::VethPeer && !is_among_bytes;
    redirect::to_port(skb, device, peer, frame.payload())
}

/// Sends a copy of a frame to the port `device`. The frame stays as it is; if that fails, it is good for nothing.
#[inline(always)]
pub(crate) fn copy_to_port(skb: &mut Skb, device: IfIndex, vni: Vni, kept: Tags) -> Result<(), Copying> {
    let port = ports::get(device).ok_or(Copying::Failed(DropReason::UnknownPort))?;
    let tag = tag_for(device, port, vni, kept).map_err(Copying::Failed)?;
    vlan::push_all(skb, kept).map_err(|_| Copying::Broken)?;
    if let Some(tag) = tag {
        vlan::push(skb, tag).map_err(|_| Copying::Broken)?;
    }
    let sent = skb.send_copy(device);
    if tag.is_some() {
        vlan::pop(skb).map_err(|_| Copying::Broken)?;
    }
    for present in [kept.outer().is_some(), kept.inner().is_some()] {
        if present {
            vlan::pop(skb).map_err(|_| Copying::Broken)?;
        }
    }
    sent.map_err(|_| Copying::Failed(DropReason::RedirectFailed))
}

/// How sending a copy failed.
pub(crate) enum Copying {
    /// There is no copy; the frame is as it was.
    Failed(DropReason),
    /// The kernel would not put a tag on or take it off: the frame itself is no longer what it was.
    Broken,
}

/// The tag that a frame of segment `vni` gets on a port; `None`: none.
#[inline(always)]
fn tag_for(device: IfIndex, port: Port, vni: Vni, kept: Tags) -> Result<Option<Tag>, DropReason> {
    if port.vni() == Some(vni) {
        return if port.is_trunk() && clashes(device, kept) { Err(DropReason::VlanClash) } else { Ok(None) };
    }
    if !port.is_trunk() {
        return Err(DropReason::UnmappedVlan);
    }
    tags::get(device, vni).map(|vid| Some(Tag::of(vid))).ok_or(DropReason::UnmappedVlan)
}

/// Whether the workload behind a trunk port would take a frame with these tags for one of a VLAN that is another segment.
/// A tag that only says a priority is skipped, as receivers do.
#[inline(always)]
fn clashes(device: IfIndex, kept: Tags) -> bool {
    let effective = match (kept.outer(), kept.inner()) {
        (Some(outer), Some(inner)) if outer.is_priority() => Some(inner),
        (outer, _) => outer,
    };
    effective.and_then(Tag::vid).is_some_and(|vid| vlans::get(device, vid).is_some())
}
