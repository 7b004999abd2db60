//! Broadcast, unknown unicast and multicast, into tunnels: of what comes from a port, one copy to every remote VTEP of the
//! segment.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_get_prandom_u32, bpf_loop},
    programs::TcContext,
};
use overlay_common::{
    DropReason, Family, Vni, VtepId,
    maps::{fdb::Place, flood::FloodList, mdb::Listener, vtep::Vtep},
};

use crate::{
    audience::{self, Audience},
    clock,
    encap::{Inner, Target},
    frame::Frame,
    inner_sum,
    maps::{flood, flooding, segments, vteps},
    skb::{Room, Skb},
    verdict::{Outcome, Verdict},
    watch,
};

/// Floods a frame of a port into the tunnels of the segment that was handed over with it.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    let vni = Audience::segment(skb).ok_or(DropReason::UnknownVni)?;
    let has_copies = audience::has_copies(skb);
    let list = flood::get(vni).ok_or(DropReason::NoReceivers)?;
    let sum = inner_sum::of(skb, list.vtep_count().wrapping_sub(list.ipv4_count()));
    if measure(skb.raw(), vni.get(), sum.into()) == DROPPED {
        return Ok(Verdict::Copied);
    }
    let inner = flooding::inner().ok_or(DropReason::EncapFailed)?;
    let mut walk = Walk::new(skb, vni, list, clock::now());
    // Other hosts listen to reports too.
    let count = if walk.audience.is_listeners() { up_to_last_listener(&mut walk) } else { list.vtep_count() };
    if count == 0 {
        return walk.audience.outcome(has_copies);
    }
    to_vteps(inner, &mut walk, count)
}

/// What [`measure`] returns for a frame that was dropped and counted.
const DROPPED: u64 = 0;

/// Takes the measures of a frame of segment `vni`, and leaves them in [`flooding::inner`]. In a stack frame of its own, since
/// the caller's is short.
#[inline(never)]
fn measure(skb: *mut __sk_buff, vni: u32, sum: u32) -> u64 {
    let mut skb = Skb::new(TcContext::new(skb));
    let measured = Vni::new(vni)
        .and_then(|vni| Some((vni, segments::get(vni)?)))
        .ok_or(DropReason::UnknownVni)
        .and_then(|(vni, segment)| {
            let frame = Frame::handed_over(&skb)?;
            let inner = flooding::inner().ok_or(DropReason::EncapFailed)?;
            *inner = Inner::new(&mut skb, vni, segment, frame, clock::now())?.with_sum(&skb, sum as u16);
            if inner.fits(segment) { Ok(()) } else { Err(DropReason::TooBig) }
        });
    match measured {
        Ok(()) => 1,
        Err(reason) => {
            watch::dropped(&skb, reason);
            DROPPED
        }
    }
}

/// What a walk along a flood list needs.
struct Walk<'a> {
    skb: &'a mut Skb,
    list: &'static FloodList,
    vni: Vni,
    audience: Audience,
    now: u64,
    /// The place in the list of the remote VTEP that gets the frame itself.
    except: u32,
    /// Where in the list the walk begins.
    first: u32,
    inner: *const Inner,
    /// The id of a remote VTEP whose next hop only the frame itself can have resolved; 0: none.
    late: u32,
    /// The room that the frame has for outer headers.
    room: Room,
    /// How far in the list the last of the audience is.
    found: u32,
}

impl<'a> Walk<'a> {
    #[inline(always)]
    fn new(skb: &'a mut Skb, vni: Vni, list: &'static FloodList, now: u64) -> Self {
        let audience = Audience::handed_over(skb);
        let (inner, room) = (ptr::null(), Room::Plain);
        Self { skb, list, vni, audience, now, except: 0, first: 0, inner, late: 0, room, found: 0 }
    }

    /// The remote VTEP at a place in the list, if it belongs to the audience.
    #[inline(always)]
    fn vtep(&self, at: u64) -> Option<VtepId> {
        let id = self.list.vtep(at as usize).filter(|_| self.list.is_of(self.vni))?;
        if !self.audience.is_listeners() {
            return Some(id);
        }
        // Behind a group of the underlay, anybody may listen.
        let belongs = vteps::get(id).is_some_and(Vtep::is_group)
            || self.audience.has(self.vni, Listener::Vtep(id), self.now);
        belongs.then_some(id)
    }
}

/// How much of the list of remote VTEPs has to be walked for the whole audience to have copies.
#[inline(always)]
fn up_to_last_listener(walk: &mut Walk<'_>) -> u32 {
    walk.found = 0;
    for_each(walk.list.vtep_count(), find_vtep, walk);
    walk.found.min(walk.list.vtep_count())
}

/// One copy to each of the first `count` remote VTEPs that belongs to the audience; one of them gets the frame itself: the
/// final one, or one whose next hop has to be resolved. The frame gets room for IPv4, and, when those over IPv4 have their
/// copies, for IPv6.
#[inline(always)]
fn to_vteps(inner: &Inner, walk: &mut Walk<'_>, count: u32) -> Outcome {
    let ipv4_count = walk.list.ipv4_count().min(count);
    let family = if ipv4_count > 0 { Family::Ipv4 } else { Family::Ipv6 };
    let room = inner.make_room(walk.skb, family)?;
    (walk.except, walk.inner, walk.room) = (count - 1, inner, room);
    if ipv4_count > 0 {
        for_each(ipv4_count, copy_to_vtep, walk);
    }
    if count > ipv4_count {
        if ipv4_count > 0 {
            let payload = inner.frame.payload();
            walk.skb.widen_room(payload, room).map_err(|_| DropReason::EncapFailed)?;
        }
        if walk.late != 0 {
            watch::dropped(walk.skb, DropReason::NextHopUnresolved);
        }
        (walk.first, walk.late) = (ipv4_count, 0);
        for_each(count - ipv4_count, copy_to_vtep, walk);
    }
    for_each(1, send_itself, walk);
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

unsafe extern "C" fn find_vtep(at: u64, walk: *mut c_void) -> i64 {
    // SAFETY: `for_each` passes a `Walk`.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    if walk.vtep(at).is_some() {
        walk.found = at as u32 + 1;
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
    let Some(id) = walk.vtep(at) else {
        return CONTINUE;
    };
    // SAFETY: `to_vteps` sets it, and outlives the loop.
    let inner = unsafe { &*walk.inner };
    let sent = Target::find(walk.skb, id, inner).and_then(|target| match target.copy_hop() {
        Some(hop) => target.send_copy(walk.skb, hop, inner),
        None => wait(&mut walk.late, id),
    });
    match sent {
        Ok(()) => watch::sent_to(walk.skb, walk.vni, Place::Vtep(id)),
        Err(reason) => watch::dropped(walk.skb, reason),
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
        Ok(Verdict::Redirected(action)) => {
            walk.late = action as u32;
            if let Some(id) = id {
                watch::sent_to(walk.skb, walk.vni, Place::Vtep(id));
            }
        }
        Ok(Verdict::NotOurs | Verdict::Copied) => {}
        Err(reason) => watch::dropped(walk.skb, reason),
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
