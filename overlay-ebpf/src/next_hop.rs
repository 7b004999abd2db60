//! The way to a remote VTEP.

use core::mem::{self, MaybeUninit};

use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff, BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
        BPF_FIB_LKUP_RET_SUCCESS, BPF_FIB_LKUP_RET_UNREACHABLE, bpf_fib_lookup as FibParams,
    },
    helpers::bpf_fib_lookup,
    programs::TcContext,
};
use overlay_common::{
    DropReason, Family, IfIndex, MacAddr, VtepId,
    header::{eth, ipv4::IpProto},
    maps::{
        next_hop::{NextHop, Slot},
        vtep::Vtep,
    },
};

use crate::{
    explain,
    maps::{flooding, next_hops, path_mtus, uplinks, vteps},
    redirect::{self, Neighbour},
    skb::Skb,
    verdict::Outcome,
};

/// `AF_INET` and `AF_INET6` of `include/linux/socket.h`.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// The loopback device: where the kernel looks up the routes of packets that the host itself sends.
const LOOPBACK: u32 = 1;

/// The way to a remote VTEP.
///
/// Plain fields, all of which are always set: the compiler merges the arms of an enum and reads what only one of them has
/// set, which the verifier refuses.
pub(crate) struct Way {
    /// All that is known, where it is; else what was known last, by the same uplink.
    pub(crate) hop: Option<&'static NextHop>,
    /// Whether all is known. Otherwise the neighbour's MAC is not, or no longer: the kernel has to resolve it.
    pub(crate) is_resolved: bool,
    /// The uplink that the route leaves by, by which the kernel has to; 0 where all is known.
    uplink: u32,
    /// The neighbour that it has to resolve; none of family 0: whoever the route names.
    via: Neighbour,
}

impl Way {
    #[inline(always)]
    fn resolved(hop: &'static NextHop) -> Self {
        Self { hop: Some(hop), is_resolved: true, uplink: 0, via: Neighbour::NONE }
    }

    /// Says which way it is.
    #[inline(always)]
    pub(crate) fn explain(&self) {
        let (uplink, mtu) = self.hop.map_or((0, 0), |hop| (hop.uplink().map_or(0, IfIndex::get), hop.mtu()));
        let uplink = if self.is_resolved { uplink } else { self.uplink };
        explain::note_way(uplink, mtu, self.is_resolved);
    }

    /// What the Ethernet header of a packet of that family is copied from: zeros, which the kernel replaces, where it has to
    /// find the rest of the way.
    #[inline(always)]
    pub(crate) fn header_hop(&self, family: Family) -> &'static NextHop {
        match (self.hop, family) {
            (Some(hop), _) if self.is_resolved => hop,
            (_, Family::Ipv4) => &NextHop::NONE_IPV4,
            (_, Family::Ipv6) => &NextHop::NONE_IPV6,
        }
    }

    /// Sends a packet whose outer headers are written, that of Ethernet from `hop`, which is [`Self::header_hop`].
    #[inline(always)]
    pub(crate) fn send(&self, hop: &NextHop) -> Outcome {
        match IfIndex::new(self.uplink) {
            None => redirect::to_device(hop.uplink().ok_or(DropReason::NoRoute)?),
            Some(uplink) => redirect::to_neighbour(uplink, self.via),
        }
    }
}

/// What has to get through.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// The length of the largest outer IP packet that will be sent, in bytes.
    pub(crate) ip_len: u32,
    /// Whether it has to fit what the underlay told, too: anybody can tell that.
    pub(crate) heeds_told: bool,
}

/// The place of the next hop of a flow to `vtep`, by its hash, where equal-cost routes share flows out.
#[inline(always)]
pub(crate) fn slot_of(id: VtepId, vtep: &Vtep, flow_hash: u32) -> Slot {
    if vtep.is_multipath() { Slot::of_flow(id, flow_hash) } else { Slot::new(id) }
}

