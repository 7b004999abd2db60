//! Other users of our UDP port on this host: `vxlan` devices of the kernel, with other VNIs.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_F_CURRENT_NETNS, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Ipv4Tuple,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Ipv6Tuple,
    },
    helpers::{bpf_sk_lookup_udp, bpf_sk_release},
    programs::TcContext,
};
use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};
use overlay_common::{
    DropReason, UnderlayAddr,
    explain::Step,
    header::eth::{self, Payload},
};

use crate::{
    decap::Unclaimed,
    explain,
    maps::{adopted, config, drops},
    packet::Packet as _,
    skb::Skb,
};

/// Whether somebody else on this host may take a packet that no segment of ours can be found for.
///
/// Where a device of ours has the kernel listen, so that it merges tunnel packets, that shares its socket with whatever
/// `vxlan` device of the kernel there is, now or later: so what names a segment passes. As long as nobody else listens, that
/// is the last that is seen of it, and it is counted as dropped.
#[inline(always)]
pub(crate) fn takes(skb: &Skb, packet: Unclaimed) -> bool {
    if let Some(vni) = packet.vni
        && adopted::has(vni)
    {
        // With the packet, since whoever asks has no stack for it.
        Skb::new(TcContext::new(skb.raw())).hand_over(vni.get());
        return true;
    }
    let listens = listens(skb, packet.udp_at);
    explain::note(|| Step::Foreign(listens));
    if !listens {
        return false;
    }
    let Some(config) = config::get() else { return true };
    if config.listener(packet.family).is_none() {
        return true;
    }
    if packet.vni.is_some() && config.listens_alone() {
        drops::count(DropReason::UnknownVni);
    }
    packet.vni.is_some()
}

/// Whether [`takes`] found a packet, with which nothing had been handed over, to be for a segment that is adopted.
#[inline(always)]
pub(crate) fn is_adopted(skb: &Skb) -> bool {
    skb.handed_over() != 0
}

/// Whether a socket on this host receives the packet whose UDP header is at `udp_at`, which may be its first fragment. A `vxlan` device is one as long as it is up.
#[inline(always)]
fn listens(skb: &Skb, udp_at: usize) -> bool {
    match skb.get::<EthHdr>(0).map(eth::payload) {
        Some(Payload::Ipv4) => listens_ipv4(skb, udp_at).unwrap_or(false),
        Some(Payload::Ipv6) => listens_ipv6(skb, udp_at).unwrap_or(false),
        _ => false,
    }
}

#[inline(always)]
fn listens_ipv4(skb: &Skb, udp_at: usize) -> Option<bool> {
    let ip = skb.get::<Ipv4Hdr>(eth::LEN)?;
    let udp = skb.get::<UdpHdr>(udp_at)?;
    let tuple = Ipv4Tuple {
        saddr: u32::from_ne_bytes(ip.src_addr),
        daddr: u32::from_ne_bytes(ip.dst_addr),
        sport: u16::from_ne_bytes(udp.src),
        dport: u16::from_ne_bytes(udp.dst),
    };
    Some(is_found(skb, tuple))
}

#[inline(always)]
fn listens_ipv6(skb: &Skb, udp_at: usize) -> Option<bool> {
    let ip = skb.get::<Ipv6Hdr>(eth::LEN)?;
    let udp = skb.get::<UdpHdr>(udp_at)?;
    let tuple = Ipv6Tuple {
        saddr: UnderlayAddr::from_ipv6(ip.src_addr).words(),
        daddr: UnderlayAddr::from_ipv6(ip.dst_addr).words(),
        sport: u16::from_ne_bytes(udp.src),
        dport: u16::from_ne_bytes(udp.dst),
    };
    Some(is_found(skb, tuple))
}

/// Looks a tuple up; its length tells the kernel its family.
#[inline(always)]
fn is_found<T>(skb: &Skb, mut tuple: T) -> bool {
    let (tuple, len) = ((&raw mut tuple).cast::<bpf_sock_tuple>(), size_of::<T>() as u32);
    // SAFETY: the context is valid, and the tuple as long as said.
    let socket = unsafe { bpf_sk_lookup_udp(skb.as_ptr(), tuple, len, BPF_F_CURRENT_NETNS as u64, 0) };
    if socket.is_null() {
        return false;
    }
    // SAFETY: the socket was found, and is released once.
    unsafe { bpf_sk_release(socket.cast()) };
    true
}
