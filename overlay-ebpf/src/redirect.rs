//! Sending a frame on: to a port, to an uplink.

use aya_ebpf::{
    bindings::{BPF_F_INGRESS, TC_ACT_REDIRECT, bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1},
    helpers::{bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer},
};
use overlay_common::{DropReason, IfIndex, explain::Hand, header::eth::Payload};

use crate::{
    explain,
    skb::Skb,
    verdict::{Outcome, Verdict},
};

/// Hands a frame to the workload behind the port `device`; with `peer`, straight to the device's peer in the workload's
/// namespace.
#[inline(always)]
pub(crate) fn to_port(skb: &mut Skb, device: IfIndex, peer: bool, payload: Payload) -> Outcome {
    // The peer takes the skb as it is, and its protocol is right for IP only: decapsulation can tell the kernel no other.
    let straight = peer && matches!(payload, Payload::Ipv4 | Payload::Ipv6);
    if !straight {
        return to_device(device);
    }
    skb.mark_for_host();
    explain::note_redirect(device, Hand::Peer);
    // SAFETY: the helper takes plain numbers.
    redirected(unsafe { bpf_redirect_peer(device.get(), 0) })
}

/// Sends a frame, complete as it is, out of `device`.
#[inline(always)]
pub(crate) fn to_device(device: IfIndex) -> Outcome {
    explain::note_redirect(device, Hand::Device);
    // SAFETY: the helper takes plain numbers.
    redirected(unsafe { bpf_redirect(device.get(), 0) })
}

/// Hands a frame to the host, as if it came in by `device`: the kernel takes it for the host's if it has the device's MAC address.
#[inline(always)]
pub(crate) fn to_host(device: IfIndex) -> Outcome {
    explain::note_redirect(device, Hand::Host);
    // SAFETY: the helper takes plain numbers.
    redirected(unsafe { bpf_redirect(device.get(), u64::from(BPF_F_INGRESS)) })
}

/// A neighbour's address, in network byte order.
#[derive(Clone, Copy)]
pub(crate) struct Neighbour {
    /// `AF_INET`, then the first word is the address, or `AF_INET6`; 0: it is nobody.
    pub(crate) family: u8,
    pub(crate) address: [u32; 4],
}

impl Neighbour {
    /// Nobody.
    pub(crate) const NONE: Self = Self { family: 0, address: [0; 4] };
}

/// Sends a packet out of the uplink `device` to the neighbour `via`, whose MAC the kernel resolves and fills in; if that is
/// nobody, to the one that the kernel's route by that device names.
#[inline(always)]
pub(crate) fn to_neighbour(device: IfIndex, Neighbour { family, address }: Neighbour) -> Outcome {
    explain::note_redirect(device, Hand::Neighbour);
    let mut params = bpf_redir_neigh {
        nh_family: u32::from(family),
        __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 { ipv6_nh: address },
    };
    let (pointer, len) = match family {
        0 => (core::ptr::null_mut(), 0),
        _ => (&raw mut params, size_of::<bpf_redir_neigh>() as i32),
    };
    // SAFETY: `params` is as long as said, and no longer needed once the helper returns.
    redirected(unsafe { bpf_redirect_neigh(device.get(), pointer, len, 0) })
}

#[inline(always)]
fn redirected(code: i64) -> Outcome {
    if code == i64::from(TC_ACT_REDIRECT) {
        Ok(Verdict::Redirected(TC_ACT_REDIRECT))
    } else {
        Err(DropReason::RedirectFailed)
    }
}
