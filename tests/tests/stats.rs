//! `overlay stats`: what was sent is what it says, by segment, remote VTEP and port, and how fast.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
    sync::mpsc::{self, Receiver},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::Signal,
};
use overlay_tests::{
    agent::GENEROUS,
    frame::{ETHER_EXPERIMENT, Ethernet, Mac},
    mesh,
    overlay::{FAILED, Instance, USAGE},
    pace::Pace,
    process::{Background, wait_until},
    refusal,
    topology::{Host, Lab, Workload},
    wire::{Direction, Wire},
};
use serde_json::Value;

const VNI: u32 = 100;
/// Bytes of a frame that is sent to be counted.
const LENGTH: u64 = 114;

/// An instance on both hosts, with a segment and workloads that say nothing by themselves and are known where they are.
fn quiet(lab: &Lab) -> Result<(Vec<Instance<'_>>, Vec<Workload>)> {
    let instances = mesh::up(lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    for workload in &workloads {
        workload.netns.sysctl("ipv6/conf/eth0/disable_ipv6", "1")?;
    }
    for (one, other) in [(0, 1), (1, 0)] {
        // The host would send groups' reports to the workload.
        let port = &workloads[one].port;
        instances[one].host.netns.sysctl(&format!("ipv6/conf/{port}/disable_ipv6"), "1")?;
        let mac = workloads[other].mac.to_string();
        let remote = instances[other].host.vtep.to_string();
        instances[one].host.overlay(&["fdb", "add", "--vni", "100", &mac, "--remote", &remote])?;
    }
    Ok((instances, workloads))
}

/// Sends so many frames, and waits until all have arrived.
fn send(from: &Workload, to: &Workload, count: u64) -> Result<()> {
    let (sender, receiver) = (
        Wire::open(&from.netns, Workload::DEVICE, Direction::In)?,
        Wire::open(&to.netns, Workload::DEVICE, Direction::In)?,
    );
    let frame = Ethernet::new(from.mac, to.mac, ETHER_EXPERIMENT).frame(&[0; 100]);
    ensure!(frame.len() as u64 == LENGTH);
    for _ in 0..count {
        sender.send(&frame)?;
        receiver.expect("the frame", |received| received.bytes == frame)?;
    }
    Ok(())
}

/// The row of a page that has this value in this field.
fn row<'a>(page: &'a Value, rows: &str, field: &str, value: impl Into<Value>) -> Result<&'a Value> {
    let value = value.into();
    let all = page[rows].as_array().with_context(|| format!("no {rows} in {page}"))?;
    all.iter().find(|row| row[field] == value).with_context(|| format!("no {field} {value} in {page}"))
}

fn number(row: &Value, field: &str) -> Result<u64> {
    row[field].as_u64().with_context(|| format!("no {field} in {row}"))
}

fn figure(row: &Value, field: &str) -> Result<f64> {
    row[field].as_f64().with_context(|| format!("no {field} in {row}"))
}

/// What a host counted: into the tunnel, out of it, between ports, and from and to the workload with that port.
#[derive(Debug)]
struct Counted {
    tunnel: [u64; 4],
    segment: [u64; 6],
    vtep: [u64; 4],
    port: [u64; 4],
}

impl Counted {
    fn on(host: &Host, remote: &str, port: &str) -> Result<Self> {
        const BOTH: [&str; 4] = ["tx_packets", "tx_bytes", "rx_packets", "rx_bytes"];
        fn of<const N: usize>(row: &Value, fields: [&str; N]) -> Result<[u64; N]> {
            let numbers: Vec<u64> = fields.iter().map(|field| number(row, field)).collect::<Result<_>>()?;
            numbers.try_into().ok().context("as many as fields")
        }
        let page = |by: &str| host.overlay_json(&["stats", "--by", by]);
        let plain = host.overlay_json(&["stats", "--vni", "100"])?;
        let vnis = page("vni")?;
        let segment = row(&vnis, "vnis", "vni", VNI)?;
        let ports = host.overlay_json(&["stats", "--by", "port", "--vni", "100"])?;
        let [a, b, c, d] = of(segment, BOTH)?;
        let [e, f] = of(segment, ["local_packets", "local_bytes"])?;
        Ok(Self {
            tunnel: of(row(&plain, "segments", "remote", remote)?, BOTH)?,
            segment: [a, b, c, d, e, f],
            vtep: of(row(&page("vtep")?, "vteps", "remote", remote)?, BOTH)?,
            port: of(row(&ports, "ports", "port", port)?, BOTH)?,
        })
    }

