//! UDP checksums for what the kernel carried as one, to VTEPs over IPv6 that want them: TC ingress of the device behind
//! which the kernel has cut it up.
//!
//! The kernel cuts up tunnel packets on a device without offloads (`skb_udp_tunnel_segment` in `net/ipv4/udp_offload.c`)
//! and makes all that is within right, but no outer UDP checksum unless the packet's sender has asked for it, which BPF
//! cannot.

use network_types::{ip::Ipv6Hdr, udp::UdpHdr};
use overlay_common::{
    DropReason, Family, UnderlayAddr, VtepId,
    header::{
        eth::{self, Payload},
        ipv4,
        ipv6::{self, Next},
        outer, outer_sum, udp,
    },
    maps::vtep::Vtep,
};

use crate::{
    clock, decap, inner_sum,
    maps::{vtep_ids, vteps},
    next_hop::{self, Load},
    packet::Packet as _,
    skb::Skb,
    verdict::Outcome,
};

/// Bytes that must be linear to find the sum over an inner frame without looking at all of it.
const LOOKED_AT: u32 = decap::HEADERS_LEN + (ipv4::MAX_LEN + udp::LEN) as u32;

/// A packet of ours, and where it goes.
struct Addressed {
    id: VtepId,
    vtep: &'static Vtep,
    /// The low bits of its flow's hash.
    flow_label: u32,
}

/// Completes a packet of ours that has been cut up, and sends it. Nothing else has any business here.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    if skb.gso_size() != 0 {
        return Err(DropReason::GsoChecksum);
    }
    let _ = skb.pull(LOOKED_AT.min(skb.len()));
    let Addressed { id, vtep, flow_label } = addressed(skb).ok_or(DropReason::Stray)?;
    // What the underlay told was heeded before it was cut up.
    let load = Load { ip_len: skb.len() - eth::LEN as u32, heeds_told: false };
    let way = next_hop::find(skb, id, vtep, load, flow_label, clock::now())?;
    let hop = way.header_hop(Family::Ipv6);
    let sum = inner_sum::behind::<{ outer::IPV6_LEN }>(skb);
    let headers = skb.get_mut::<[u8; outer::IPV6_LEN]>(0).ok_or(DropReason::EncapFailed)?;
    headers[..eth::LEN].copy_from_slice(hop.ethernet());
    outer_sum::write_ipv6(headers, sum);
    way.send(hop)
}

/// Whether a packet is one that the programs have sent here, as far as one can see.
#[inline(always)]
fn addressed(skb: &Skb) -> Option<Addressed> {
    let Payload::Ipv6 = eth::payload(skb.get(0)?) else {
        return None;
    };
    let ip = skb.get::<Ipv6Hdr>(eth::LEN)?;
    let Next::Udp = ipv6::next(ip)? else {
        return None;
    };
    let udp = skb.get::<UdpHdr>(eth::LEN + ipv6::LEN)?;
    let remote = UnderlayAddr::from_ipv6(ip.dst_addr);
    let id = vtep_ids::get(remote)?;
    let vtep = vteps::get(id)?;
    let is_ours = vtep.udp_checksum()
        && vtep.remote() == remote
        && vtep.local() == UnderlayAddr::from_ipv6(ip.src_addr)
        && vtep.outer().port() == udp::destination_port(udp)
        && eth::LEN + ipv6::LEN + usize::from(udp::len(udp)) == skb.len() as usize;
    is_ours.then_some(Addressed { id, vtep, flow_label: ipv6::flow_label(ip) })
}
