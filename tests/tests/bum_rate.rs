//! A port has no more flooded than its limit allows; what is for known stations is not counted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use overlay_common::{DropReason, Family};
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, ETHER_IPV4, Ethernet, IP_TCP, Ipv4, Mac, Network as _, Tcp},
    mesh,
    overlay::USAGE,
    tap::{Offload, Tap},
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

/// A virtual machine need not say how many segments it hands over as one.
#[test]
fn a_frame_of_many_segments_counts_for_as_many() -> Result<()> {
    const LIMIT: u64 = 100;
    const SIZE: u16 = 100;
    let lab = Lab::with(2, Underlay::known(Family::Ipv4))?;
    let instances = mesh::up(&lab, &["--xdp", "off"])?;
    mesh::connect(&instances, VNI)?;
    let host = lab.host(1);
    let tap = Tap::new(&host.netns, "t1")?;
    host.overlay(&["port", "add", "t1", "--vni", "100", "--bum-rate", &LIMIT.to_string()])?;
    let ip = Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_TCP);
    let frame = |segments: usize| {
        let data = vec![1; segments * usize::from(SIZE)];
        let header = Tcp { checksum: Some(0x1b5f), ..Tcp::new(1000, 80) };
        let segment = header.segment(ip.addresses(), &data);
        let (guest, nobody) = (Mac([2, 0, 0, 0, 3, 3]), Mac([2, 0, 0, 0, 9, 9]));
        Ethernet::new(guest, nobody, ETHER_IPV4).frame(&ip.packet(&segment))
    };
    let offload = Offload { checksum: Some((34, 16)), segments: Some((1, 54, SIZE)) };
    let dropped = |sent: usize| {
        let before = host.drops()?;
        tap.send(&frame(sent), offload)?;
        let drops = host.drops_since(&before)?;
        anyhow::Ok(drops.get(DropReason::BumRate.name()).copied().unwrap_or_default())
    };
    // What is too much at once is paid for later.
    ensure!(dropped(600)? == 0);
    ensure!(dropped(2)? == 1, "600 segments at once did not count");
    Ok(())
}
