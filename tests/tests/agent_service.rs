//! The agent as a service: what its manager, its log and `status` say, files that are applied again, and agents that are killed.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use overlay_tests::{
    agent::{self, Agent, GENEROUS},
    declared::TempFile,
    mesh,
    overlay::{FAILED, Instance, USAGE, failure, has_pins},
    process::wait_until,
    refusal,
    stream::Stream,
    topology::Lab,
    traffic,
};
use serde_json::{Value, json};

const VNI: u32 = 100;

/// Where the lock of an instance's agent is.
fn lock(instance: &Instance<'_>) -> std::path::PathBuf {
    Path::new("/run/overlay").join(format!("{}.agent", instance.name))
}

#[test]
fn status_tells_of_the_agent_and_a_second_one_is_refused() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    ensure!(host.overlay_json(&["status"])?["agent"] == Value::Null);
    ensure!(host.overlay(&["status"])?.contains("none; `overlay run` starts one"));
    let mut agent = Agent::start(host, &["run", "--uplink", "u1"])?;
    let told = host.overlay_json(&["status"])?["agent"].clone();
    let pid = agent.process.id();
    ensure!(told["pid"] == pid, "{told}, and it is {pid}");
    let since = told["since"].as_str().with_context(|| told.to_string())?;
    ensure!(since.starts_with("20") && since.ends_with('Z'), "{since}");
    let shown = host.overlay(&["status"])?;
    ensure!(shown.contains(&format!("process {pid} since {since}")), "{shown}");
    let second = host.overlay_fails(&["run", "--uplink", "u1"])?;
    refusal::check(&second, FAILED, &format!("has an agent already (process {pid})"))?;
    agent.end()?;
    ensure!(host.overlay_json(&["status"])?["agent"] == Value::Null);
    ensure!(!lock(&instance).exists(), "the lock is left");
    instance.down()
}

#[test]
fn what_a_killed_agent_leaves_is_in_nobodys_way() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let (mut agent, instance) = agent::run(host, &[])?;
    agent.signal(Signal::SIGKILL)?;
    ensure!(lock(&instance).exists(), "nothing is left to be in the way");
    ensure!(host.overlay_json(&["status"])?["agent"] == Value::Null, "a dead agent does not run");
    let (mut agent, again) = agent::run(host, &[])?;
    again.is_down_already();
    agent.signal(Signal::SIGKILL)?;
    let left = lock(&instance);
    instance.down()?;
    ensure!(!left.exists(), "`overlay down` left {}", left.display());
    Ok(())
}

#[test]
fn adopting_what_a_killed_agent_has_left_loses_nothing() -> Result<()> {
    let lab = Lab::new(2)?;
    let (mut agent, one) = agent::run(lab.host(1), &[])?;
    let instances = [one, Instance::up(lab.host(2), &[])?];
    let workloads = mesh::segment(&instances, VNI)?;
    let stream = Stream::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into())?;
    for _ in 0..3 {
        stream.go_on(200)?;
        ensure!(agent.signal(Signal::SIGKILL)?.is_none(), "it ended before");
        stream.go_on(200)?;
        let (next, adopted) = agent::run(lab.host(1), &[])?;
        adopted.is_down_already();
        agent = next;
    }
    stream.go_on(200)?;
    stream.finish().map(drop)
}

#[test]
fn the_service_manager_is_told() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let file = TempFile::new("[vtep]\nuplinks = [\"u1\"]\n")?;
    let watched = |command: &mut std::process::Command| {
        command.env("WATCHDOG_USEC", "300000");
        Ok(())
    };
    let mut agent = Agent::start_as(host, &["run", "-c", file.name()], watched)?;
    let instance = Instance::adopt(host)?;
    for _ in 0..3 {
        agent.manager.expect(&mut agent.process, "WATCHDOG=1")?;
    }
    agent.process.send(Signal::SIGHUP)?;
    let told = agent.manager.expect(&mut agent.process, "RELOADING=1")?;
    ensure!(told.contains("MONOTONIC_USEC="), "{told}");
    agent.manager.expect(&mut agent.process, "READY=1")?;
    host.netns.ip("link del u1")?;
    agent.manager.expect(&mut agent.process, "STATUS=")?;
    agent.process.send(Signal::SIGTERM)?;
    agent.manager.expect(&mut agent.process, "STOPPING=1")?;
    instance.down()
}

/// The settings of the one segment.
fn ageing(instance: &Instance<'_>) -> Result<Value> {
    Ok(instance.host.overlay_json(&["vni", "show", "100"])?[0]["ageing_s"].clone())
}

fn file(ageing: u32) -> String {
    format!("[vtep]\nuplinks = [\"u1\"]\n[[vni]]\nid = 100\nageing = {ageing}\nremotes = [\"10.0.0.2\"]\n")
}

#[test]
fn a_hangup_applies_the_file_again_and_a_broken_one_changes_nothing() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let config = TempFile::new(&file(111))?;
    let mut agent = Agent::start(host, &["run", "-c", config.name()])?;
    let instance = Instance::adopt(host)?;
    ensure!(ageing(&instance)? == 111, "the file was not applied: {}", ageing(&instance)?);
    let workload = mesh::workload(&instance, 200, 1)?;
    fs::write(config.path(), file(222) + "[[vni]]\nid = 200\nports = [\"" + &workload.port + "\"]\n")?;
    agent.process.send(Signal::SIGHUP)?;
    agent.said(&format!("reloaded {}: 1 changes", config.name()))?;
    ensure!(ageing(&instance)? == 222, "{}", ageing(&instance)?);
    let before = host.configuration()?;
    for (text, about) in [
        ("[vtep]\nuplinks = [\"u1\"]\nprot = 1\n", ":3:1: there is no key `prot`"),
        ("[vtep\n", ":1:"),
        ("[vtep]\nuplinks = [\"u1\", \"nowhere\"]\n", "there is no device nowhere"),
    ] {
        fs::write(config.path(), text)?;
        agent.process.send(Signal::SIGHUP)?;
        let line = agent.said("not reloaded")?;
        ensure!(line.contains(about), "{line}");
        agent.manager.expect(&mut agent.process, "READY=1")?;
        let after = host.configuration()?;
        ensure!(before == after, "{text:?} changed\n{before}\nto\n{after}");
    }
    fs::remove_file(config.path())?;
    agent.process.send(Signal::SIGHUP)?;
    let line = agent.said("not reloaded")?;
    ensure!(line.contains("cannot read"), "{line}");
    agent.end()?;
    traffic::ping(&host.netns, "10.0.0.2".parse()?, 1)?;
    instance.down()
}

