//! The way to a remote VTEP.

use core::mem::{self, MaybeUninit};

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_fib_lookup as FibParams,
    },
    helpers::bpf_fib_lookup,
};
use overlay_common::{
    DropReason, IfIndex, MacAddr, VtepId,
    maps::{next_hop::NextHop, vtep::Vtep},
};

use crate::{
    clock,
    maps::{next_hops, uplinks},
    skb::Skb,
};

/// `AF_INET` of `include/linux/socket.h`.
const AF_INET: u8 = 2;

/// The loopback device: where the kernel looks up the routes of packets that the host itself sends.
const LOOPBACK: u32 = 1;

/// The way to a remote VTEP.
pub(crate) enum Way {
    /// All is known.
    Resolved(&'static NextHop),
    /// The neighbour's MAC is not known: the kernel has to resolve it.
    Unresolved {
        /// The uplink that the route leaves by.
        uplink: IfIndex,
        /// The neighbour, IPv4 in network byte order; `None`: whoever the route names.
        via: Option<u32>,
    },
}

/// Finds the way to `vtep`: this CPU's last answer from the kernel's FIB while that is fresh, else a new one.
#[inline(always)]
pub(crate) fn find(skb: &Skb, id: VtepId, vtep: &Vtep) -> Result<Way, DropReason> {
    let slot = next_hops::slot(id).ok_or(DropReason::UnknownVtep)?;
    let now = clock::now();
    if slot.is_fresh(now) {
        return Ok(Way::Resolved(slot));
    }
    look_up(skb, vtep, slot, now)
}

/// Asks the FIB, and keeps a complete answer in `slot`.
#[inline(always)]
fn look_up(skb: &Skb, vtep: &Vtep, slot: &'static mut NextHop, now: u64) -> Result<Way, DropReason> {
    let (Some(local), Some(remote)) = (vtep.local().to_ipv4(), vtep.remote().to_ipv4()) else {
        return Err(DropReason::UnknownVtep);
    };
    // SAFETY: zero is a value of every field.
    let mut params: FibParams = unsafe { MaybeUninit::zeroed().assume_init() };
    params.family = AF_INET;
    params.ifindex = LOOPBACK;
    params.__bindgen_anon_1.tot_len = 1;
    params.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(local);
    params.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(remote);
    // SAFETY: the context is valid and `params` as long as said.
    let code =
        unsafe { bpf_fib_lookup(skb.as_ptr(), &raw mut params, mem::size_of::<FibParams>() as i32, 0) };
    match code as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => {
            let uplink = checked(params.ifindex)?;
            // SAFETY: the kernel has replaced the length by the MTU.
            let mtu = unsafe { params.__bindgen_anon_1.mtu_result };
            *slot = NextHop::new(uplink, MacAddr::new(params.smac), MacAddr::new(params.dmac), mtu, now);
            Ok(Way::Resolved(slot))
        }
        BPF_FIB_LKUP_RET_NO_NEIGH => {
            let uplink = checked(params.ifindex)?;
            // SAFETY: the kernel has replaced the destination by the gateway, if there is one.
            let via = unsafe { params.__bindgen_anon_4.ipv4_dst };
            Ok(Way::Unresolved { uplink, via: Some(via) })
        }
        // Somebody turned the loopback device's forwarding off: the last answer is better than none.
        BPF_FIB_LKUP_RET_FWD_DISABLED if slot.uplink().is_some() => Ok(Way::Resolved(slot)),
        BPF_FIB_LKUP_RET_FWD_DISABLED => {
            let uplink = vtep.uplink().ok_or(DropReason::NoRoute)?;
            Ok(Way::Unresolved { uplink, via: None })
        }
        _ => Err(DropReason::NoRoute),
    }
}

/// The uplink with that index.
#[inline(always)]
fn checked(index: u32) -> Result<IfIndex, DropReason> {
    let device = IfIndex::new(index).ok_or(DropReason::NoRoute)?;
    uplinks::get(device).ok_or(DropReason::NotAnUplink)?;
    Ok(device)
}
