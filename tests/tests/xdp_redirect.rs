//! Ports that XDP feeds: what goes straight to them, what does not, and what is said about it.

use anyhow::{Context as _, Result, ensure};
use overlay_common::Family;
use overlay_tests::{
    bench::{self, Bench, Hook, PORT, REMOTE, STATION, VNI, udp_frame},
    frame::Mac,
    mesh,
    netns::NetNs,
    overlay::{FAILED, USAGE},
    process,
    tap::Tap,
    testrun,
    topology::{Host, Lab, Underlay, Workload, cable},
    wire::{Direction, Wire},
};

/// Turns merging of received packets on or off at a device, by which a veth's other end takes frames from XDP, or not.
fn merge(netns: &NetNs, device: &str, on: bool) -> Result<()> {
    netns.run(&["ethtool", "-K", device, "gro", if on { "on" } else { "off" }]).map(drop)
}

/// What is said of a port: whether XDP shall feed it, and whether it does.
fn said(host: &Host, port: &str) -> Result<[bool; 2]> {
    let ports = host.overlay_json(&["port", "show"])?;
    let row = ports.as_array().and_then(|rows| rows.iter().find(|row| row["port"] == port));
    let row = row.with_context(|| format!("no {port} in {ports}"))?;
    let word = |key: &str| row[key].as_bool().with_context(|| format!("no {key} in {row}"));
    Ok([word("xdp_redirect")?, word("fed_by_xdp")?])
}

#[test]
fn a_device_that_takes_nothing_from_xdp_is_refused_and_nothing_is_changed() -> Result<()> {
    let lab = bench::lab()?;
    let bench = Bench::new(&lab, &["--xdp", "native"])?;
    let host = bench.host();
    let before = host.configuration()?;
    let refused = host.overlay_fails(&["port", "set", PORT, "--xdp-redirect", "on", "--learn-limit", "7"])?;
    ensure!(refused.code == FAILED && refused.stderr.lines().count() == 1, "{refused:?}");
    ensure!(refused.stderr.contains("p1 takes no frames from XDP"), "{refused:?}");
    ensure!(host.configuration()? == before, "something was changed");
    host.overlay(&["port", "del", PORT])?;
    let vni = VNI.to_string();
    let refused = host.overlay_fails(&["port", "add", PORT, "--vni", &vni, "--xdp-redirect", "on"])?;
    ensure!(refused.code == FAILED && refused.stderr.contains("p1 takes no frames from XDP"), "{refused:?}");
    let made = ["port", "add", "own", "--create", "--vni", &vni, "--xdp-redirect", "on"];
    let refused = host.overlay_fails(&made)?;
    ensure!(refused.stderr.contains("own-p takes no frames from XDP"), "{refused:?}");
    ensure!(!host.netns.devices()?.iter().any(|name| name.starts_with("own")), "a device was left");
    merge(&bench.stations, PORT, true)?;
    host.overlay(&["port", "add", PORT, "--vni", &vni, "--xdp-redirect", "on"])?;
    ensure!(said(host, PORT)? == [true, true]);
    let wrong = host.overlay_fails(&["port", "set", PORT, "--xdp-redirect", "perhaps"])?;
    ensure!(wrong.code == USAGE, "{wrong:?}");
    Ok(())
}

#[test]
fn who_is_fed_follows_what_the_device_takes() -> Result<()> {
    let lab = bench::lab()?;
    let bench = Bench::new(&lab, &["--xdp", "native"])?;
    let host = bench.host();
    ensure!(said(host, PORT)? == [false, false]);
    merge(&bench.stations, PORT, true)?;
    host.overlay(&["port", "set", PORT, "--xdp-redirect", "on"])?;
    let status = host.overlay_json(&["status"])?;
    ensure!(status["fed_by_xdp"] == serde_json::json!([PORT]), "{status}");
    merge(&bench.stations, PORT, false)?;
    let status = host.overlay_json(&["status"])?;
    ensure!(status["fed_by_xdp"] == serde_json::json!([]), "{status}");
    ensure!(status["warnings"].to_string().contains("port p1: p1 takes no frames from XDP"), "{status}");
    ensure!(said(host, PORT)? == [true, false]);
    let inner = udp_frame(REMOTE, STATION, 98);
    let packet = bench.packet(&inner, |_| {})?;
    bench.check(Hook::Xdp("u1"), &packet, &bench::Fate::Stripped(inner.clone()))?;
    merge(&bench.stations, PORT, true)?;
    ensure!(said(host, PORT)? == [true, true]);
    bench.check(Hook::Xdp("u1"), &packet, &bench::Fate::Fed(inner.clone()))?;
    host.overlay(&["port", "set", PORT, "--xdp-redirect", "off"])?;
    bench.check(Hook::Xdp("u1"), &packet, &bench::Fate::Stripped(inner))?;
    ensure!(said(host, PORT)? == [false, false]);
    Ok(())
}

#[test]
fn a_port_that_comes_back_is_fed_again() -> Result<()> {
    let lab = bench::lab()?;
    let bench = Bench::new(&lab, &["--xdp", "native"])?;
    let host = bench.host();
    merge(&bench.stations, PORT, true)?;
    host.overlay(&["port", "set", PORT, "--xdp-redirect", "on"])?;
    host.netns.ip(&format!("link del {PORT}"))?;
    ensure!(said(host, PORT)? == [true, false]);
    cable(&host.netns, (PORT, None), &bench.stations, (PORT, None))?;
    for netns in [&host.netns, &bench.stations] {
        netns.ip(&format!("link set {PORT} up"))?;
    }
    let now = said(host, PORT)?;
    ensure!(now == [true, false], "{now:?}: its other end merges nothing yet");
    merge(&bench.stations, PORT, true)?;
    ensure!(said(host, PORT)? == [true, true]);
    Ok(())
}

