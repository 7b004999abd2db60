//! A port has no more flooded than its limit allows; what is for known stations is not counted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Mac},
    mesh,
    overlay::USAGE,
    topology::{Lab, Underlay, Workload},
    traffic,
    wire::{Direction, Wire},
};

const VNI: u32 = 100;
const RATE: u64 = 2000;

#[test]
fn a_limit_holds_within_a_tenth_and_known_stations_are_free_of_it() -> Result<()> {
    let lab = Lab::with(2, Underlay { static_neighbours: true, ..Underlay::default() })?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let (one, two) = (&workloads[0], &workloads[1]);
    traffic::ping(&one.netns, two.v4.into(), 3)?;
    lab.host(1).overlay(&["port", "set", &one.port, "--bum-rate", "2k"])?;
    let ports = lab.host(1).overlay_json(&["port", "show"])?;
    ensure!(ports[0]["bum_rate"] == RATE, "{ports}");

    let wire = Wire::open(&one.netns, Workload::DEVICE, Direction::In)?;
    let counter = || -> Result<u64> {
        let stats = lab.host(1).overlay_json(&["stats"])?;
        let rows = stats["segments"].as_array().into_iter().flatten();
        Ok(rows.filter_map(|row| row["remote"].as_str().and(row["tx_packets"].as_u64())).sum())
    };
    let storm = Ethernet::new(one.mac, Mac::BROADCAST, ETHER_EXPERIMENT).frame(&[7; 60]);
    // What may be saved up is used up first.
    let send_for = |time: Duration| -> Result<(u64, Duration)> {
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < time {
            wire.send(&storm)?;
            sent += 1;
        }
        Ok((sent, start.elapsed()))
    };
    send_for(Duration::from_millis(300))?;
    let (before, drops) = (counter()?, lab.host(1).drops()?);
    send_for(Duration::from_millis(200))?;
    let first = counter()?;
    let (sent, took) = send_for(Duration::from_secs(2))?;
    let passed = counter()? - first;
    let allowed = RATE * u64::try_from(took.as_millis())? / 1000;
    println!("{passed} of {sent} in {took:?}, allowed {allowed}");
    ensure!(sent > 3 * allowed, "the storm is none: {sent}");
    ensure!(passed.abs_diff(allowed) < allowed / 10, "{passed} instead of {allowed}");
    ensure!(first > before, "nothing passes");
    let dropped = lab.host(1).drops_since(&drops)?;
    ensure!(dropped.keys().eq([DropReason::BumRate.name()]), "{dropped:?}");

    // In the midst of a storm.
    let drops = lab.host(1).drops()?;
    wire.send(&storm)?;
    lab.host(1).overlay(&["port", "set", &one.port, "--bum-rate", "1"])?;
    mesh::exchange(one, two, 1 << 20)?;
    lab.host(1).overlay(&["port", "set", &one.port, "--bum-rate", "0"])?;
    send_for(Duration::from_millis(50))?;
    let dropped = lab.host(1).drops_since(&drops)?;
    ensure!(dropped.get(DropReason::BumRate.name()).copied().unwrap_or(0) <= 1, "{dropped:?}");
    Ok(())
}

#[test]
fn a_rate_that_is_none_is_refused() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workload = mesh::workload(&instances[0], VNI, 1)?;
    for rate in ["-1", "x", "1.5k", "101M", "1G"] {
        let argument = format!("--bum-rate={rate}");
        let failure = lab.host(1).overlay_fails(&["port", "set", &workload.port, &argument])?;
        ensure!(failure.code == USAGE && failure.stderr.lines().count() == 1, "{failure:?}");
    }
    let ports = lab.host(1).overlay_json(&["port", "show"])?;
    ensure!(ports[0]["bum_rate"].is_null(), "{ports}");
    Ok(())
}
