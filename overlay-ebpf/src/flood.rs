//! Broadcast, unknown unicast and multicast: one copy to every other port of the segment, and, of what comes from a
//! port, one to every remote VTEP.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_loop};
use overlay_common::{DropReason, Family, IfIndex, Vni, VtepId, maps::flood::FloodList};

use crate::{
    clock,
    encap::{Inner, Target},
    frame::Frame,
    inner_sum,
    maps::{counters, drops, flood, segments},
    skb::{Room, Skb},
    verdict::{Outcome, Verdict},
};

/// Floods a frame of a port in the segment that was handed over with it.
#[inline(always)]
pub(crate) fn from_port(skb: &mut Skb) -> Outcome {
    let from = skb.device().ok_or(DropReason::UnknownPort)?;
    let vni = Vni::new(skb.handed_over()).ok_or(DropReason::UnknownVni)?;
    let list = flood::get(vni).ok_or(DropReason::NoReceivers)?;
    let segment = segments::get(vni).ok_or(DropReason::UnknownVni)?;
    let sum = inner_sum::of(skb, list.vtep_count().wrapping_sub(list.ipv4_count()));
    let inner = Inner::new(skb, vni, segment, Frame::parse(skb, 0)?, clock::now())?.with_sum(sum);
    let others = list.port_count().saturating_sub(1);
    if others > 0 {
        counters::sent(vni, None, inner.size());
        to_ports(skb, vni, list, Some(from));
    }
    match list.vtep_count() {
        0 if others > 0 => Ok(Verdict::Copied),
        0 => Err(DropReason::NoReceivers),
        count => to_vteps(skb, &inner, list, count),
    }
}

/// Floods a frame out of a tunnel, which is a plain frame by now: to ports, never into a tunnel.
#[inline(always)]
pub(crate) fn from_tunnel(skb: &mut Skb, vni: Vni) -> Outcome {
    let list = flood::get(vni).ok_or(DropReason::NoReceivers)?;
    to_ports(skb, vni, list, None);
    Ok(Verdict::Copied)
}

/// Whether anybody gets what is flooded out of a tunnel.
#[inline(always)]
pub(crate) fn has_ports(vni: Vni) -> bool {
    flood::get(vni).is_some_and(|list| list.port_count() > 0)
}

/// What a walk along a flood list needs.
struct Walk<'a> {
    skb: &'a mut Skb,
    list: &'static FloodList,
    vni: Vni,
    /// The index of the port that gets no copy; or the place in the list of the remote VTEP that gets the frame itself.
    except: u32,
    /// Where in the list the walk begins.
    first: u32,
    inner: *const Inner,
    /// The id of a remote VTEP whose next hop only the frame itself can have resolved; 0: none.
    late: u32,
    /// The room that the frame has for outer headers.
    room: Room,
}

#[inline(always)]
fn to_ports(skb: &mut Skb, vni: Vni, list: &'static FloodList, except: Option<IfIndex>) {
    let except = except.map_or(0, IfIndex::get);
    let mut walk = Walk { skb, list, vni, except, first: 0, inner: ptr::null(), late: 0, room: Room::Plain };
    for_each(list.port_count(), copy_to_port, &mut walk);
}

/// One copy to each remote VTEP; one of them gets the frame itself: the final one of the list, or one whose next hop has
/// to be resolved. The frame gets room for IPv4, and, when those over IPv4 have their copies, for IPv6.
#[inline(always)]
fn to_vteps(skb: &mut Skb, inner: &Inner, list: &'static FloodList, count: u32) -> Outcome {
    let ipv4_count = list.ipv4_count().min(count);
    let family = if ipv4_count > 0 { Family::Ipv4 } else { Family::Ipv6 };
    let room = inner.make_room(skb, family)?;
    let mut walk = Walk { skb, list, vni: inner.vni(), except: count - 1, first: 0, inner, late: 0, room };
    if ipv4_count > 0 {
        for_each(ipv4_count, copy_to_vtep, &mut walk);
    }
    if count > ipv4_count {
        if ipv4_count > 0 {
            let payload = inner.frame.payload();
            walk.skb.widen_room(payload, room).map_err(|_| DropReason::EncapFailed)?;
        }
        if walk.late != 0 {
            drops::count(DropReason::NextHopUnresolved);
        }
        (walk.first, walk.late) = (ipv4_count, 0);
        for_each(count - ipv4_count, copy_to_vtep, &mut walk);
    }
    for_each(1, send_itself, &mut walk);
    match walk.late {
        0 => Ok(Verdict::Copied),
        action => Ok(Verdict::Redirected(action as i32)),
    }
}

