use aya_ebpf::{btf_maps::ProgramArray, macros::btf_map};
use overlay_common::{
    DropReason,
    explain::Step,
    maps::jump::{Jump, MAX_ENTRIES},
};

use crate::{explain, skb::Skb, verdict::Outcome};

#[btf_map]
static JUMPS: ProgramArray<MAX_ENTRIES> = ProgramArray::new();

/// Hands a frame over for good: returns only where the program is not in its slot.
#[inline(always)]
pub(crate) fn jump(skb: &Skb, jump: Jump) -> Outcome {
    explain::note(|| Step::Jump(jump));
    // SAFETY: nothing has to be dropped here.
    unsafe { JUMPS.tail_call(skb, jump.index()) };
    Err(DropReason::NoProgram)
}
