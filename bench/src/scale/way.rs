//! The whole way of a packet: from a workload's socket through its veth, `from_port` and the uplink's veth to the other host.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::bench::{Bench, PORT, VNI};
use serde_json::Value;

use super::{Packet, draw::Draw, stations};
use crate::cost::timing;

/// Times it in turns, with the destinations of each turn drawn from `count`, and with one and the same.
pub(super) fn measure(
    bench: &Bench<'_>,
    count: u32,
    times: usize,
    frame: impl Fn(u32) -> Vec<u8>,
) -> Result<[Packet; 2]> {
    let wire = bench.station(PORT)?;
    let mut draw = Draw::new();
    let mut packet = |random: bool| -> Result<Packet> {
        let before = sent(bench)?;
        let mut all = 0;
        let run = |turn: usize| -> Result<Vec<Duration>> {
            let frames: Vec<_> =
                (0..turn).map(|_| frame(if random { draw.below(count) } else { 0 })).collect();
            let begin = Instant::now();
            for frame in &frames {
                wire.send(frame)?;
            }
            all += turn as u64;
            Ok(vec![begin.elapsed() / u32::try_from(turn)?; turn])
        };
        // What sending costs belongs to it.
        let nanoseconds = timing::compare(times, run, |turn| Ok(vec![Duration::ZERO; turn]))?;
        let went = sent(bench)? - before;
        ensure!(went >= all, "{went} of {all} packets went into the tunnel");
        Ok(Packet { of: stations::OF, count, program: "the whole way", random, nanoseconds })
    };
    Ok([packet(true)?, packet(false)?])
}

/// Packets that went into tunnels.
fn sent(bench: &Bench<'_>) -> Result<u64> {
    let stats = bench.host().overlay_json(&["stats", "--vni", &VNI.to_string()])?;
    let rows = stats["segments"].as_array().with_context(|| format!("no segments: {stats}"))?;
    let of = |row: &Value| row["tx_packets"].as_u64().filter(|_| !row["remote"].is_null());
    Ok(rows.iter().filter_map(of).sum())
}
