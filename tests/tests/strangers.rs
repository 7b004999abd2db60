//! Devices, names and filters of others stay theirs, whatever a command does or fails to do.

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    foreign::Foreign,
    mesh,
    overlay::{EXISTS, Instance},
    process::wait_until,
    topology::{Host, Lab, Plan},
    traffic,
};
use std::time::{Duration, Instant};

const VNI: u32 = 100;

fn has(host: &Host, device: &str) -> Result<bool> {
    Ok(host.netns.devices()?.iter().any(|name| name == device))
}

#[test]
fn a_device_that_has_the_name_as_another_name_is_not_removed() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    for alias in ["seg0", "seg0-p"] {
        host.netns
            .ip(&format!("link add precious type bridge\nlink property add dev precious altname {alias}"))?;
        let refused = host.overlay_fails(&["port", "add", "seg0", "--create", "--vni", "100"])?;
        ensure!(refused.code == EXISTS && refused.stderr.contains(alias), "{refused:?}");
        ensure!(has(host, "precious")?, "it is gone");
        host.netns.ip("link del precious")?;
    }
    host.overlay(&["port", "add", "seg0", "--create", "--vni", "100"]).map(drop)
}

#[test]
fn down_leaves_a_device_that_got_the_index_of_a_gone_one() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    host.overlay(&["port", "add", "seg0", "--create", "--vni", "100"])?;
    let index = host.netns.ifindex("seg0-p")?;
    host.netns.ip(&format!("link del seg0\nlink add precious index {index} type bridge"))?;
    instance.down()?;
    ensure!(has(host, "precious")?, "it is gone");
    Ok(())
}

#[test]
fn down_leaves_the_filters_of_a_device_that_got_the_index_of_a_gone_one() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &["--tc", "clsact"])?;
    let workload = mesh::workload(&instance, VNI, 1)?;
    let index = host.netns.ifindex(&workload.port)?;
    host.netns.ip(&format!("link del {}\nlink add precious index {index} type bridge", workload.port))?;
    let foreign = Foreign::clsact(&host.netns, "precious")?;
    instance.down()?;
    let filters = host.netns.run(&["tc", "filter", "show", "dev", "precious", "ingress"])?;
    ensure!(filters.contains("bpf"), "a stranger's filter is gone: {filters:?}");
    drop(foreign);
    let qdiscs = host.netns.run(&["tc", "qdisc", "show", "dev", "precious"])?;
    ensure!(qdiscs.contains("clsact"), "a stranger's qdisc is gone: {qdiscs:?}");
    Ok(())
}

#[test]
fn down_removes_what_was_made_under_another_name_and_leaves_what_took_its_name() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    host.overlay(&["port", "add", "seg0", "--create", "--vni", "100"])?;
    host.overlay(&["port", "add", "seg1", "--create", "--vni", "100"])?;
    host.netns.ip("link set seg0-p name renamed")?;
    host.netns.ip("link del seg1\nlink add seg1-p type veth peer name mine")?;
    let shown = host.overlay_json(&["port", "show"])?;
    let ports = shown.as_array().context("no array")?;
    ensure!(ports.iter().any(|row| row["port"] == "seg1-p" && row["present"] == true), "{shown}");
    instance.down()?;
    ensure!(!has(host, "renamed")?, "what was made is still there");
    ensure!(has(host, "seg1-p")?, "what was not made by us is gone");
    Ok(())
}

#[test]
fn down_works_when_a_filters_device_is_gone() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &["--tc", "clsact"])?;
    let workload = mesh::workload(&instance, VNI, 1)?;
    host.netns.ip(&format!("link del {}", workload.port))?;
    instance.down()?;
    ensure!(!host.netns.run(&["tc", "qdisc", "show", "dev", "u1"])?.contains("clsact"));
    Ok(())
}

fn another_name_is_the_same_device(arguments: &[&str]) -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, arguments)?;
    let (one, two) = (mesh::workload(&instance, VNI, 1)?, mesh::workload(&instance, VNI, 2)?);
    let before = host.configuration()?;
    host.netns.ip(&format!("link property add dev {} altname alias", one.port))?;
    for vni in ["100", "200"] {
        let refused = host.overlay_fails(&["port", "add", "alias", "--vni", vni])?;
        ensure!(refused.code == EXISTS && refused.stderr.contains(&one.port), "{refused:?}");
        // Before any other command could mend it.
        traffic::ping(&one.netns, two.v4.into(), 2)?;
    }
    host.overlay(&["port", "add", "alias", "--vni", "100", "--exist-ok"])?;
    ensure!(host.configuration()? == before, "something changed");

    let third = host.workload(&Plan::new(VNI, 3))?;
    host.netns.ip(&format!("link property add dev {} altname third", third.port))?;
    host.overlay(&["port", "add", "third", "--vni", "100"])?;
    let shown = host.overlay_json(&["port", "show"])?;
    let ports = shown.as_array().context("no array")?;
    ensure!(ports.iter().any(|row| row["port"] == third.port.as_str()), "by its own name: {shown}");
    wait_until(Instant::now() + Duration::from_secs(5), || {
        Ok(traffic::ping(&third.netns, two.v4.into(), 1).is_ok().then_some(()))
    })
}

#[test]
fn another_name_is_the_same_device_on_tcx() -> Result<()> {
    another_name_is_the_same_device(&[])
}

#[test]
fn another_name_is_the_same_device_on_clsact() -> Result<()> {
    another_name_is_the_same_device(&["--tc", "clsact"])
}
