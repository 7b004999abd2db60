//! What `overlay run --metrics` serves: right values, names that are documented, Prometheus's own checks, and who takes too long.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use overlay_common::{DropReason, Notice};
use overlay_tests::{
    agent::{self, Agent, GENEROUS},
    declared::{TempDirectory, TempFile},
    frame::{ETHER_EXPERIMENT, Ethernet, Mac},
    mesh,
    metrics::{self, ADDRESS, ask, connect, fetch, value, wait_for},
    overlay::{FAILED, Instance, has_pins},
    process::{self, Background, wait_until},
    refusal,
    topology::{Host, Lab, Workload},
    traffic,
    wire::{Direction, Wire},
};
use serde_json::Value;

const VNI: u32 = 100;

/// Two hosts, an agent with metrics on the first, and a workload behind each.
fn served(lab: &Lab) -> Result<(Background, Vec<Instance<'_>>, Vec<Workload>)> {
    let (agent, one) = agent::run(lab.host(1), &["--metrics"])?;
    let instances = vec![one, Instance::up(lab.host(2), &[])?];
    let workloads = mesh::segment(&instances, VNI)?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 5)?;
    Ok((agent, instances, workloads))
}

/// Packets and bytes to and from the other host, as `stats` has them.
fn counted(host: &Host) -> Result<[f64; 4]> {
    let stats = host.overlay_json(&["stats", "--vni", "100"])?;
    let rows = stats["segments"].as_array().context("no segments")?;
    let row = rows.iter().find(|row| row["remote"] == "10.0.0.2").context("no tunnel")?;
    let field = |name: &str| row[name].as_f64().with_context(|| row.to_string());
    Ok([field("tx_packets")?, field("rx_packets")?, field("tx_bytes")?, field("rx_bytes")?])
}

#[test]
fn packets_bytes_and_drops_are_those_of_stats() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_agent, _instances, workloads) = served(&lab)?;
    let host = lab.host(1);
    let dropped = format!("overlay_drops_total{{reason=\"{}\"}}", DropReason::ReservedMac.name());
    ensure!(value(&fetch(&host.netns)?, &dropped) == Some(0.0));
    let link_only = Mac([0x01, 0x80, 0xc2, 0, 0, 2]);
    let wire = Wire::open(&workloads[0].netns, Workload::DEVICE, Direction::In)?;
    for _ in 0..3 {
        wire.send(&Ethernet::new(workloads[0].mac, link_only, ETHER_EXPERIMENT).frame(&[0; 50]))?;
    }
    wait_for(&host.netns, &dropped, |count| count >= 3.0)?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 20)?;
    // Workloads talk a little by themselves.
    let before = counted(host)?;
    let text = fetch(&host.netns)?;
    let after = counted(host)?;
    let series = [("packets", "tx"), ("packets", "rx"), ("bytes", "tx"), ("bytes", "rx")];
    for (number, (what, direction)) in series.into_iter().enumerate() {
        let series =
            format!("overlay_{what}_total{{direction=\"{direction}\",vni=\"100\",vtep=\"10.0.0.2\"}}");
        let value = value(&text, &series).with_context(|| format!("no {series} in\n{text}"))?;
        ensure!(value >= 20.0, "{series} is {value} after so many pings");
        ensure!(
            (before[number]..=after[number]).contains(&value),
            "{series} is {value}, and by stats {} to {}",
            before[number],
            after[number]
        );
    }
    let drops = host.drops()?;
    for reason in DropReason::ALL {
        let name = reason.name();
        let value = value(&text, &format!("overlay_drops_total{{reason=\"{name}\"}}"));
        let value = value.with_context(|| format!("no {name}"))?;
        #[expect(clippy::cast_precision_loss, reason = "a few packets")]
        let drops = drops[name] as f64;
        ensure!(value <= drops, "{name}: {value}, and by stats {drops}");
    }
    for notice in Notice::ALL {
        let series = format!("overlay_notices_total{{notice=\"{}\"}}", notice.name());
        ensure!(value(&text, &series).is_some(), "no {series}");
    }
    Ok(())
}

