//! The rest of the way of a frame out of a tunnel, a plain frame by now, that is not just for one port's station.

use overlay_common::{
    DropReason,
    maps::{fdb::Place, jump::Jump},
};

use crate::{
    audience::Audience,
    clock, deliver,
    frame::Frame,
    maps::{fdb, jumps, segments},
    skb::Skb,
    verdict::Outcome,
    watch,
};

/// Switches a frame to ports of the segment that was handed over with it; one in transit to the VTEP that its destination is
/// behind; and to nothing else.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    let vni = Audience::segment(skb).ok_or(DropReason::UnknownVni)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    let frame = Frame::handed_over(skb)?;
    let destination = frame.destination();
    let now = clock::now();
    let place = fdb::place(vni, segment, destination, now);
    match place {
        Some(Place::Port { device, peer }) => {
            watch::sent_to_port(skb, vni, device);
            deliver::to_port(skb, vni, segment, (device, peer), &frame)
        }
        Some(Place::Vtep(to)) if skb.journey_handed_over().is_some() => {
            watch::sent_to(skb, vni, Place::Vtep(to));
            jumps::jump(skb, Jump::TransitFromTunnel)
        }
        Some(Place::Vtep(_)) => Err(DropReason::TunnelToTunnel),
        None => jumps::jump(skb, Jump::FloodFromTunnel),
    }
}
