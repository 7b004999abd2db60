//! The rest of the way of a frame out of a tunnel, a plain frame by now, that is not just for one port's station.

use overlay_common::{
    DropReason, Vni,
    maps::{fdb::Place, jump::Jump},
};

use crate::{
    clock, deliver, flood,
    frame::Frame,
    maps::{fdb, jumps, segments},
    skb::Skb,
    verdict::Outcome,
};

/// Switches a frame to ports of the segment that was handed over with it, and to nothing else.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    let frame = Frame::handed_over(skb)?;
    let destination = frame.destination();
    let place =
        if destination.is_group() { None } else { fdb::place(vni, segment, destination, clock::now()) };
    match place {
        Some(Place::Port { device, peer }) => deliver::to_port(skb, vni, segment, (device, peer), &frame),
        Some(Place::Vtep(_)) => Err(DropReason::TunnelToTunnel),
        None if deliver::needs_tags(segment, &frame) => jumps::jump(skb, Jump::FloodTagged),
        None => flood::from_tunnel(skb, vni),
    }
}
