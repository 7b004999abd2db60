//! The way of a frame that a workload sends: TC ingress of its port.

use overlay_common::{
    DropReason, IfIndex,
    maps::{
        fdb::Place,
        port::{Port, PortKind},
    },
};

use crate::{
    clock,
    encap::{Inner, Target},
    flood,
    frame::Frame,
    learn::learn,
    maps::{counters, fdb, ports, segments},
    redirect,
    skb::Skb,
    verdict::Outcome,
};

/// Switches a frame from a port to where its destination is.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    let device = skb.device().ok_or(DropReason::UnknownPort)?;
    let port = ports::get(device).ok_or(DropReason::UnknownPort)?;
    let vni = port.vni().ok_or(DropReason::UnknownPort)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    if skb.has_vlan_tag() {
        return Err(DropReason::InnerVlan);
    }
    let frame = Frame::parse(skb, 0)?;
    let now = clock::now();
    learn(skb, vni, segment, frame.source(), place_of(device, port), now);

    let destination = frame.destination();
    let inner = Inner::new(skb, vni, frame, now)?;
    let place = if destination.is_group() { None } else { fdb::place(vni, segment, destination, now) };
    match place {
        Some(Place::Vtep(id)) => Target::find(skb, id, &inner)?.send(skb, &inner),
        Some(Place::Port { device: to, .. }) if to == device => Err(DropReason::SamePort),
        Some(Place::Port { device: to, peer }) => {
            counters::sent(vni, None, inner.size());
            redirect::to_port(skb, to, peer, frame.payload())
        }
        None if destination.is_group() || segment.flood() => flood::from_port(skb, device, &inner),
        None => Err(DropReason::UnknownUnicast),
    }
}

/// Where the stations behind a port are.
#[inline(always)]
fn place_of(device: IfIndex, port: Port) -> Place {
    Place::Port { device, peer: port.kind() == PortKind::VethPeer }
}