    /// How much more it is than before.
    fn since(&self, before: &Self) -> Self {
        fn less<const N: usize>(now: [u64; N], before: [u64; N]) -> [u64; N] {
            std::array::from_fn(|place| now[place] - before[place])
        }
        Self {
            tunnel: less(self.tunnel, before.tunnel),
            segment: less(self.segment, before.segment),
            vtep: less(self.vtep, before.vtep),
            port: less(self.port, before.port),
        }
    }
}

#[test]
fn what_is_sent_is_counted_by_segment_vtep_and_port() -> Result<()> {
    const COUNT: u64 = 57;
    const BYTES: u64 = COUNT * LENGTH;
    let lab = Lab::new(2)?;
    let (instances, workloads) = quiet(&lab)?;
    let (one, two) = (lab.host(1), lab.host(2));
    one.overlay(&["vni", "add", "200"])?;
    one.overlay(&["tunnel", "add", "--vni", "200", "--remote", "10.0.0.2"])?;
    let counted = |host| {
        let (remote, port) = if host == 1 { ("10.0.0.2", 0) } else { ("10.0.0.1", 1) };
        Counted::on(lab.host(host), remote, &workloads[port].port)
    };
    let before = (counted(1)?, counted(2)?);
    send(&workloads[0], &workloads[1], COUNT)?;
    let (sender, receiver) = (counted(1)?.since(&before.0), counted(2)?.since(&before.1));
    ensure!(sender.tunnel == [COUNT, BYTES, 0, 0], "{sender:?}");
    ensure!(sender.segment == [COUNT, BYTES, 0, 0, 0, 0], "{sender:?}");
    ensure!(sender.vtep == sender.tunnel, "{sender:?}");
    ensure!(sender.port == sender.tunnel, "{sender:?}");
    ensure!(receiver.tunnel == [0, 0, COUNT, BYTES] && receiver.vtep == receiver.tunnel, "{receiver:?}");
    ensure!(
        receiver.segment == [0, 0, COUNT, BYTES, 0, 0] && receiver.port == receiver.tunnel,
        "{receiver:?}"
    );
    let vteps = one.overlay_json(&["stats", "--by", "vtep"])?;
    ensure!(number(row(&vteps, "vteps", "remote", "10.0.0.2")?, "segments")? == 2, "{vteps}");
    let other = one.overlay_json(&["stats", "--by", "vtep", "--vni", "200"])?;
    ensure!(number(row(&other, "vteps", "remote", "10.0.0.2")?, "tx_packets")? == 0, "{other}");

    // Between ports of a host nothing goes into tunnels.
    let third = mesh::workload(&instances[0], VNI, 3)?;
    third.netns.sysctl("ipv6/conf/eth0/disable_ipv6", "1")?;
    one.overlay(&["fdb", "add", "--vni", "100", &third.mac.to_string(), "--port", &third.port])?;
    let before = (counted(1)?, counted(2)?);
    send(&workloads[0], &third, COUNT)?;
    let (local, elsewhere) = (counted(1)?.since(&before.0), counted(2)?.since(&before.1));
    ensure!(local.segment == [0, 0, 0, 0, COUNT, BYTES] && local.port == [COUNT, BYTES, 0, 0], "{local:?}");
    ensure!(elsewhere.tunnel == [0; 4], "{elsewhere:?}");
    let table = two.overlay(&["stats", "--by", "port"])?;
    ensure!(table.starts_with("PORT") && table.contains(&workloads[1].port), "{table}");
    Ok(())
}

/// `overlay stats --watch` at work.
struct Watch {
    process: Background,
    lines: Receiver<String>,
}

