//! `overlay capture` shows packets as the programs saw them, and what became of each.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, Map, MapData};
use overlay_common::maps::flow::{CAPTURING, GENERATION, OF_PROGRAMS};
use overlay_tests::{
    bench::{Bench, Fate, Hook, NOBODY, OTHER_PORT, PORT, REMOTE, SECOND_PORT, STATION, VNI, lab, udp_frame},
    declared::TempFile,
    frame::Mac,
    listening::Listening,
    mesh,
    overlay::{MISSING, USAGE},
    process::{self, wait_until},
    topology::Lab,
    traffic,
};

const UPLINK: Hook<'_> = Hook::Uplink("u1");
const SECOND_STATION: Mac = overlay_tests::bench::SECOND_STATION;

/// What tshark says of each packet of a file.
fn tshark(file: &TempFile, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut command = std::process::Command::new("tshark");
    command.args(["-r", file.name(), "-T", "fields", "-E", "separator=;"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let text = process::checked(&mut command)?;
    Ok(text.lines().map(|line| line.split(';').map(str::to_owned).collect()).collect())
}

fn epoch(time: SystemTime) -> Result<f64> {
    Ok(time.duration_since(UNIX_EPOCH)?.as_secs_f64())
}

#[test]
fn tcp_is_captured_both_ways_with_its_verdicts() -> Result<()> {
    const LENGTH: usize = 300_000;
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, 100)?;
    let [one, two] = &workloads[..] else { anyhow::bail!("two workloads") };
    traffic::ping(&one.netns, two.v4.into(), 2)?;
    let (file, begin) = (TempFile::new("")?, epoch(SystemTime::now())?);
    let listening = Listening::start(lab.host(1), &["capture", "--snaplen", "200", "-w", file.name()])?;
    traffic::tcp(&one.netns, &two.netns, two.v4.into(), LENGTH)?;
    traffic::tcp(&two.netns, &one.netns, one.v4.into(), LENGTH)?;
    let (_, last) = listening.end()?;
    ensure!(last.contains(" 0 events lost"), "{last}");
    let end = epoch(SystemTime::now())?;
    let fields = [
        "frame.interface_name",
        "frame.comment",
        "vxlan.vni",
        "ip.src",
        "tcp.len",
        "frame.time_epoch",
        "tcp.port",
    ];
    let (mut sent, mut received) = (0, 0);
    for row in tshark(&file, &fields)? {
        let [device, comment, vni, source, len, time, port] = &row[..] else { anyhow::bail!("{row:?}") };
        let time: f64 = time.parse()?;
        ensure!((begin - 0.1..=end + 0.1).contains(&time), "{time} is not in {begin}..{end}");
        if port.is_empty() {
            continue;
        }
        let len: usize = len.parse().with_context(|| format!("{row:?}"))?;
        if *device == one.port {
            ensure!(vni.is_empty() && *source == one.v4.to_string(), "{row:?}");
            ensure!(comment == "VNI 100, to remote 10.0.0.2", "{row:?}");
            sent += len;
        } else {
            ensure!(device == "u1" && vni == "100", "{row:?}");
            ensure!(*source == format!("10.0.0.2,{}", two.v4), "{row:?}");
            ensure!(*comment == format!("VNI 100, to port {}", one.port), "{row:?}");
            received += len;
        }
    }
    ensure!(sent >= LENGTH && received >= LENGTH, "{sent} bytes sent and {received} received of {LENGTH}");
    Ok(())
}

/// A line without its time.
fn timeless(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(_, rest)| rest)
}

