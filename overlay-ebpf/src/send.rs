//! Sending a frame of a workload to one remote VTEP.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use overlay_common::{DropReason, VtepId, explain::Step, maps::vtep::Vtep};

use crate::{
    encap::{Inner, Target},
    explain,
    maps::vteps,
    skb::Skb,
    verdict::{Outcome, Verdict},
    watch,
};

/// Whether a frame for the VTEP `id` has to be summed up first.
#[inline(always)]
pub(crate) fn wants_sum(id: VtepId) -> bool {
    vteps::get(id).is_some_and(Vtep::udp_checksum)
}

/// Encapsulates a frame and sends it to the VTEP `id`. A frame that is too big for it is as it was.
#[inline(always)]
pub(crate) fn to_vtep(skb: &mut Skb, id: VtepId, inner: &Inner) -> Outcome {
    outcome(skb, send_apart(skb.raw(), id.index(), inner))
}

/// Sends a tunnel packet on to the VTEP `id`, with other outer headers in the place of those that it has. One that is too big for
/// it is as it was.
#[inline(always)]
pub(crate) fn on_to_vtep(skb: &mut Skb, id: VtepId, inner: &Inner, has_open_sum: bool) -> Outcome {
    outcome(skb, pass_on_apart(skb.raw(), id.index(), inner, u32::from(has_open_sum)))
}

#[inline(always)]
fn outcome(skb: &Skb, code: i64) -> Outcome {
    match code {
        DROPPED => Ok(Verdict::Copied),
        TOO_BIG => Err(DropReason::TooBig),
        code if code < TOO_BIG => {
            // Here, where there is stack for it.
            watch::dropped_for(skb, (TOO_BIG - code) as u32 - 1);
            Ok(Verdict::Copied)
        }
        action => Ok(Verdict::Redirected(action as i32)),
    }
}

/// What [`send_apart`] returns for a frame that it was done with.
const DROPPED: i64 = 0;
/// What it returns for one that is too big. Below is what it returns for one to be dropped, by the number of its reason.
const TOO_BIG: i64 = -1;

/// In a stack frame of its own, since the caller's is short; else what the redirect helper returned.
#[inline(never)]
fn send_apart(skb: *mut __sk_buff, id: u32, inner: &Inner) -> i64 {
    let mut skb = Skb::new(TcContext::new(skb));
    let sent = VtepId::new(id as u16)
        .ok_or(DropReason::UnknownVtep)
        .and_then(|id| Target::find(&skb, id, inner))
        .and_then(|target| target.send(&mut skb, inner));
    code(sent)
}

/// The same for [`on_to_vtep`].
#[inline(never)]
fn pass_on_apart(skb: *mut __sk_buff, id: u32, inner: &Inner, has_open_sum: u32) -> i64 {
    let mut skb = Skb::new(TcContext::new(skb));
    let sent = VtepId::new(id as u16)
        .ok_or(DropReason::UnknownVtep)
        .and_then(|id| Target::find(&skb, id, inner))
        .and_then(|target| target.pass_on(&mut skb, inner, has_open_sum != 0));
    code(sent)
}

#[inline(always)]
fn code(sent: Outcome) -> i64 {
    match sent {
        Ok(Verdict::Redirected(action)) => i64::from(action),
        Ok(Verdict::NotOurs | Verdict::Copied) => DROPPED,
        Err(DropReason::TooBig) => TOO_BIG,
        Err(reason) => {
            explain::note(|| Step::Drop(reason));
            TOO_BIG - 1 - i64::from(reason.index())
        }
    }
}
