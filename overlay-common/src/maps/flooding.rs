//! `FLOODING`: where programs that flood write what does not fit on their stack. It holds nothing from one frame to the next,
//! and is not pinned.

use crate::header::{eth, outer};

/// The map's name: a per-CPU array of one value, which only programs use.
pub const NAME: &str = "FLOODING";

/// All that is written in front of an inner payload, of whichever family.
pub type Headers = [u8; outer::IPV6_LEN + eth::LEN];