/// Finds the way to `vtep`: this CPU's last answer from the kernel's FIB while that is fresh, else a new one.
///
/// `flow_hash` tells flows apart, where equal-cost routes share them out; `now` is nanoseconds of the monotonic clock.
#[inline(always)]
pub(crate) fn find(
    skb: &Skb,
    id: VtepId,
    vtep: &Vtep,
    load: Load,
    flow_hash: u32,
    now: u64,
) -> Result<Way, DropReason> {
    let slot = slot_of(id, vtep, flow_hash);
    let hop = next_hops::get(slot).ok_or(DropReason::UnknownVtep)?;
    if !hop.is_good(slot, now) {
        if !vtep.is_group() {
            return look_up(|| ask_apart(skb, id, slot, load.ip_len), id, vtep, slot, hop, now, load);
        }
        *hop = to_group(skb, vtep, slot, now)?;
    }
    let mtu = if load.heeds_told { hop.mtu() } else { hop.fib_mtu() };
    if mtu != 0 && load.ip_len > u32::from(mtu) {
        return Err(DropReason::TooBig);
    }
    Ok(Way::resolved(hop))
}

/// The next hop of a packet to `vtep` for who can only use one that all is known of, as XDP can; else as [`find`].
#[inline(always)]
pub(crate) fn resolved(
    context: &impl EbpfContext,
    id: VtepId,
    vtep: &Vtep,
    load: Load,
    flow_hash: u32,
    now: u64,
) -> Option<&'static NextHop> {
    let slot = slot_of(id, vtep, flow_hash);
    let hop = next_hops::get(slot)?;
    if vtep.is_group() {
        return None;
    }
    if !hop.is_good(slot, now) {
        let ask = || ask(context, vtep, slot.lot(), load.ip_len);
        let way = look_up(ask, id, vtep, slot, hop, now, load).ok()?;
        return way.hop.filter(|_| way.is_resolved);
    }
    if hop.carries(load.ip_len) { Some(hop) } else { None }
}

/// Has the FIB asked, unless the packet is too big in any case, and keeps a complete answer in `hop`, the place of `slot`. What it shares out equal-cost routes by is the same for all flows
/// of a lot: addresses, and by its settings ports (`fib_multipath_hash_policy`) or the flow label.
#[inline(always)]
fn look_up(
    ask: impl FnOnce() -> u32,
    id: VtepId,
    vtep: &Vtep,
    slot: Slot,
    hop: &'static mut NextHop,
    now: u64,
    Load { ip_len, heeds_told }: Load,
) -> Result<Way, DropReason> {
    if heeds_told && ip_len > u32::from(path_mtus::get(id, now)) {
        return Err(DropReason::TooBig);
    }
    let code = ask();
    let params = flooding::fib().ok_or(DropReason::NoRoute)?;
    match code {
        BPF_FIB_LKUP_RET_SUCCESS => {
            let uplink = checked(params.ifindex)?;
            // SAFETY: the kernel has replaced the length by the MTU.
            let mtu = unsafe { params.__bindgen_anon_1.mtu_result };
            let ethernet = eth::header(MacAddr::new(params.dmac), MacAddr::new(params.smac), vtep.family());
            *hop = NextHop::new(uplink, ethernet, mtu, now, slot);
            // Asked for again, for want of stack to keep it.
            hop.lower_mtu(path_mtus::get(id, now));
            Ok(Way::resolved(hop))
        }
        BPF_FIB_LKUP_RET_NO_NEIGH => {
            let uplink = checked(params.ifindex)?;
            // SAFETY: the kernel has replaced the destination by the gateway, if there is one, of either family.
            let address = unsafe { params.__bindgen_anon_4.ipv6_dst };
            let via = Neighbour { family: params.family, address };
            Ok(unresolved(uplink, via, slot, hop))
        }
        // Somebody turned the loopback device's forwarding off.
        BPF_FIB_LKUP_RET_FWD_DISABLED => {
            let uplink = vtep.uplink().ok_or(DropReason::NoRoute)?;
            Ok(unresolved(uplink, Neighbour::NONE, slot, hop))
        }
        BPF_FIB_LKUP_RET_FRAG_NEEDED => Err(DropReason::TooBig),
        _ => Err(DropReason::NoRoute),
    }
}

