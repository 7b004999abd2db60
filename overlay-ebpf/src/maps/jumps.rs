use aya_ebpf::{btf_maps::ProgramArray, macros::btf_map, programs::XdpContext};
use overlay_common::{
    DropReason,
    explain::Step,
    maps::jump::{Jump, MAX_ENTRIES},
};

use crate::{explain, skb::Skb, verdict::Outcome};

#[btf_map]
static JUMPS: ProgramArray<MAX_ENTRIES> = ProgramArray::new();

#[btf_map]
static XDP_JUMPS: ProgramArray<1> = ProgramArray::new();

/// Hands a frame over for good: returns only where the program is not in its slot.
#[inline(always)]
pub(crate) fn jump(skb: &Skb, jump: Jump) -> Outcome {
    explain::note(|| Step::Jump(jump));
    // SAFETY: nothing has to be dropped here.
    unsafe { JUMPS.tail_call(skb, jump.index()) };
    Err(DropReason::NoProgram)
}

/// Hands a packet of native XDP to the program for transit. Where that is not in its slot, the packet passes as it is.
#[inline(always)]
pub(crate) fn to_transit(context: &XdpContext) {
    // SAFETY: nothing has to be dropped here.
    unsafe { XDP_JUMPS.tail_call(context, 0) };
}