impl Watch {
    fn start(host: &Host, arguments: &[&str]) -> Result<Self> {
        let mut command = host.overlay_command(&[&["stats", "--watch"], arguments].concat())?;
        let mut process = Background::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        let mut output = BufReader::new(process.child().stdout.take().context("no pipe")?).lines();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            output.by_ref().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Self { process, lines })
    }

    fn line(&self) -> Result<String> {
        self.lines.recv_timeout(GENEROUS).context("no line")
    }

    fn page(&self) -> Result<Value> {
        let line = self.line()?;
        serde_json::from_str(&line).with_context(|| line.clone())
    }

    /// Waits for its end: the exit code, and what it said.
    fn end(mut self) -> Result<(Option<i32>, String)> {
        let child = self.process.child();
        let status = wait_until(Instant::now() + GENEROUS, || Ok(child.try_wait()?))?;
        let mut said = String::new();
        child.stderr.take().context("no pipe")?.read_to_string(&mut said)?;
        Ok((status.code(), said))
    }
}

#[test]
fn rates_are_those_of_what_is_sent() -> Result<()> {
    const PACE: f64 = 400.0;
    const BITS: f64 = PACE * 8.0 * 1014.0;
    let lab = Lab::new(2)?;
    let (_instances, workloads) = quiet(&lab)?;
    let (from, to) = (&workloads[0], &workloads[1]);
    let sender = Pace::start(&from.netns, &to.netns, to.v4.into(), 400, 972)?;
    let watch = Watch::start(lab.host(1), &["0.5", "-o", "json", "--by", "vtep"])?;
    let (mut packets, mut bytes, mut seconds) = (0, 0, 0.0);
    let mut before = None;
    for _ in 0..8 {
        let page = watch.page()?;
        ensure!(page["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{page}");
        let (row, elapsed) = (row(&page, "vteps", "remote", "10.0.0.2")?, figure(&page, "seconds")?);
        ensure!(elapsed >= 0.45, "{page}");
        let now = (number(row, "tx_packets")?, number(row, "tx_bytes")?);
        if let Some((packets_before, bytes_before)) = before.replace(now) {
            let (sent, sent_bytes) = (now.0 - packets_before, now.1 - bytes_before);
            #[expect(clippy::cast_precision_loss, reason = "a few packets")]
            for (field, expected) in [
                ("tx_packets_per_second", sent as f64 / elapsed),
                ("tx_bits_per_second", sent_bytes as f64 * 8.0 / elapsed),
            ] {
                let rate = figure(row, field)?;
                ensure!(
                    (rate - expected).abs() < 0.001 * expected.max(1.0),
                    "{field}, and no {expected}: {page}"
                );
            }
            (packets, bytes, seconds) = (packets + sent, bytes + sent_bytes, seconds + elapsed);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few packets")]
    let (rate, bits) = (packets as f64 / seconds, bytes as f64 * 8.0 / seconds);
    println!("{rate:.1} packets and {bits:.0} bits in a second, of {PACE} and {BITS}");
    ensure!((rate / PACE - 1.0).abs() < 0.15, "{rate} packets in a second, and {PACE} were sent");
    ensure!((bits / BITS - 1.0).abs() < 0.15, "{bits} bits in a second, and {BITS} were sent");
    // People read units.
    let table = Watch::start(lab.host(1), &["--by", "port"])?;
    let port = &from.port;
    let shown = loop {
        let line = table.line()?;
        if line.starts_with(port.as_str()) {
            break line;
        }
    };
    ensure!(shown.contains(" pps ") && shown.contains(" Mbit/s "), "{shown}");
    sender.stop()
}

#[test]
fn it_ends_well_when_asked_to_and_when_nobody_reads() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_instances, _workloads) = quiet(&lab)?;
    let host = lab.host(1);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let watch = Watch::start(host, &["0.1", "--drops"])?;
        watch.line()?;
        watch.process.send(signal)?;
        let (code, said) = watch.end()?;
        ensure!(code == Some(0) && said.is_empty(), "{signal}: {code:?} {said}");
    }
    // However long it would have waited.
    for every in ["0.1", "3600"] {
        let mut command = host.overlay_command(&["stats", "--watch", every])?;
        let (reader, writer) = std::io::pipe()?;
        let mut process = Background::start(command.stdout(writer).stderr(Stdio::piped()))?;
        drop(command);
        drop(reader);
        let child = process.child();
        let status = wait_until(Instant::now() + GENEROUS, || Ok(child.try_wait()?))?;
        let mut said = String::new();
        child.stderr.take().context("no pipe")?.read_to_string(&mut said)?;
        ensure!(status.success() && said.is_empty(), "{every}: {status} {said}");
    }
    Ok(())
}

