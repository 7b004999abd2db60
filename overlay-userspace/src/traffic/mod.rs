//! What was counted, at one moment after the other, and how fast it grows: for `overlay stats`, `overlay top` and metrics.
//!
//! The maps are read whole, many entries in a system call, and without the instance's lock: counts of one moment may be some
//! microseconds apart.

mod follow;
mod rate;
pub(crate) mod reach;
mod sample;
mod span;

pub use self::{
    follow::{Follower, LONGEST, SHORTEST},
    rate::{Rates, Traffic, in_units},
    sample::{Peer, Port, Sample, Segment, Tunnels, Vtep, tunnels},
    span::Span,
};
