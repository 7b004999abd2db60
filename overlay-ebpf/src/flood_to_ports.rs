//! Broadcast, unknown unicast and multicast, to ports: one copy to every port of the segment but the one that it comes from,
//! with the VLAN tags that the workload behind it shall see.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::bpf_loop;
use overlay_common::{
    DropReason, Vni,
    header::vlan::Tags,
    maps::{flood::FloodList, jump::Jump, mdb::Listener},
};

use crate::{
    audience::{self, Audience},
    clock,
    deliver::{self, Copying},
    frame::Frame,
    maps::{bum_rates, counters, flood, jumps},
    skb::Skb,
    verdict::Outcome,
    watch,
};

/// Floods a frame of a port to the other ports of the segment that was handed over with it, and hands it on to be flooded
/// into tunnels.
#[inline(always)]
pub(crate) fn from_port(skb: &mut Skb) -> Outcome {
    let from = skb.device().ok_or(DropReason::UnknownPort)?;
    let vni = Audience::segment(skb).ok_or(DropReason::UnknownVni)?;
    let list = flood::get(vni).ok_or(DropReason::NoReceivers)?;
    let now = clock::now();
    let frame = Frame::handed_over(skb)?;
    let size = frame.size(skb);
    if !audience::is_paid(skb) && !bum_rates::allows(from, size.packets, now) {
        return Err(DropReason::BumRate);
    }
    tell_miss(skb, vni, &frame);
    let mut walk = Walk::new(skb, vni, list, now);
    walk.except = from.get();
    let has_copies = list.port_count() > 1 && walk.go()?;
    if has_copies {
        counters::sent(vni, None, size);
    }
    if list.vtep_count() == 0 {
        return walk.audience.outcome(has_copies);
    }
    if has_copies {
        audience::note_copies(skb);
    }
    jumps::jump(skb, Jump::FloodToTunnels)
}

/// Floods a frame out of a tunnel, which is a plain frame by now: to ports, never into a tunnel.
#[inline(always)]
pub(crate) fn from_tunnel(skb: &mut Skb) -> Outcome {
    let vni = Audience::segment(skb).ok_or(DropReason::UnknownVni)?;
    let list = flood::get(vni).ok_or(DropReason::NoReceivers)?;
    tell_miss(skb, vni, &Frame::handed_over(skb)?);
    let mut walk = Walk::new(skb, vni, list, clock::now());
    let has_copies = walk.go()?;
    walk.audience.outcome(has_copies)
}

/// Tells of a frame that is flooded because nobody knows where its destination is.
#[inline(always)]
fn tell_miss(skb: &Skb, vni: Vni, frame: &Frame) {
    if !frame.destination().is_group() {
        watch::missed(skb, vni, frame.destination());
    }
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
    audience: Audience,
    now: u64,
    /// The index of the device that gets no copy.
    except: u32,
    /// How many ports of the audience there are.
    found: u32,
    /// A copy failed half way, and the frame is no longer what it was.
    is_broken: bool,
    tags: Tags,
}

impl<'a> Walk<'a> {
    #[inline(always)]
    fn new(skb: &'a mut Skb, vni: Vni, list: &'static FloodList, now: u64) -> Self {
        let (audience, tags) = (Audience::handed_over(skb), skb.tags_handed_over());
        Self { skb, list, vni, audience, now, except: 0, found: 0, is_broken: false, tags }
    }

    /// One copy to each port of the audience but one; whether there is any such port.
    #[inline(always)]
    fn go(&mut self) -> Result<bool, DropReason> {
        // SAFETY: `copy_to_port` takes the `Walk` that it is given here, which outlives the loop.
        unsafe {
            bpf_loop(self.list.port_count(), copy_to_port as *mut c_void, ptr::from_mut(self).cast(), 0)
        };
        if self.is_broken { Err(DropReason::VlanFailed) } else { Ok(self.found > 0) }
    }
}

/// Goes on with the loop.
const CONTINUE: i64 = 0;
/// Ends the loop.
const STOP: i64 = 1;

unsafe extern "C" fn copy_to_port(at: u64, walk: *mut c_void) -> i64 {
    // SAFETY: `Walk::go` passes a `Walk`.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    let Some(port) = walk.list.port(at as usize).filter(|_| walk.list.is_of(walk.vni)) else {
        return CONTINUE;
    };
    if port.get() == walk.except || !walk.audience.has(walk.vni, Listener::Port(port), walk.now) {
        return CONTINUE;
    }
    walk.found += 1;
    match deliver::copy_to_port(walk.skb, port, walk.vni, walk.tags) {
        Ok(()) => {
            watch::sent_to_port(walk.skb, walk.vni, port);
            CONTINUE
        }
        Err(Copying::Failed(reason)) => {
            watch::dropped(walk.skb, reason);
            CONTINUE
        }
        Err(Copying::Broken) => {
            walk.is_broken = true;
            STOP
        }
    }
}
