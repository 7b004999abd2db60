//! Trunk ports whose VLANs change, and whose devices come and go.

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    mending::{mends, warns},
    mesh,
    overlay::Instance,
    topology::{Host, Lab},
    traffic,
    trunk::{RED, site},
};
use serde_json::{Value, json};

const TRANSFER: usize = 1 << 20;

/// What is shown of the trunk.
fn shown(host: &Host) -> Result<Value> {
    let ports = host.overlay_json(&["port", "show"])?;
    let trunk = ports.as_array().and_then(|ports| ports.iter().find(|port| port["port"] == "t1"));
    trunk.cloned().context("no trunk")
}

#[test]
fn vlans_come_and_go_while_a_trunk_is_up() -> Result<()> {
    let lab = Lab::new(2)?;
    let instance = Instance::up(lab.host(1), &[])?;
    let host = instance.host;
    let site = site(&instance, 1)?;
    let red = mesh::workload(&instance, RED, 2)?;
    traffic::ping(&site.red.netns, red.v4.into(), 3)?;
    host.overlay(&["port", "vlan", "del", "t1", "10:1000"])?;
    ensure!(shown(host)?["vlans"] == json!([{"vid": 20, "vni": 2000}]));
    let stations = host.overlay_json(&["fdb", "show", "--vni", "1000"])?;
    let left = stations.as_array().is_some_and(|all| all.iter().any(|one| one["port"] == "t1"));
    ensure!(!left, "{stations}");
    traffic::no_ping(&site.red.netns, red.v4.into())?;
    let mac = site.red.mac.to_string();
    let failure = host.overlay_fails(&["fdb", "add", "--vni", "1000", &mac, "--port", "t1"])?;
    ensure!(failure.stderr.contains("no port of VNI 1000"), "{}", failure.stderr);
    host.overlay(&["port", "vlan", "add", "t1", "10:1000,40-42:4000"])?;
    let all = json!([{"vid": 10, "vni": 1000}, {"vid": 20, "vni": 2000}, {"vid": 40, "vni": 4000},
        {"vid": 41, "vni": 4001}, {"vid": 42, "vni": 4002}]);
    ensure!(shown(host)?["vlans"] == all);
    traffic::ping(&site.red.netns, red.v4.into(), 3)?;
    traffic::tcp(&red.netns, &site.red.netns, site.red.v4.into(), TRANSFER)?;
    host.overlay(&["fdb", "add", "--vni", "4000", &mac, "--port", "t1"])?;
    host.overlay(&["port", "del", "t1"])?;
    for segment in host.overlay_json(&["vni", "show"])?.as_array().into_iter().flatten() {
        ensure!(!segment["ports"].to_string().contains("t1"), "{segment}");
    }
    for vni in ["2000", "3000", "4000", "4001", "4002"] {
        host.overlay(&["vni", "del", vni])?;
    }
    // Another map of the same trunk begins with nothing.
    host.overlay(&["port", "add", "t1", "--vlan", "7:7000"])?;
    let trunk = shown(host)?;
    ensure!(trunk["vlans"] == json!([{"vid": 7, "vni": 7000}]) && trunk["vni"].is_null(), "{trunk}");
    Ok(())
}

#[test]
fn a_trunk_that_returned_has_its_vlans_and_stations() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let host = instances[0].host;
    let mut site = site(&instances[0], 1)?;
    mesh::connect(&instances, RED)?;
    let far = mesh::workload(&instances[1], RED, 2)?;
    mesh::exchange(&site.red, &far, TRANSFER)?;
    for native in [true, false] {
        if !native {
            host.overlay(&["port", "del", "t1"])?;
            host.overlay(&["port", "add", "t1", "--vlan", "10:1000,20:2000"])?;
        }
        host.overlay(&["fdb", "add", "--vni", "1000", "02:00:00:00:00:77", "--port", "t1"])?;
        let (before, index) = (shown(host)?, host.netns.ifindex("t1")?);
        host.netns.ip("link del t1")?;
        warns(host, "port t1 is gone")?;
        let waiting = shown(host)?;
        ensure!(waiting["present"] == false && waiting["vlans"] == before["vlans"], "{waiting}");
        let kept = host.overlay_fails(&["vni", "del", "2000"])?;
        ensure!(kept.stderr.contains("1 ports"), "{kept:?}");
        let gone = host.overlay_fails(&["port", "vlan", "add", "t1", "30:4000"])?;
        ensure!(gone.code == 4 && gone.stderr.contains("t1 is gone"), "{gone:?}");

        site.switch.replug(host)?;
        ensure!(host.netns.ifindex("t1")? != index, "it should have another index");
        mends(host, "port t1 is back")?;
        let back = shown(host)?;
        ensure!(back["vlans"] == before["vlans"] && back["vni"] == before["vni"], "{back}");
        mesh::exchange(&site.red, &far, TRANSFER)?;
        let stations = host.overlay(&["fdb", "show", "--vni", "1000"])?;
        ensure!(stations.contains("02:00:00:00:00:77"), "{stations}");
    }
    // One that is deleted while it is gone has no VLANs when it returns.
    host.netns.ip("link del t1")?;
    host.overlay(&["port", "del", "t1"])?;
    host.overlay(&["vni", "del", "2000"])?;
    site.switch.replug(host)?;
    host.overlay(&["port", "add", "t1", "--vlan", "7:7000"])?;
    ensure!(shown(host)?["vlans"] == json!([{"vid": 7, "vni": 7000}]));
    Ok(())
}