type Step = unsafe extern "C" fn(u64, *mut c_void) -> i64;

#[inline(always)]
fn for_each(count: u32, step: Step, walk: &mut Walk<'_>) {
    // SAFETY: `step` takes the `Walk` that it is given here, which outlives the loop.
    unsafe { bpf_loop(count, step as *mut c_void, ptr::from_mut(walk).cast(), 0) };
}

/// Goes on with the loop.
const CONTINUE: i64 = 0;

unsafe extern "C" fn copy_to_port(at: u64, walk: *mut c_void) -> i64 {
    // SAFETY: `for_each` passes a `Walk`.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    let Some(port) = walk.list.port(at as usize).filter(|_| walk.list.is_of(walk.vni)) else {
        return CONTINUE;
    };
    if port.get() != walk.except && walk.skb.send_copy(port).is_err() {
        drops::count(DropReason::RedirectFailed);
    }
    CONTINUE
}

unsafe extern "C" fn copy_to_vtep(at: u64, walk: *mut c_void) -> i64 {
    // SAFETY: `for_each` passes a `Walk`.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    let at = at + u64::from(walk.first);
    // The final one gets the frame itself, unless another needs it more.
    if at == u64::from(walk.except) && walk.late == 0 {
        return CONTINUE;
    }
    let Some(id) = walk.list.vtep(at as usize).filter(|_| walk.list.is_of(walk.vni)) else {
        return CONTINUE;
    };
    // SAFETY: `to_vteps` sets it, and outlives the loop.
    let inner = unsafe { &*walk.inner };
    let sent = Target::find(walk.skb, id, inner).and_then(|target| match target.copy_hop() {
        Some(hop) => target.send_copy(walk.skb, hop, inner),
        None => wait(&mut walk.late, id),
    });
    if let Err(reason) = sent {
        drops::count(reason);
    }
    CONTINUE
}

/// Sends the frame itself, in a stack frame of its own: leaves in `late` what the redirect helper returned, or 0 where the
/// frame is dropped.
unsafe extern "C" fn send_itself(_: u64, walk: *mut c_void) -> i64 {
    // SAFETY: `for_each` passes a `Walk`.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    // SAFETY: `to_vteps` sets it, and outlives the loop.
    let inner = unsafe { &*walk.inner };
    let id = match VtepId::new(walk.late as u16) {
        Some(late) => Some(late),
        None => walk.list.vtep(walk.except as usize).filter(|_| walk.list.is_of(walk.vni)),
    };
    walk.late = 0;
    let sent = id
        .ok_or(DropReason::UnknownVtep)
        .and_then(|id| Target::find(walk.skb, id, inner))
        .and_then(|target| target.send_with_room(walk.skb, inner, walk.room));
    match sent {
        Ok(Verdict::Redirected(action)) => walk.late = action as u32,
        Ok(Verdict::NotOurs | Verdict::Copied) => {}
        Err(reason) => drops::count(reason),
    }
    CONTINUE
}

/// Lets a remote VTEP have the frame itself. Of several in need one is picked by chance, so that each has its turn.
#[inline(always)]
fn wait(late: &mut u32, id: VtepId) -> Result<(), DropReason> {
    // SAFETY: the helper takes nothing.
    let turn = unsafe { bpf_get_prandom_u32() } & 1 == 0;
    let is_first = *late == 0;
    if is_first || turn {
        *late = id.index();
    }
    if is_first { Ok(()) } else { Err(DropReason::NextHopUnresolved) }
}
