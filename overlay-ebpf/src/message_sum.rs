//! The Internet checksum of a short message in a packet, read piece by piece.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::bpf_loop;
use overlay_common::header::checksum;

use crate::{packet::Packet as _, skb::Skb};

/// Bytes of a piece.
const PIECE: u32 = 32;

/// Pieces that are read: those of the largest message that an IP packet holds.
const MAX_PIECES: u32 = (1 << 16) / PIECE;

struct Reading<'a> {
    skb: &'a Skb,
    at: u32,
    left: u32,
    sum: u32,
    failed: bool,
}

/// Whether the checksum of the `len` bytes at `at` is right, `sum` being that of what is in front of them.
#[inline(always)]
pub(crate) fn is_right(skb: &Skb, at: usize, len: usize, sum: u32) -> bool {
    let mut state = Reading { skb, at: at as u32, left: len as u32, sum, failed: false };
    let pieces = (len as u32).div_ceil(PIECE).min(MAX_PIECES);
    // SAFETY: the callback takes the `Reading` that it is given here, which outlives the loop.
    unsafe { bpf_loop(pieces, piece as *mut c_void, ptr::from_mut(&mut state).cast(), 0) };
    !state.failed && state.left == 0 && checksum::fold(state.sum) == 0xffff
}

unsafe extern "C" fn piece(_: u64, state: *mut c_void) -> i64 {
    // SAFETY: `is_right` passes a `Reading`.
    let state = unsafe { &mut *state.cast::<Reading<'_>>() };
    let mut bytes = [0; PIECE as usize];
    let len = state.left.min(PIECE);
    if len == 0 || state.skb.load(state.at as usize, &mut bytes, len as usize).is_err() {
        state.failed = true;
        return 1;
    }
    state.sum += checksum::sum(&bytes);
    (state.at, state.left) = (state.at + len, state.left - len);
    0
}
