//! The agent while more changes than it can be told one by one.

use std::{fmt::Write as _, fs, time::Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use overlay_tests::{
    agent::{Agent, GENEROUS},
    mesh, metrics,
    netns::NetNs,
    overlay::Instance,
    process::wait_until,
    replug,
    topology::{Lab, Plan},
    traffic,
};
use serde_json::json;

const VNI: u32 = 100;

/// Memory that an agent may take more for all the changes, in KiB.
const GROWTH: u64 = 8 << 10;

/// KiB of memory that a process has.
fn memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// A thousand changes each of links, addresses, routes and neighbours, after which all is as before.
fn churn(netns: &NetNs) -> Result<()> {
    let mut script = "link add x0 type veth peer name x1\nlink set x0 up\nlink set x1 up\n".to_owned();
    for number in 0..500_u32 {
        let [.., high, low] = number.to_be_bytes();
        let state = if number % 2 == 0 { "down" } else { "up" };
        writeln!(script, "link set x1 {state}")?;
        writeln!(script, "link set x0 mtu {}", 1400 + number % 2)?;
        writeln!(script, "addr add 172.17.{high}.{low}/32 dev x0")?;
        writeln!(script, "route add 172.16.{high}.{low}/32 dev lo")?;
        let neighbour = format!("172.18.{high}.{low}");
        writeln!(script, "neighbour add {neighbour} lladdr 02:00:00:00:00:01 nud permanent dev x0")?;
        // The last address would take the neighbours along.
        writeln!(script, "neighbour del {neighbour} dev x0")?;
        writeln!(script, "route del 172.16.{high}.{low}/32 dev lo")?;
        writeln!(script, "addr del 172.17.{high}.{low}/32 dev x0")?;
    }
    netns.ip(&(script + "link del x0\n"))
}

#[test]
fn a_thousand_changes_of_each_kind_end_in_the_right_state() -> Result<()> {
    let lab = Lab::new(3)?;
    let host = lab.host(1);
    let mut agent = Agent::start(host, &["run", "--uplink", "u1", "--metrics"])?;
    let instances =
        vec![Instance::adopt(host)?, Instance::up(lab.host(2), &[])?, Instance::up(lab.host(3), &[])?];
    let workloads = mesh::segment(&instances, VNI)?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 3)?;
    // What it needs once is no growth.
    churn(&host.netns)?;
    let before = memory(agent.process.id())?;
    churn(&host.netns)?;
    host.netns.ip(&format!("link del {}", workloads[0].port))?;
    host.netns.ip("link del u1")?;
    churn(&host.netns)?;
    replug::uplink(&lab, host)?;
    churn(&host.netns)?;
    replug::port(host, &workloads[0], &Plan::new(VNI, 1))?;
    wait_until(Instant::now() + GENEROUS, || {
        let status = host.overlay_json(&["status"])?;
        let ports = host.overlay_json(&["port", "show"])?;
        let is_well = status["warnings"] == json!([]) && status["uplinks"][0]["present"] == true;
        Ok((is_well && ports[0]["present"] != false).then_some(()))
    })?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 3)?;
    let after = memory(agent.process.id())?;
    println!("memory: {before} KiB, and {after} KiB after three times as much");
    ensure!(after < before + GROWTH, "{before} KiB of memory have become {after}");
    metrics::wait_for(&host.netns, "overlay_agent_repairs_total{repair=\"gone\"}", |count| count >= 1.0)?;
    agent.end()
}

#[test]
fn an_agent_that_fell_behind_says_so_and_looks_at_everything() -> Result<()> {
    let lab = Lab::new(3)?;
    let host = lab.host(1);
    let mut agent = Agent::start(host, &["run", "--uplink", "u1", "--metrics"])?;
    let instance = Instance::adopt(host)?;
    let losses = "overlay_agent_event_losses_total";
    ensure!(metrics::value(&metrics::fetch(&host.netns)?, losses) == Some(0.0));
    // While it stands still, the kernel keeps as much for it as the socket has room for.
    agent.process.send(Signal::SIGSTOP)?;
    churn(&host.netns)?;
    host.netns.ip("link set u1 name wan")?;
    agent.process.send(Signal::SIGCONT)?;
    agent.said("the kernel told more than could be read")?;
    agent.said("uplink u1 is called wan now")?;
    metrics::wait_for(&host.netns, losses, |count| count >= 1.0)?;
    agent.end()?;
    instance.down()
}
