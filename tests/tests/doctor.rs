//! `overlay doctor`: what is wrong with an instance and its host is found, and the commands that it prints mend it.

use std::{collections::BTreeMap, fmt::Write as _, fs, net::UdpSocket, process::Command, time::Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use overlay_tests::{
    agent,
    doctor::{findings, finds, is_sound, mend, report, text, type_commands},
    mesh,
    objects::Objects,
    overlay::{Instance, overlay},
    process,
    topology::{Host, Lab},
    traffic,
};

const VNI: u32 = 100;

/// The maps that no packet changes.
const TOLD: [&str; 11] = [
    "CONFIG",
    "DEVICES",
    "FLOOD",
    "MANAGED",
    "MEMBERS",
    "PATH_MTUS",
    "PORTS",
    "SEGMENTS",
    "UPLINKS",
    "VTEPS",
    "VTEP_IDS",
];

/// What `doctor` must leave as it is.
#[derive(Debug, PartialEq)]
struct State {
    objects: Objects,
    maps: BTreeMap<String, String>,
    links: String,
    filters: String,
    settings: String,
}

fn state(instance: &Instance<'_>) -> Result<State> {
    let dump = |map: &str| {
        let path = instance.pins().join("maps").join(map);
        let text = process::checked(Command::new("bpftool").args(["map", "dump", "pinned"]).arg(path))?;
        Ok((map.to_owned(), text))
    };
    let netns = &instance.host.netns;
    Ok(State {
        objects: Objects::of(instance)?,
        maps: TOLD.into_iter().map(dump).collect::<Result<_>>()?,
        links: netns.run(&["ip", "-d", "address"])?,
        filters: netns.run(&["bpftool", "net", "show"])?,
        settings: netns.run(&["sysctl", "net.ipv4.conf.lo.forwarding", "net.ipv6.conf.lo.forwarding"])?,
    })
}

/// Takes the program off a port.
fn detach(instance: &Instance<'_>, port: &str) -> Result<()> {
    let index = instance.host.netns.ifindex(port)?;
    Ok(fs::remove_file(instance.pins().join("links").join(format!("{index}-from_port")))?)
}

#[test]
fn a_sound_host_has_no_findings() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    is_sound(host).context("before it is up")?;
    let down = text(host, &["-v"])?;
    ensure!(down.contains("is not up"), "{down}");
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 20)?;
    let before = state(&instances[0])?;
    is_sound(host)?;
    ensure!(state(&instances[0])? == before, "it has changed something");
    let all = text(host, &["-v"])?;
    for checked in
        ["kernel", "program", "merges", "fits", "answers", "port 4789", "firewall", "left", "room", "agent"]
    {
        ensure!(all.contains(checked), "not a word on {checked}: {all}");
    }
    ensure!(!all.contains('\x1b'), "colours where nobody sees them: {all:?}");
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 1)
}

#[test]
fn what_is_broken_is_left_as_it_is_and_mended_when_asked() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let (host, to) = (lab.host(1), workloads[1].v4.into());
    traffic::ping(&workloads[0].netns, to, 1)?;
    detach(&instances[0], &workloads[0].port)?;
    // The kernel takes a moment to detach a program whose link is gone.
    let is_off = || Ok(traffic::no_ping(&workloads[0].netns, to).ok());
    process::wait_until(Instant::now() + traffic::PATIENCE, is_off)?;
    let before = state(&instances[0])?;
    let found = finds(host, "program-detached", "problem")?;
    ensure!(found["about"] == workloads[0].port.as_str() && found["fixable"] == true, "{found:#}");
    ensure!(state(&instances[0])? == before, "it has changed something");
    mend(host, &found)?;
    traffic::ping(&workloads[0].netns, to, 1)?;

    detach(&instances[0], &workloads[0].port)?;
    process::wait_until(Instant::now() + traffic::PATIENCE, is_off)?;
    host.netns.sysctl("ipv4/conf/lo/forwarding", "0")?;
    let both: Vec<_> = findings(host, &[])?.iter().map(|found| found["check"].clone()).collect();
    ensure!(both == ["program-detached", "forwarding"], "{both:?}");
    let fixed = report(host, &["--fix"])?;
    ensure!(fixed["fixed"].to_string().contains("had lost its program"), "{fixed:#}");
    is_sound(host)?;
    traffic::ping(&workloads[0].netns, to, 1)
}