#[test]
fn without_native_xdp_tc_serves_the_port_and_says_so() -> Result<()> {
    let lab = bench::lab()?;
    for xdp in ["off", "generic"] {
        let bench = Bench::new(&lab, &["--xdp", xdp])?;
        merge(&bench.stations, PORT, true)?;
        let mut command = bench.host().overlay_command(&["port", "set", PORT, "--xdp-redirect", "on"])?;
        let output = process::output(&mut command)?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success() && words.contains("no uplink is served by native XDP"), "{words}");
        ensure!(said(bench.host(), PORT)? == [true, false]);
        bench.instance.down()?;
    }
    Ok(())
}

#[test]
fn live_frames_arrive_and_are_all_counted() -> Result<()> {
    const TIMES: u32 = 1000;
    process::stay_on_one_cpu()?;
    let lab = bench::lab()?;
    let bench = Bench::new(&lab, &["--xdp", "native"])?;
    let host = bench.host();
    merge(&bench.stations, PORT, true)?;
    host.overlay(&["port", "set", PORT, "--xdp-redirect", "on"])?;
    let station = bench.station(PORT)?;
    let inner = udp_frame(REMOTE, STATION, 98);
    let packet = bench.packet(&inner, |_| {})?;
    let program = testrun::pinned_xdp(&bench.instance, "from_uplink_xdp")?;
    testrun::xdp_live(&program, &host.netns, "u1", &packet, (TIMES, 64))?;
    let seen = station.collect(|frame| frame.bytes == inner)?;
    ensure!(seen.len() == TIMES as usize, "{} of {TIMES} arrived", seen.len());
    let stats = host.overlay_json(&["stats", "--vni", &VNI.to_string()])?;
    let text = stats.to_string();
    let bytes = u64::from(TIMES) * inner.len() as u64;
    ensure!(text.contains(&format!("\"rx_packets\":{TIMES}")), "{stats}");
    ensure!(text.contains(&format!("\"rx_bytes\":{bytes}")), "{stats}");
    Ok(())
}

/// How many frames the native XDP program of a host's uplink has redirected, as its driver counts.
fn redirected(host: &Host) -> Result<u64> {
    let text = host.netns.run(&["ethtool", "-S", &host.uplink])?;
    let of = |line: &str| {
        line.trim().strip_suffix(' ').unwrap_or(line.trim()).split_once(": ")?.1.parse::<u64>().ok()
    };
    Ok(text.lines().filter(|line| line.contains("_xdp_redirect:")).filter_map(of).sum())
}

/// Workloads whose ports XDP feeds talk across an underlay, by a share of frames that `is_enough`.
fn talk(underlay: Underlay, is_enough: impl Fn(u64) -> bool) -> Result<()> {
    const LENGTH: usize = 3_000_000;
    let lab = Lab::with(2, underlay)?;
    let instances = mesh::up(&lab, &["--xdp", "native"])?;
    let workloads = mesh::segment(&instances, 100)?;
    for (host, workload) in lab.hosts.iter().zip(&workloads) {
        merge(&workload.netns, Workload::DEVICE, true)?;
        host.overlay(&["port", "set", &workload.port, "--xdp-redirect", "on"])?;
        ensure!(said(host, &workload.port)? == [true, true]);
    }
    mesh::exchange(&workloads[0], &workloads[1], LENGTH)?;
    for host in &lab.hosts {
        let count = redirected(host)?;
        ensure!(is_enough(count), "{count} frames went from XDP to the port");
        let drops = host.drops()?;
        ensure!(drops["redirect-failed"] == 0 && drops["decap-failed"] == 0, "{drops:?}");
    }
    Ok(())
}

#[test]
fn tcp_and_udp_cross_an_underlay_with_checksums() -> Result<()> {
    talk(Underlay::wire(Family::Ipv4), |count| count > 1000)
}

#[test]
fn tcp_and_udp_cross_an_underlay_of_ipv6_with_checksums() -> Result<()> {
    talk(Underlay::wire(Family::Ipv6), |count| count > 1000)
}

/// Checksums are left open on the way: TC has those.
#[test]
fn tcp_and_udp_cross_an_underlay_that_leaves_checksums_open() -> Result<()> {
    talk(Underlay::over(Family::Ipv4), |_| true)
}

#[test]
fn a_tap_is_fed_what_a_virtual_machine_reads() -> Result<()> {
    let lab = Lab::with(2, Underlay { offloads: false, ..Underlay::known(Family::Ipv4) })?;
    let bench = Bench::new(&lab, &["--xdp", "native"])?;
    let (host, vni) = (bench.host(), VNI.to_string());
    let tap = Tap::new(&host.netns, "tap1")?;
    let station = Mac([2, 0, 0, 0, 1, 7]);
    host.overlay(&["port", "add", "tap1", "--vni", &vni, "--xdp-redirect", "on"])?;
    bench.add_station(VNI, station, ["--port", "tap1"])?;
    ensure!(said(host, "tap1")? == [true, true]);
    let wire = Wire::open(&lab.host(2).netns, &lab.host(2).uplink, Direction::In)?;
    let before = host.netns.xdp_redirects(&host.uplink)?;
    for len in [60, 98, 1464] {
        let inner = udp_frame(REMOTE, station, len);
        wire.send(&bench.packet(&inner, |_| {})?)?;
        let (got, is_open) = tap.expect(|frame| frame[..12] == inner[..12])?;
        bench::same(&got, &inner)?;
        ensure!(!is_open, "{len} bytes: a checksum is to be filled in");
    }
    let fed = host.netns.xdp_redirects(&host.uplink)? - before;
    ensure!(fed == 3, "XDP sent {fed} of 3 frames");
    Ok(())
}
