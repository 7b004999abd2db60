//! What the programs write down of their way with a frame, for `overlay explain`.
//!
//! Only the build with the feature `explain` does, which no hook ever runs. In the attached programs all of this is nothing:
//! they are byte for byte what they would be without it.

#[cfg(feature = "explain")]
use core::cell::UnsafeCell;

#[cfg(feature = "explain")]
use overlay_common::explain::{HEAD, MAX_COPIES, MAX_STEPS, Record, Trace};
use overlay_common::{
    IfIndex, Vni,
    explain::{Hand, Lease, Left, Step},
};

#[cfg(feature = "explain")]
use crate::{helper::Refused, skb::Skb};

/// Writes a step down.
#[cfg(feature = "explain")]
#[inline(always)]
pub(crate) fn note(step: impl FnOnce() -> Step) {
    let trace = TRACE.0.get();
    // SAFETY: one program runs at a time, and only these functions know the trace. Reads once, so that what is checked is
    // what is used.
    unsafe {
        let at = (&raw const (*trace).step_count).read_volatile() as usize;
        if at < MAX_STEPS {
            (*trace).steps[at] = Record::new(step());
        }
        (&raw mut (*trace).step_count).write_volatile(at as u32 + 1);
    }
}

/// What was found; where that is nothing, writes down that the kernel shall have the frame, and why.
#[inline(always)]
pub(crate) fn left<T>(found: Option<T>, why: Left) -> Option<T> {
    if found.is_none() {
        note_left(why);
    }
    found
}

/// Makes functions that write a step down in a stack frame of their own, since those of their callers are short.
macro_rules! in_a_frame_of_its_own {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),+) => $step:expr;)+) => {$(
        $(#[$doc])*
        #[cfg_attr(feature = "explain", inline(never))]
        #[cfg_attr(not(feature = "explain"), inline(always))]
        pub(crate) fn $name($($argument: $type),+) -> u32 {
            note(|| $step);
            0
        }
    )+};
}

in_a_frame_of_its_own! {
    /// Writes down that the kernel shall have the frame.
    note_left(why: Left) => Step::Left(why);
    /// Writes down the way to a remote VTEP.
    note_way(uplink: u32, mtu: u16, is_resolved: bool) => Step::NextHop(IfIndex::new(uplink), mtu, is_resolved);
    /// Writes down where a frame is sent.
    note_redirect(device: IfIndex, hand: Hand) => Step::Redirect(device, hand);
    /// Writes down what was found of segment `vni` among those that are adopted.
    note_lease(vni: Vni, lease: Lease) => Step::Adopted(Some(vni), lease);
    /// Writes down the segment of a bridge member; 0: it is none.
    note_member(device: IfIndex, vni: u32) => Step::BridgePort(device, Vni::new(vni));
}

/// Nothing is written down.
#[cfg(not(feature = "explain"))]
#[inline(always)]
pub(crate) fn note(_: impl FnOnce() -> Step) {}

/// Writes down a copy that would be sent out of `device`.
#[cfg(feature = "explain")]
#[inline(always)]
pub(crate) fn note_copy(skb: &Skb, device: IfIndex) -> Result<(), Refused> {
    use aya_ebpf::{EbpfContext as _, helpers::bpf_skb_load_bytes};

    let trace = TRACE.0.get();
    // SAFETY: as in `note`.
    let at = unsafe { (&raw const (*trace).copy_count).read_volatile() } as usize;
    let len = skb.len();
    if at < MAX_COPIES {
        // SAFETY: the same; the context is valid, and the helper writes no more bytes than there is room for.
        unsafe {
            let head = (&raw mut (*trace).copies[at]).cast();
            if len >= HEAD as u32 {
                crate::helper::done(bpf_skb_load_bytes(skb.as_ptr(), 0, head, HEAD as u32))?;
            } else if len >= 1 {
                crate::helper::done(bpf_skb_load_bytes(skb.as_ptr(), 0, head, len))?;
            }
        }
    }
    // SAFETY: as above.
    unsafe { (&raw mut (*trace).copy_count).write_volatile(at as u32 + 1) };
    note(|| Step::Copy(device, len, at as u32));
    Ok(())
}

#[cfg(feature = "explain")]
static TRACE: Cell = Cell(UnsafeCell::new(Trace::EMPTY));

#[cfg(feature = "explain")]
struct Cell(UnsafeCell<Trace>);

// SAFETY: a trace is written by one program at a time, on the CPU that userspace runs it on.
#[cfg(feature = "explain")]
unsafe impl Sync for Cell {}
