//! Other users of our UDP port on this host: `vxlan` devices of the kernel, with other VNIs.

use core::mem;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_CURRENT_NETNS, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1},
    helpers::{bpf_sk_lookup_udp, bpf_sk_release},
};
use network_types::{ip::Ipv4Hdr, udp::UdpHdr};
use overlay_common::header::{eth, ipv4};

use crate::{packet::Packet as _, skb::Skb};

/// Whether a socket on this host receives the UDP packet. A `vxlan` device is one as long as it is up.
#[inline(always)]
pub(crate) fn listens(skb: &Skb) -> bool {
    let Some(ip) = skb.get::<Ipv4Hdr>(eth::LEN) else {
        return false;
    };
    let Some(header_len) = ipv4::header_len(ip) else {
        return false;
    };
    let (source, destination) = (ip.src_addr, ip.dst_addr);
    let Some(udp) = skb.get::<UdpHdr>(eth::LEN + header_len) else {
        return false;
    };
    let mut tuple = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
        saddr: u32::from_ne_bytes(source),
        daddr: u32::from_ne_bytes(destination),
        sport: u16::from_ne_bytes(udp.src),
        dport: u16::from_ne_bytes(udp.dst),
    };
    let len = mem::size_of_val(&tuple) as u32;
    let tuple = (&raw mut tuple).cast::<bpf_sock_tuple>();
    // SAFETY: the context is valid; a tuple of this length is an IPv4 one.
    let socket = unsafe { bpf_sk_lookup_udp(skb.as_ptr(), tuple, len, BPF_F_CURRENT_NETNS as u64, 0) };
    if socket.is_null() {
        return false;
    }
    // SAFETY: the socket was found, and is released once.
    unsafe { bpf_sk_release(socket.cast()) };
    true
}