#[test]
fn a_hangup_without_a_file_is_no_end() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let mut agent = Agent::start(host, &["run", "--uplink", "u1"])?;
    let instance = Instance::adopt(host)?;
    agent.process.send(Signal::SIGHUP)?;
    agent.said("start it with -c FILE")?;
    ensure!(agent.process.is_running()?);
    agent.end()?;
    instance.down()
}

#[test]
fn an_agent_of_a_file_can_take_its_instance_along() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let config = TempFile::new(&file(50))?;
    let mut agent = Agent::start(host, &["run", "--ephemeral", "-c", config.name()])?;
    ensure!(has_pins(host)?, "it is not up");
    agent.end()?;
    ensure!(!has_pins(host)?, "it is up");
    Ok(())
}

#[test]
fn what_cannot_be_run_is_refused_with_nothing_done() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let broken = TempFile::new("[vtep]\nuplinks = [\"u1\"]\n[agent]\nmetrics = \"9477\"\n")?;
    let place = format!("{}:4:11", broken.name());
    for (arguments, code, about) in [
        (&["run"][..], USAGE, "--uplink"),
        (&["run", "-c", "f", "--uplink", "u1"], USAGE, "--uplink"),
        (&["run", "-c", "f", "--port", "4790"], USAGE, "--port"),
        (&["run", "-c", "-"], USAGE, "-c -"),
        (&["run", "-c", "/nonexistent"], FAILED, "/nonexistent"),
        (&["run", "-c", broken.name()], USAGE, &place),
        (&["run", "--uplink", "u1", "--metrics", "9477"], USAGE, "127.0.0.1:9477"),
        (&["run", "--uplink", "u1", "--metrics", "192.0.2.9:9477"], FAILED, "192.0.2.9:9477"),
    ] {
        let refused = host.overlay_fails(arguments)?;
        refusal::check(&refused, code, about).with_context(|| format!("{arguments:?}"))?;
        ensure!(!has_pins(host)?, "{arguments:?}: it is up");
    }
    let mut command = host.overlay_command(&["run", "--uplink", "u1"])?;
    let refused = failure(command.env("OVERLAY_LOG", "overlay=loudly"))?;
    refusal::check(&refused, USAGE, "OVERLAY_LOG")
}

#[test]
fn the_journal_is_told_priorities_and_nobody_else() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let (reader, writer) = std::io::pipe()?;
    let of = |file: &dyn std::os::fd::AsRawFd| fs::metadata(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let stream = of(&writer)?;
    let journal = |command: &mut std::process::Command| {
        command.env("JOURNAL_STREAM", format!("{}:{}", stream.dev(), stream.ino())).stderr(writer);
        Ok(())
    };
    // The other pipe is not what the journal was told of.
    let mut agent = Agent::start_as(host, &["run", "--uplink", "u1"], journal)?;
    let instance = Instance::adopt(host)?;
    let lines = std::io::BufRead::lines(std::io::BufReader::new(reader));
    host.netns.ip("link set u1 name wan\nlink del wan")?;
    let mut seen = Vec::new();
    for line in lines {
        seen.push(line?);
        if seen.iter().any(|line| line.starts_with("<4>our address")) {
            break;
        }
    }
    ensure!(seen.iter().any(|line| line.starts_with("<6>uplink")), "{seen:?}");
    ensure!(seen.iter().all(|line| line.starts_with('<') && !line.contains('\u{1b}')), "{seen:?}");
    agent.end()?;
    let plain = |command: &mut std::process::Command| {
        command.env("JOURNAL_STREAM", "1:1");
        Ok(())
    };
    let mut agent = Agent::start_as(host, &["run", "--uplink", "u1"], plain)?;
    let line = agent.said("our address 10.0.0.1")?;
    ensure!(line.starts_with("overlay: our address"), "{line}");
    agent.end()?;
    instance.down()
}

#[test]
fn how_much_is_logged_can_be_said() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let (agent, instance) = agent::run(host, &[])?;
    drop(agent);
    let quiet = |command: &mut std::process::Command| {
        command.env("OVERLAY_LOG", "error");
        Ok(())
    };
    let mut agent = Agent::start_as(host, &["run", "--uplink", "u1"], quiet)?;
    host.netns.ip("link set u1 name wan")?;
    wait_until(Instant::now() + GENEROUS, || {
        let status = host.overlay_json(&["status"])?;
        Ok((status["uplinks"][0]["dev"] == "wan").then_some(()))
    })?;
    agent.end()?;
    ensure!(agent.said("uplink").is_err(), "it was told to be quiet");
    let mut agent = Agent::start(host, &["run", "-v", "--uplink", "wan"])?;
    host.netns.ip("link set wan name u1")?;
    agent.said("ms after a change")?;
    agent.end()?;
    ensure!(host.overlay_json(&["status"])?["warnings"] == json!([]));
    instance.down()
}
