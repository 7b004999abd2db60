//! `SCRATCH`: where programs build what is too large for their stack. It holds nothing from one frame to the next, and is
//! not pinned.

use crate::header::icmp;

/// The map's name: a per-CPU array of one [`Scratch`].
pub const NAME: &str = "SCRATCH";

/// The only index.
pub const INDEX: u32 = 0;

/// The largest frame that is built.
pub const LEN: usize = icmp::IPV6_FRAME_LEN;

/// Bytes that nobody has cleared.
pub type Scratch = [u8; LEN];
