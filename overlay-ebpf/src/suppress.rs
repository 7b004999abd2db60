//! Answering ARP and ND for stations elsewhere, so that what asks for them crosses no tunnel.

use network_types::{arp::ArpHdr, eth::EthHdr};
use overlay_common::{
    DropReason, IfIndex, MacAddr, OverlayAddr, Vni,
    header::{arp, nd},
    maps::{fdb::Place, jump::Jump, segment::Segment},
};

use crate::{
    clock, deliver,
    frame::Frame,
    hear::{NETWORK, hear},
    maps::{counters, fdb, jumps, neighbours, segments},
    neighbour,
    packet::Packet as _,
    skb::Skb,
    snoop::snoop,
    verdict::Outcome,
};

/// What a request from a port comes to.
enum Decision {
    /// The station that is asked for has this address; whether it is a router.
    Answer(MacAddr, bool),
    /// It is better asked itself.
    PassOn,
    /// Nobody knows it.
    Unknown,
}

/// Listens to a frame from a port in the segment that was handed over with it; answers it, or sends it on.
#[inline(always)]
pub(crate) fn from_port(skb: &mut Skb) -> Outcome {
    let device = skb.device().ok_or(DropReason::UnknownPort)?;
    let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    // Without its tags, for which the stack has no room until there is an answer.
    let frame = Frame::parse(skb, 0)?;
    let now = clock::now();
    let heard = hear(skb, &frame);
    if let Some(claim) = heard.claim {
        snoop(skb, vni, segment, &claim, now);
    }
    if let Some(target) = heard.asks_for {
        match decide(skb, vni, segment, device, &frame, target, now) {
            Decision::Answer(mac, router) => {
                counters::asked(vni, true);
                answer(skb, &frame, NETWORK, mac, router).ok_or(DropReason::AnswerFailed)?;
                let answer = Frame::handed_over(skb)?;
                return deliver::to_port(skb, vni, segment, (device, false), &answer);
            }
            Decision::Unknown
                if segment.drops_unknown_neighbour() && !neighbour::is_short(vni, segment, now) =>
            {
                counters::asked(vni, false);
                return Err(DropReason::NeighbourUnknown);
            }
            Decision::Unknown | Decision::PassOn => counters::asked(vni, false),
        }
    }
    jumps::jump(skb, Jump::ForwardFromPort)
}

/// A station that the FDB does not know may be gone, one behind the same port hears the request itself, and what is known in
/// other VLANs is of another network.
#[inline(always)]
fn decide(
    skb: &Skb,
    vni: Vni,
    segment: &Segment,
    from: IfIndex,
    frame: &Frame,
    target: OverlayAddr,
    now: u64,
) -> Decision {
    let Some((mac, router, is_here)) =
        neighbours::station(vni, segment, skb.tags_handed_over().vlans(), target, now)
    else {
        return Decision::Unknown;
    };
    if !is_here || mac == frame.source() {
        return Decision::PassOn;
    }
    match fdb::place(vni, segment, mac, now) {
        Some(Place::Port { device, .. }) if device == from => Decision::PassOn,
        Some(Place::Port { .. } | Place::Vtep(_)) => Decision::Answer(mac, router),
        None => Decision::PassOn,
    }
}

/// Turns a request into its answer.
#[inline(always)]
fn answer(skb: &mut Skb, frame: &Frame, network: usize, mac: MacAddr, router: bool) -> Option<()> {
    if frame.is_arp() {
        let reply = arp::reply(skb.get::<ArpHdr>(network)?, mac);
        *skb.get_mut(network)? = reply;
    } else {
        let answer = nd::answer(skb.get(network)?, mac, router);
        *skb.get_mut(network)? = answer;
    }
    let header = skb.get_mut::<EthHdr>(0)?;
    header.dst_addr = frame.source().bytes();
    header.src_addr = mac.bytes();
    Some(())
}