#[test]
fn an_instance_that_goes_ends_it_with_a_line() -> Result<()> {
    let lab = Lab::new(2)?;
    let instance = Instance::up(lab.host(1), &[])?;
    let watch = Watch::start(lab.host(1), &["0.1", "--drops"])?;
    watch.line()?;
    instance.down()?;
    let (code, said) = watch.end()?;
    ensure!(code == Some(FAILED) && said.lines().count() == 1, "{code:?} {said}");
    ensure!(said.contains("was taken down"), "{said}");
    let refused = lab.host(1).overlay_fails(&["stats", "--watch"])?;
    refusal::check(&refused, FAILED, "not up")
}

#[test]
fn counters_that_begin_anew_are_no_huge_rates() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_instances, workloads) = quiet(&lab)?;
    let host = lab.host(1);
    send(&workloads[0], &workloads[1], 500)?;
    let watch = Watch::start(host, &["0.2", "-o", "json", "--by", "vni"])?;
    let packets = |page: &Value| number(row(page, "vnis", "vni", VNI)?, "tx_packets");
    let first = watch.page()?;
    ensure!(packets(&first)? >= 500, "{first}");
    host.overlay(&["tunnel", "del", "--vni", "100", "--remote", "10.0.0.2"])?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.0.0.2"])?;
    for _ in 0..100 {
        let page = watch.page()?;
        let row = row(&page, "vnis", "vni", VNI)?;
        for field in ["tx_packets_per_second", "rx_packets_per_second"] {
            ensure!(figure(row, field)? < 100.0, "{page}");
        }
        if packets(&page)? < 500 {
            return Ok(());
        }
    }
    bail!("the counters did not begin anew")
}

#[test]
fn watching_drops_waits_for_no_lock() -> Result<()> {
    let lab = Lab::new(2)?;
    let (instances, workloads) = quiet(&lab)?;
    let directory = File::open(instances[0].pins())?;
    let lock = Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
    let watch = Watch::start(lab.host(1), &["0.2", "-o", "json", "--drops"])?;
    watch.page()?;
    let link_only = Mac([0x01, 0x80, 0xc2, 0, 0, 2]);
    let wire = Wire::open(&workloads[0].netns, Workload::DEVICE, Direction::In)?;
    for _ in 0..30 {
        wire.send(&Ethernet::new(workloads[0].mac, link_only, ETHER_EXPERIMENT).frame(&[0; 50]))?;
    }
    let mut dropped = 0.0;
    for _ in 0..100 {
        let page = watch.page()?;
        let row = row(&page, "drops", "reason", "reserved-mac")?;
        dropped += figure(row, "per_second")? * figure(&page, "seconds")?;
        if number(row, "packets")? == 30 {
            ensure!((dropped - 30.0).abs() < 0.01, "{dropped} by rates: {page}");
            drop(lock);
            return Ok(());
        }
    }
    bail!("nothing was dropped")
}

#[test]
fn what_makes_no_sense_is_refused() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    for (arguments, code, about) in [
        (&["--watch", "0"][..], USAGE, "0.1 to 3600"),
        (&["--watch", "soon"], USAGE, "0.1 to 3600"),
        (&["--watch", "NaN"], USAGE, "0.1 to 3600"),
        (&["--watch", "--neigh"], USAGE, "--neigh"),
        (&["--by", "port", "--drops"], USAGE, "--drops"),
        (&["--by", "mac"], USAGE, "mac"),
        (&["--watch", "--vni", "77"], 4, "77"),
    ] {
        let refused = host.overlay_fails(&[&["stats"], arguments].concat())?;
        refusal::check(&refused, code, about)?;
    }
    Ok(())
}
