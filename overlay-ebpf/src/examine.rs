//! Frames that need a closer look before they go on. Programs of their own have it, so that the hot path stays short.

use overlay_common::maps::{jump::Jump, segment::Segment};

use crate::{clamp_mss, frame::Frame, skb::Skb};

/// The program that a frame from a port goes to first; it hands the frame on to [`Jump::ForwardFromPort`].
#[inline(always)]
pub(crate) fn from_port(skb: &Skb, segment: &Segment, frame: &Frame) -> Option<Jump> {
    if segment.clamps_mss() && clamp_mss::is_handshake(skb, frame) {
        return Some(Jump::ClampMssFromPort);
    }
    None
}

/// The program that a frame out of a tunnel, whose outer headers are off, goes to first; it hands the frame on to
/// [`Jump::ForwardFromTunnel`].
#[inline(always)]
pub(crate) fn from_tunnel(skb: &Skb, segment: &Segment, frame: &Frame) -> Option<Jump> {
    if segment.clamps_mss() && clamp_mss::is_handshake(skb, frame) {
        return Some(Jump::ClampMssFromTunnel);
    }
    None
}