#[test]
fn lines_tell_what_became_of_each_frame() -> Result<()> {
    process::stay_on_one_cpu()?;
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let listening = Listening::start(bench.host(), &["capture"])?;
    let run = |hook, frame: &[u8]| bench.run(hook, frame).map(drop);
    run(Hook::Port(PORT), &udp_frame(STATION, REMOTE, 100))?;
    run(Hook::Port(PORT), &udp_frame(STATION, SECOND_STATION, 100))?;
    run(Hook::Port(PORT), &udp_frame(STATION, NOBODY, 100))?;
    run(Hook::Port(PORT), &udp_frame(Mac([1; 6]), REMOTE, 100))?;
    run(Hook::Port(PORT), &udp_frame(STATION, STATION, 100))?;
    let packet = bench.packet(&udp_frame(REMOTE, STATION, 100), |_| {})?;
    run(UPLINK, &packet)?;
    let ip = "10.1.0.1:1000 > 10.1.0.2:2000 UDP, length 100";
    for (what, length, fate) in [
        (format!("{PORT}: {STATION} > {REMOTE}"), ip, format!("VNI {VNI}, to remote 10.0.0.2")),
        (format!("{PORT}: {STATION} > {SECOND_STATION}"), ip, format!("VNI {VNI}, to port {SECOND_PORT}")),
        (
            format!("{PORT}: {STATION} > {NOBODY}"),
            ip,
            format!("VNI {VNI}, flooded to port {SECOND_PORT}, remote 10.0.0.2"),
        ),
        (format!("{PORT}: 01:01:01:01:01:01 > {REMOTE}"), ip, format!("VNI {VNI}, dropped: bad-source-mac")),
        (format!("{PORT}: {STATION} > {STATION}"), ip, format!("VNI {VNI}, dropped: same-port")),
        (
            format!("u1: 10.0.0.2 | {REMOTE} > {STATION}"),
            "10.1.0.1:1000 > 10.1.0.2:2000 UDP, length 150",
            format!("VNI {VNI}, to port {PORT}"),
        ),
    ] {
        let line = listening.line()?;
        if timeless(&line) != format!("{what}, {length}: {fate}") {
            anyhow::bail!("{line}\nnot {what}, {length}: {fate}\nand then {:#?}", listening.end()?);
        }
    }
    ensure!(listening.end()?.0.is_empty());
    Ok(())
}

#[test]
fn only_what_was_asked_for_is_shown_and_two_see_the_same() -> Result<()> {
    process::stay_on_one_cpu()?;
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    let of_segment = Listening::start(host, &["capture", "--vni", &VNI.to_string(), "--count", "2"])?;
    let to_port = Listening::start(host, &["capture", "--port", SECOND_PORT, "--count", "1"])?;
    let drops = Listening::start(host, &["capture", "--drops", "--count", "1"])?;
    let run = |port, to| bench.run(Hook::Port(port), &udp_frame(STATION, to, 100)).map(drop);
    run(OTHER_PORT, REMOTE)?;
    run(PORT, REMOTE)?;
    run(PORT, SECOND_STATION)?;
    run(PORT, STATION)?;
    // The counts end them, each with what it asked for.
    let (lines, _) = of_segment.wait()?;
    ensure!(lines.len() == 2 && lines[0].contains("to remote 10.0.0.2"), "{lines:?}");
    ensure!(lines[1].ends_with(&format!("to port {SECOND_PORT}")), "{lines:?}");
    let (other, _) = to_port.wait()?;
    // Each has its own idea of the wall clock, by microseconds.
    ensure!(other.len() == 1 && timeless(&other[0]) == timeless(&lines[1]), "{other:?}");
    let (lines, last) = drops.wait()?;
    ensure!(lines.len() == 1 && lines[0].ends_with("dropped: same-port"), "{lines:?}");
    ensure!(last.contains("1 packets captured"), "{last}");
    ensure!(host.overlay_fails(&["capture", "--port", "nil0"])?.code == MISSING);
    ensure!(host.overlay_fails(&["capture", "--snaplen", "13"])?.code == USAGE);
    Ok(())
}

/// Whether programs capture packets.
fn is_capturing(bench: &Bench<'_>) -> Result<bool> {
    let data = MapData::from_pin(bench.instance.pins().join("maps").join(GENERATION))?;
    let map: Array<MapData, u64> = Map::from_map_data(data)?.try_into()?;
    Ok(map.get(&OF_PROGRAMS, 0)? & CAPTURING != 0)
}

#[test]
fn a_capture_that_is_killed_leaves_forwarding_as_it_was() -> Result<()> {
    process::stay_on_one_cpu()?;
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 100);
    let packet = bench.packet(&inner, |_| {})?;
    let goes_on = || bench.check(UPLINK, &packet, &Fate::Redirected(inner.clone()));
    goes_on()?;
    ensure!(!is_capturing(&bench)?);
    // Of another segment: what comes here is never for it, and finds out all the same that it is gone.
    let listening = Listening::start(bench.host(), &["capture", "--vni", "5"])?;
    ensure!(is_capturing(&bench)?);
    goes_on()?;
    listening.kill()?;
    wait_until(Instant::now() + Duration::from_secs(10), || {
        goes_on()?;
        Ok((!is_capturing(&bench)?).then_some(()))
    })?;
    goes_on()
}

#[test]
fn a_file_on_a_closed_pipe_ends_the_capture() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let hung = Listening::start(bench.host(), &["capture", "-w", "-"])?.hang_up();
    for _ in 0..3 {
        // The first bytes with a line's end have its reader go.
        bench.run(Hook::Port(PORT), &udp_frame(STATION, REMOTE, 100))?;
    }
    ensure!(hung.wait()?.contains("packets captured"));
    Ok(())
}
