//! TCP in bulk.

use anyhow::Result;

use super::{
    CONGESTION_CONTROL, Place, Value,
    iperf3::{self, Receiver},
};
use crate::{cpus::busy_seconds, figure::Figure};

/// The socket buffers, so the most that is under way. What the kernel would take by itself, several MiB, does not fit the
/// second-level caches of all CPUs: runs then fall into one of two states that are two to three times apart, by chance.
pub(crate) const WINDOW: &str = "512K";

/// Sends over so many flows as fast as can be. `figures` are the rate, and what a second of CPU carries.
pub(super) fn measure(place: &Place<'_>, flows: u32, figures: [Figure; 2]) -> Result<Vec<Value>> {
    let flows = flows.to_string();
    let before = busy_seconds()?;
    let sum = iperf3::run(place, Receiver::Fair, &["-P", &flows, "-C", CONGESTION_CONTROL, "-w", WINDOW])?;
    let busy = busy_seconds()? - before;
    let gigabits = sum.bytes * 8.0 / 1e9;
    Ok(vec![(figures[0], gigabits / sum.seconds), (figures[1], gigabits / busy)])
}
