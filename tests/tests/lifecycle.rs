//! The data path outlives its processes, leaves others alone, and is gone without a trace after `down`.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use overlay_tests::{
    agent,
    foreign::Foreign,
    mesh,
    objects::Objects,
    overlay::Instance,
    stream::Stream,
    topology::{Host, Lab, Plan},
    traffic,
};

const VNI: u32 = 100;

/// What anyone can see of a host: its devices and their settings, qdiscs and offloads, its rules and routes. Link-local
/// IPv6 comes and goes by itself, and neighbours are no settings.
fn state(host: &Host) -> Result<String> {
    let mut all = host.netns.run(&["ip", "-d", "-o", "link", "show"])?;
    all.push_str(&host.netns.run(&["tc", "qdisc", "show"])?);
    all.push_str(&host.netns.run(&["ip", "rule", "show"])?);
    all.push_str(&host.netns.run(&["ip", "-4", "route", "show", "table", "all"])?);
    for device in host.netns.devices()? {
        for feature in host.netns.run(&["ethtool", "-k", &device])?.lines() {
            writeln!(all, "{device}: {feature}")?;
        }
    }
    Ok(all)
}

fn down_leaves_nothing_behind(arguments: &[&str]) -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let ports: Vec<_> = (1..3).map(|number| host.workload(&Plan::new(VNI, number))).collect::<Result<_>>()?;
    let before = state(host)?;
    let instance = Instance::up(host, arguments)?;
    instance.reach(VNI, lab.host(2))?;
    for port in &ports {
        instance.attach(VNI, port)?;
    }
    traffic::ping(&ports[0].netns, ports[1].v4.into(), 2)?;
    let objects = Objects::of(&instance)?;
    instance.down()?;
    objects.gone()?;
    let after = state(host)?;
    same(&before, &after)
}

#[test]
fn down_leaves_nothing_behind_by_default() -> Result<()> {
    down_leaves_nothing_behind(&[])
}

#[test]
fn down_leaves_nothing_behind_of_native_xdp() -> Result<()> {
    down_leaves_nothing_behind(&["--xdp", "native"])
}

#[test]
fn down_leaves_nothing_behind_of_generic_xdp() -> Result<()> {
    down_leaves_nothing_behind(&["--xdp", "generic"])
}

#[test]
fn down_works_when_devices_are_gone() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    lab.host(1).netns.ip(&format!("link del {}", workloads[0].port))?;
    lab.host(1).netns.ip("link del u1")?;
    let objects = Objects::of(&instances[0])?;
    lab.host(1).overlay_json(&["status"])?;
    for instance in instances {
        instance.down()?;
    }
    objects.gone()
}

#[test]
fn an_instance_comes_up_again() -> Result<()> {
    let lab = Lab::new(2)?;
    for _ in 0..2 {
        let instances = mesh::up(&lab, &[])?;
        let workloads = mesh::segment(&instances, VNI)?;
        traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 2)?;
    }
    Ok(())
}

#[test]
fn programs_of_others_go_on() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let programs = [Foreign::tcx(&one.netns, &one.uplink)?, Foreign::clsact(&one.netns, &one.uplink)?];
    let see = |when: &str| -> Result<()> {
        let before = programs.iter().map(Foreign::seen).collect::<Result<Vec<_>>>()?;
        traffic::ping(&two.netns, one.v4.into(), 5)?;
        for (program, before) in programs.iter().zip(before) {
            let seen = program.seen()? - before;
            ensure!(seen >= 5, "{when}, a program of others saw {seen} packets of 5");
        }
        Ok(())
    };
    see("before")?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    see("while we are up")?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 20)?;
    let late = Foreign::tcx(&one.netns, &one.uplink)?;
    traffic::ping(&two.netns, one.v4.into(), 5)?;
    ensure!(late.seen()? >= 5, "a program that came later saw {}", late.seen()?);
    drop(workloads);
    drop(instances);
    see("after we were down")
}

/// Names the lines in which two states differ.
fn same(before: &str, after: &str) -> Result<()> {
    let only = |one: &str, other: &str| -> Vec<String> {
        one.lines().filter(|line| !other.lines().any(|found| found == *line)).map(str::to_owned).collect()
    };
    let (gone, new) = (only(before, after), only(after, before));
    ensure!(before == after, "gone: {gone:#?}\nnew: {new:#?}");
    Ok(())
}

#[test]
fn forwarding_outlives_a_killed_agent() -> Result<()> {
    let lab = Lab::new(2)?;
    let (mut agent, one) = agent::run(lab.host(1), &[])?;
    let (mut other_agent, two) = agent::run(lab.host(2), &[])?;
    let instances = [one, two];
    let workloads = mesh::segment(&instances, VNI)?;
    let stream = Stream::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into())?;
    stream.go_on(1000)?;
    let code = agent.signal(Signal::SIGKILL)?;
    ensure!(code.is_none(), "ended with {code:?} before");
    stream.go_on(1000)?;
    let code = other_agent.signal(Signal::SIGKILL)?;
    ensure!(code.is_none(), "ended with {code:?} before");
    stream.go_on(1000)?;
    stream.finish()?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 20)?;
    let shown = lab.host(1).overlay_json(&["tunnel", "show"])?;
    ensure!(shown[0]["remote"] == "10.0.0.2", "{shown}");
    Ok(())
}

#[test]
fn a_killed_agent_loses_nothing_of_a_tcp_transfer() -> Result<()> {
    let lab = Lab::new(2)?;
    let (mut agent, one) = agent::run(lab.host(1), &[])?;
    let instances = [one, Instance::up(lab.host(2), &[])?];
    let workloads = mesh::segment(&instances, VNI)?;
    // Only to know that time has passed: beside a transfer even the kernel's own tunnels lose datagrams.
    let stream = Stream::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v6.into())?;
    std::thread::scope(|scope| {
        let (from, to) = (&workloads[0], &workloads[1]);
        let transfer = scope.spawn(|| traffic::tcp(&from.netns, &to.netns, to.v4.into(), 64 << 20));
        stream.go_on(100)?;
        let code = agent.signal(Signal::SIGKILL)?;
        ensure!(!transfer.is_finished(), "the transfer was over too soon to prove anything");
        ensure!(code.is_none(), "ended with {code:?} before");
        transfer.join().map_err(|_| anyhow::anyhow!("the transfer panicked"))?
    })
}

#[test]
fn an_agent_that_is_asked_to_end_leaves_the_data_path() -> Result<()> {
    let lab = Lab::new(2)?;
    let (mut agent, one) = agent::run(lab.host(1), &[])?;
    let instances = [one, Instance::up(lab.host(2), &[])?];
    let workloads = mesh::segment(&instances, VNI)?;
    ensure!(agent.is_running()?, "the agent has ended by itself");
    let code = agent.signal(Signal::SIGTERM)?;
    ensure!(code == Some(0), "{code:?}");
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 3)
}

#[test]
fn an_ephemeral_agent_takes_everything_with_it() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let before = state(host)?;
    let (mut agent, instance) = agent::run(host, &["--ephemeral"])?;
    let objects = Objects::of(&instance)?;
    let code = agent.signal(Signal::SIGINT)?;
    ensure!(code == Some(0), "{code:?}");
    ensure!(!instance.pins().exists(), "pins are left");
    instance.is_down_already();
    objects.gone()?;
    let after = state(host)?;
    same(&before, &after)
}