/// The largest outer IP packet, in bytes, that gets to `vtep` as far as anybody knows, by the next hop of `slot`; `None`:
/// nobody does. If the underlay told less than `least`, that counts as `least`.
#[inline(always)]
pub(crate) fn mtu(skb: &Skb, id: VtepId, vtep: &Vtep, slot: Slot, least: u16, now: u64) -> Option<u16> {
    let hop = next_hops::get(slot)?;
    if hop.is_good(slot, now) && hop.mtu() != 0 {
        return Some(hop.fib_mtu().min(hop.mtu().max(least)));
    }
    if vtep.is_group() {
        return vtep.uplink().and_then(|uplink| skb.mtu_of(uplink).ok());
    }
    let code = ask_apart(skb, id, slot, u32::from(u16::MAX));
    let params = flooding::fib()?;
    let mtu = match code {
        // SAFETY: the kernel has replaced the length by the MTU.
        BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_FRAG_NEEDED => unsafe {
            params.__bindgen_anon_1.mtu_result
        },
        _ => hop.fib_mtu(),
    };
    Some(mtu.min(path_mtus::get(id, now).max(least))).filter(|&mtu| mtu != 0)
}

/// A question to the FIB, not yet asked.
#[inline(always)]
fn zeroed() -> FibParams {
    // SAFETY: zero is a value of every field.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Asks the FIB as [`ask`] does, for TC.
#[inline(always)]
fn ask_apart(skb: &Skb, id: VtepId, slot: Slot, ip_len: u32) -> u32 {
    ask_fib(skb.raw(), id.index(), slot.lot(), ip_len)
}

/// A function of its own, and exported, so that the verifier walks it once.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn ask_fib(skb: *mut __sk_buff, id: u32, lot: u32, ip_len: u32) -> u32 {
    match VtepId::new(id as u16).and_then(vteps::get) {
        Some(vtep) => ask(&TcContext::new(skb), vtep, lot, ip_len),
        None => BPF_FIB_LKUP_RET_UNREACHABLE,
    }
}

/// Asks the FIB for the way of an outer IP packet of `ip_len` bytes; its code. The answer is in [`flooding::fib`] then: who floods
/// has no stack for it.
#[inline(always)]
fn ask(context: &impl EbpfContext, vtep: &Vtep, lot: u32, ip_len: u32) -> u32 {
    let Some(params) = flooding::fib() else { return BPF_FIB_LKUP_RET_UNREACHABLE };
    *params = zeroed();
    params.ifindex = LOOPBACK;
    params.l4_protocol = IpProto::Udp as u8;
    params.sport = (lot as u16).to_be();
    params.dport = vtep.outer().port().to_be();
    params.__bindgen_anon_1.tot_len = ip_len.min(u32::from(u16::MAX)) as u16;
    let (local, remote) = (vtep.local().words(), vtep.remote().words());
    match vtep.family() {
        Family::Ipv4 => {
            params.family = AF_INET;
            params.__bindgen_anon_3.ipv4_src = local[3];
            params.__bindgen_anon_4.ipv4_dst = remote[3];
        }
        Family::Ipv6 => {
            params.family = AF_INET6;
            params.__bindgen_anon_2.flowinfo = lot.to_be();
            params.__bindgen_anon_3.ipv6_src = local;
            params.__bindgen_anon_4.ipv6_dst = remote;
        }
    }
    // SAFETY: the context is valid and `params` as long as said.
    unsafe { bpf_fib_lookup(context.as_ptr(), params, mem::size_of::<FibParams>() as i32, 0) as u32 }
}

/// The next hop of a multicast group: by the uplink that it was joined on, to a MAC address that follows from the group's.
#[inline(always)]
fn to_group(skb: &Skb, vtep: &Vtep, slot: Slot, now: u64) -> Result<NextHop, DropReason> {
    let device = vtep.uplink().ok_or(DropReason::NoRoute)?;
    let uplink = uplinks::get(device).ok_or(DropReason::NotAnUplink)?;
    let mtu = skb.mtu_of(device).map_err(|_| DropReason::NotAnUplink)?;
    let ethernet = eth::header(vtep.remote().group_mac(), uplink.mac(), vtep.family());
    Ok(NextHop::new(device, ethernet, mtu, now, slot))
}

/// A way that the kernel has to find.
#[inline(always)]
fn unresolved(uplink: IfIndex, via: Neighbour, slot: Slot, hop: &'static NextHop) -> Way {
    let last = if hop.is_of(slot) && hop.uplink() == Some(uplink) { Some(hop) } else { None };
    Way { hop: last, is_resolved: false, uplink: uplink.get(), via }
}

/// The uplink with that index.
#[inline(always)]
fn checked(index: u32) -> Result<IfIndex, DropReason> {
    let device = IfIndex::new(index).ok_or(DropReason::NoRoute)?;
    uplinks::get(device).ok_or(DropReason::NotAnUplink)?;
    Ok(device)
}
