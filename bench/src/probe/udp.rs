//! Small UDP datagrams.

use anyhow::{Result, ensure};

use super::{
    Place, Value,
    iperf3::{self, Receiver},
    rate::{self, Trial},
};
use crate::{cpus::busy_seconds, figure::Figure};

/// Bytes of a datagram's payload.
const LENGTH: u32 = 64;

/// The share of datagrams that may be lost.
const MAX_LOSS: f64 = 0.005;

/// The receiver's buffer, as large as Linux lets everybody ask for: short pauses of the receiver are not the path's.
const BUFFER: &str = "208K";

/// Finds the rate.
pub(super) fn measure(place: &Place<'_>) -> Result<Vec<Value>> {
    let length = LENGTH.to_string();
    let best = rate::search(MAX_LOSS, place.trials, |offered| {
        // No limit is 0.
        let bits = offered.map_or(0.0, |packets| packets * f64::from(LENGTH) * 8.0);
        let bits = format!("{bits:.0}");
        let before = busy_seconds()?;
        let sum = iperf3::run(place, Receiver::First, &["-u", "-l", &length, "-b", &bits, "-w", BUFFER])?;
        let busy = busy_seconds()? - before;
        ensure!(sum.packets > 0.0, "iperf3 sent nothing");
        Ok(Trial {
            sent: sum.packets / sum.seconds,
            received: (sum.packets - sum.lost_packets) / sum.seconds,
            per_cpu_second: (sum.packets - sum.lost_packets) / busy,
        })
    })?;
    Ok(vec![(Figure::Udp64, best.received / 1e3), (Figure::Udp64Cpu, best.per_cpu_second / 1e3)])
}
