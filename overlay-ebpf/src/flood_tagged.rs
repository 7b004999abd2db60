//! Copies to ports that need VLAN tags on them: of frames that keep tags, and in segments that are VLANs of trunk ports.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::bpf_loop;
use overlay_common::{
    DropReason, Vni,
    header::vlan::Tags,
    maps::{flood::FloodList, jump::Jump},
};

use crate::{
    deliver::{self, Copying},
    frame::Frame,
    maps::{counters, drops, flood, jumps, ports},
    skb::Skb,
    verdict::{Outcome, Verdict},
};

/// Beside the VNI that a frame is handed over with: every port has its copy.
const PORTS_ARE_SERVED: u32 = 1 << 31;

/// The segment that a frame to be flooded was handed over with, and whether its ports have their copies.
#[inline(always)]
pub(crate) fn handed_over(skb: &Skb) -> Result<(Vni, bool), DropReason> {
    let word = skb.handed_over();
    let vni = Vni::new(word & !PORTS_ARE_SERVED).ok_or(DropReason::UnknownVni)?;
    Ok((vni, word & PORTS_ARE_SERVED != 0))
}

/// Sends the copies for ports, and hands a frame from a port on to [`Jump::FloodFromPort`], for those behind tunnels.
#[inline(always)]
pub(crate) fn handle(skb: &mut Skb) -> Outcome {
    let from = skb.device().ok_or(DropReason::UnknownPort)?;
    let (vni, _) = handed_over(skb)?;
    let list = flood::get(vni).ok_or(DropReason::NoReceivers)?;
    let frame = Frame::handed_over(skb)?;
    let tags = skb.tags_handed_over();
    let is_from_port = ports::get(from).is_some();
    if is_from_port && list.port_count() > 1 {
        counters::sent(vni, None, frame.size(skb));
    }
    let mut walk = Walk { skb, list, vni, except: from.get(), is_broken: false, tags };
    // SAFETY: `copy_to_port` takes the `Walk` that it is given here, which outlives the loop.
    unsafe { bpf_loop(list.port_count(), copy_to_port as *mut c_void, ptr::from_mut(&mut walk).cast(), 0) };
    if walk.is_broken {
        return Err(DropReason::VlanFailed);
    }
    if !is_from_port {
        return Ok(Verdict::Copied);
    }
    skb.hand_over(vni.get() | PORTS_ARE_SERVED);
    jumps::jump(skb, Jump::FloodFromPort)
}

/// What a walk along a flood list needs.
struct Walk<'a> {
    skb: &'a mut Skb,
    list: &'static FloodList,
    vni: Vni,
    /// The index of the device that gets no copy.
    except: u32,
    /// A copy failed half way, and the frame is no longer what it was.
    is_broken: bool,
    tags: Tags,
}

/// Goes on with the loop.
const CONTINUE: i64 = 0;
/// Ends the loop.
const STOP: i64 = 1;

unsafe extern "C" fn copy_to_port(at: u64, walk: *mut c_void) -> i64 {
    // SAFETY: `handle` passes a `Walk`.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    let Some(port) = walk.list.port(at as usize).filter(|_| walk.list.is_of(walk.vni)) else {
        return CONTINUE;
    };
    if port.get() == walk.except {
        return CONTINUE;
    }
    match deliver::copy_to_port(walk.skb, port, walk.vni, walk.tags) {
        Ok(()) => CONTINUE,
        Err(Copying::Failed(reason)) => {
            drops::count(reason);
            CONTINUE
        }
        Err(Copying::Broken) => {
            walk.is_broken = true;
            STOP
        }
    }
}