#[test]
fn what_there_is_and_what_is_reached_is_told() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_agent, _instances, workloads) = served(&lab)?;
    let host = lab.host(1);
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "192.0.2.7"])?;
    host.overlay(&["fdb", "add", "--vni", "100", "02:00:00:00:00:77", "--remote", "192.0.2.7"])?;
    host.overlay(&["neigh", "add", "--vni", "100", "10.1.0.77", "02:00:00:00:00:77"])?;
    wait_for(&host.netns, "overlay_vtep_reachable{vtep=\"192.0.2.7\"}", |reached| reached == 0.0)?;
    host.netns.ip(&format!("link del {}", workloads[0].port))?;
    let port = &workloads[0].port;
    wait_for(&host.netns, &format!("overlay_device_served{{device=\"{port}\",role=\"port\"}}"), |on| {
        on == 0.0
    })?;
    let text = fetch(&host.netns)?;
    for (series, expected) in [
        ("overlay_vtep_reachable{vtep=\"10.0.0.2\"}", 1.0),
        ("overlay_vteps_unreachable", 1.0),
        ("overlay_vteps{kind=\"named\"}", 2.0),
        ("overlay_fdb_entries{origin=\"static\"}", 1.0),
        ("overlay_fdb_capacity", 262_144.0),
        ("overlay_neighbours{origin=\"static\"}", 1.0),
        ("overlay_segments", 1.0),
        ("overlay_device_served{device=\"u1\",role=\"uplink\"}", 1.0),
        ("overlay_devices{role=\"port\",state=\"gone\"}", 1.0),
        ("overlay_agent_repairs_total{repair=\"gone\"}", 1.0),
        ("overlay_agent_event_losses_total", 0.0),
    ] {
        let value = value(&text, series).with_context(|| format!("no {series} in\n{text}"))?;
        ensure!((value - expected).abs() < 0.5, "{series} is {value} and no {expected}");
    }
    ensure!(value(&text, "overlay_agent_repair_delay_seconds_count") > Some(0.0), "{text}");
    let build = format!("overlay_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    ensure!(value(&text, &build) == Some(1.0), "{text}");
    Ok(())
}

#[test]
fn prometheus_finds_nothing_amiss_with_names_and_units() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_agent, _instances, _workloads) = served(&lab)?;
    let text = fetch(&lab.host(1).netns)?;
    let found = process::feed(Command::new("promtool").args(["check", "metrics"]), &text)?;
    ensure!(found.is_empty(), "{found}");
    Ok(())
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_');
    words.filter(|word| word.starts_with("overlay_")).map(str::to_owned).collect()
}

#[test]
fn what_is_documented_and_drawn_is_what_is_served() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_agent, _instances, _workloads) = served(&lab)?;
    let served = metrics::names(&fetch(&lab.host(1).netns)?);
    let rows = include_str!("../../docs/agent.md").lines().filter(|line| line.starts_with("| `overlay_"));
    let documented: BTreeSet<_> =
        rows.flat_map(|row| named(row.split(" | ").next().unwrap_or(row))).collect();
    ensure!(served == documented, "served, or documented: {:?}", served.symmetric_difference(&documented));
    let board: Value = serde_json::from_str(include_str!("../../contrib/grafana/overlay.json"))?;
    let panels = board["panels"].as_array().context("no panels")?;
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<_> = targets.filter_map(|target| target["expr"].as_str()).collect();
    ensure!(queries.len() > 8, "only {queries:?}");
    let variables = board["templating"].to_string();
    for query in queries.into_iter().chain([variables.as_str()]) {
        let names = named(query);
        ensure!(!names.is_empty(), "{query} asks for none of our metrics");
        for name in names {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            ensure!(served.contains(family.unwrap_or(&name)), "{query}: nobody serves {name}");
        }
    }
    Ok(())
}

#[test]
fn an_address_in_use_is_refused_before_anything_is_done() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let taken = host.netns.enter(|| Ok(TcpListener::bind(ADDRESS)?))?;
    let refused = host.overlay_fails(&["run", "--uplink", "u1", "--metrics"])?;
    refusal::check(&refused, FAILED, ADDRESS)?;
    ensure!(refused.stderr.contains("in use"), "{refused:?}");
    ensure!(!has_pins(host)?, "it is up");
    drop(taken);
    let (mut agent, instance) = agent::run(host, &["--metrics", "[::1]:9478"])?;
    let answer = ask(&host.netns, "[::1]:9478", "GET", "/metrics")?;
    ensure!(answer.status == 200 && answer.body.contains("overlay_build_info"), "{answer:?}");
    ensure!(host.netns.enter(|| Ok(TcpListener::bind(ADDRESS).is_ok()))?, "it has that address, too");
    agent.signal(Signal::SIGTERM)?;
    instance.down()
}