#[test]
fn reports_are_stable() -> Result<()> {
    let lab = Lab::new(2)?;
    let _instances = mesh::up(&lab, &[])?;
    let host = lab.host(1);
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.9.0.77"])?;
    host.netns.run(&["ethtool", "-K", "u1", "tx-udp_tnl-segmentation", "off"])?;
    let found = findings(host, &["--no-probe"])?;
    insta::assert_snapshot!("as_json", serde_json::to_string_pretty(&found)?);
    let text = text(host, &["--no-probe"])?;
    // What other tests have left or are about is their own matter: a finding and what is indented below it.
    let mut is_of_others = false;
    let own = text.lines().filter(|line| {
        if !line.starts_with(' ') {
            is_of_others =
                line.contains("instance") || line.contains("serve") || line.starts_with("problems");
        }
        !is_of_others
    });
    insta::assert_snapshot!("as_text", own.collect::<Vec<_>>().join("\n"));
    Ok(())
}

#[test]
fn what_a_namespace_left_that_is_gone_is_found_and_removed() -> Result<()> {
    let name = format!("doctor-{}", std::process::id());
    let gone = Lab::new(2)?;
    gone.host(1).overlay(&["--instance", &name, "up", "--uplink", "u1"])?;
    drop(gone);
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let of_it = || -> Result<Vec<serde_json::Value>> {
        let report = report(host, &[])?;
        let all = report["findings"].as_array().context("no findings")?.clone();
        Ok(all.into_iter().filter(|finding| finding["about"] == name.as_str()).collect())
    };
    let found = process::wait_until(Instant::now() + traffic::PATIENCE, || Ok(of_it()?.pop()))?;
    ensure!(found["check"] == "leftover-instance" && found["fixable"] == false, "{found:#}");
    type_commands(host, &found)?;
    ensure!(of_it()?.is_empty(), "it is still there");
    ensure!(overlay(&["--instance", &name, "down", "--missing-ok"])?.is_empty(), "it was not there");
    Ok(())
}

#[test]
fn a_device_that_an_instance_left_is_found_and_removed() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let before = host.netns.devices()?;
    let add = || host.netns.ip("link add ovl0badcafe-4 type vxlan id 0 dstport 4789 local 10.0.0.1");
    add()?;
    let found = finds(host, "leftover-device", "advice")?;
    mend(host, &found)?;
    add()?;
    report(host, &["--fix"])?;
    ensure!(host.netns.devices()? == before, "it is still there");
    is_sound(host)
}

#[test]
fn an_agent_that_was_killed_is_missed() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let (mut process, _instance) = agent::run(host, &[])?;
    is_sound(host)?;
    process.signal(Signal::SIGKILL)?;
    let found = finds(host, "agent", "problem")?;
    ensure!(found["why"].to_string().contains("forwarding goes on"), "{found:#}");
    let command = found["mend"][0].as_str().context("no command")?;
    ensure!(command == "overlay export > overlay.toml && overlay run -c overlay.toml", "{command}");
    let (mut process, instance) = agent::run(host, &[])?;
    is_sound(host)?;
    process.signal(Signal::SIGTERM)?;
    is_sound(host)?;
    instance.is_down_already();
    Ok(())
}

#[test]
fn a_map_that_fills_up_gets_more_room() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &["--fdb-size", "16"])?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.0.0.2"])?;
    let stations = |host: &Host| -> Result<usize> {
        Ok(host.overlay_json(&["fdb", "show"])?.as_array().context("no array")?.len())
    };
    let mut file = String::new();
    for number in 1..=15 {
        writeln!(file, "100 02:ee:00:00:00:{number:02x} 10.0.0.2")?;
    }
    process::feed(&mut host.overlay_command(&["fdb", "add", "--from", "-"])?, &file)?;
    let found = finds(host, "room", "advice")?;
    ensure!(found["what"].to_string().contains("15 entries of 16"), "{found:#}");
    mend(host, &found)?;
    ensure!(stations(host)? == 15, "{} stations", stations(host)?);
    Ok(())
}

#[test]
fn others_on_our_port_and_segment_are_found() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &["--tunnel-gro", "auto"])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let host = lab.host(1);
    host.netns.ip("link add vx type vxlan id 100 dstport 4789 local 10.0.0.1 dev u1\nlink set vx up")?;
    mend(host, &finds(host, "vxlan", "problem")?)?;
    let socket = host.netns.enter(|| Ok(UdpSocket::bind("0.0.0.0:4789")?))?;
    let found = finds(host, "udp-port", "advice")?;
    ensure!(found["mend"][0] == format!("kill {}", std::process::id()), "{found:#}");
    drop(socket);
    is_sound(host)?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 1)
}