#[test]
fn there_are_none_unless_asked_for_and_a_file_can_ask() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let is_free = |address: &str| host.netns.enter(|| Ok(TcpListener::bind(address).is_ok()));
    let text = "[vtep]\nuplinks = [\"u1\"]\n";
    let file = TempFile::new(text)?;
    let mut agent = Agent::start(host, &["run", "-c", file.name()])?;
    let instance = Instance::adopt(host)?;
    ensure!(is_free(ADDRESS)?, "nobody asked for metrics");
    for (setting, address) in [("true", ADDRESS), ("\"127.0.0.1:9479\"", "127.0.0.1:9479")] {
        fs::write(file.path(), format!("{text}[agent]\nmetrics = {setting}\n"))?;
        agent.process.send(Signal::SIGHUP)?;
        agent.said(&format!("metrics are at http://{address}/metrics"))?;
        ensure!(ask(&host.netns, address, "GET", "/metrics")?.status == 200);
    }
    wait_until(Instant::now() + GENEROUS, || Ok(is_free(ADDRESS)?.then_some(())))?;
    // What cannot be had leaves what there is.
    let _taken = host.netns.enter(|| Ok(TcpListener::bind(ADDRESS)?))?;
    fs::write(file.path(), format!("{text}[agent]\nmetrics = true\n"))?;
    agent.process.send(Signal::SIGHUP)?;
    agent.said("not reloaded")?;
    ensure!(ask(&host.netns, "127.0.0.1:9479", "GET", "/metrics")?.status == 200);
    agent.end()?;
    instance.down()
}

#[test]
fn other_questions_get_other_answers() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let (_agent, instance) = agent::run(host, &["--metrics"])?;
    for (method, path, status, about) in [
        ("GET", "/", 200, "/metrics"),
        ("GET", "/else", 404, "/metrics"),
        ("POST", "/metrics", 405, "GET"),
        ("HEAD", "/metrics", 200, ""),
    ] {
        let answer = ask(&host.netns, ADDRESS, method, path)?;
        ensure!(answer.status == status && answer.body.contains(about), "{method} {path}: {answer:?}");
    }
    let answer = ask(&host.netns, ADDRESS, "GET", "/metrics")?;
    ensure!(answer.headers.contains("content-type: text/plain; version=0.0.4"), "{answer:?}");
    instance.down()
}

#[test]
fn who_is_slow_is_cut_off_and_keeps_nobody_for_long() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let (mut agent, instance) = agent::run(host, &["--metrics"])?;
    let mut slow = (0..40)
        .map(|number| {
            let mut stream = connect(&host.netns, ADDRESS)?;
            if number % 2 == 0 {
                stream.write_all(b"GET /metr")?;
            }
            Ok(stream)
        })
        .collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    fetch(&host.netns)?;
    println!("answered {} ms after 40 connections that say nothing", start.elapsed().as_millis());
    for stream in &mut slow {
        let mut rest = Vec::new();
        // Cut off with an answer, without one, or by a reset.
        let ended = stream.read_to_end(&mut rest);
        ensure!(
            ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
            "it goes on: {rest:?}"
        );
    }
    ensure!(start.elapsed() < GENEROUS, "{:?}", start.elapsed());
    ensure!(agent.is_running()?);
    instance.down()
}

#[test]
fn a_scrape_does_not_wait_for_the_lock() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let (_agent, instance) = agent::run(host, &["--metrics"])?;
    let directory = fs::File::open(instance.pins())?;
    let lock = nix::fcntl::Flock::lock(directory, nix::fcntl::FlockArg::LockExclusive);
    let lock = lock.map_err(|(_, error)| error)?;
    for _ in 0..3 {
        fetch(&host.netns)?;
    }
    drop(lock);
    instance.down()
}

#[test]
fn prometheus_scrapes_it() -> Result<()> {
    let lab = Lab::new(2)?;
    let (_agent, _instances, workloads) = served(&lab)?;
    let host = lab.host(1);
    let directory = TempDirectory::new("prometheus");
    fs::create_dir(directory.path())?;
    let config = directory.path().join("prometheus.yml");
    fs::write(
        &config,
        format!(
            "scrape_configs:\n- job_name: overlay\n  scrape_interval: 1s\n  static_configs:\n  - targets: ['{ADDRESS}']\n"
        ),
    )?;
    let mut prometheus = host.netns.command("prometheus");
    prometheus
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
        .arg("--web.listen-address=127.0.0.1:9090")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut prometheus = Background::start(&mut prometheus)?;
    let mut asked = |query: &str| {
        wait_until(Instant::now() + GENEROUS, || {
            ensure!(prometheus.is_running()?, "prometheus has ended");
            std::thread::sleep(Duration::from_millis(100));
            let Ok(answer) =
                ask(&host.netns, "127.0.0.1:9090", "GET", &format!("/api/v1/query?query={query}"))
            else {
                return Ok(None);
            };
            Ok(answer.body.contains("\"value\":[").then_some(answer.body))
        })
        .with_context(|| query.to_owned())
    };
    let up = asked("up%3D%3D1")?;
    ensure!(up.contains(ADDRESS), "{up}");
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 10)?;
    let seen = asked("overlay_packets_total%7Bvtep%3D%2210.0.0.2%22%7D%3E9")?;
    ensure!(seen.contains("\"vni\":\"100\""), "{seen}");
    Ok(())
}
