//! Ports whose devices come and go, with no agent: the next command mends it, and says so.

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    mending::{VNI, mends, quiet, status, talk, warns},
    mesh,
    overlay::Instance,
    replug,
    topology::{Lab, Plan},
    traffic,
};
use serde_json::json;

#[test]
fn a_port_that_returned_is_served_with_its_stations() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &[])?;
    let (host, workload) = (lab.host(1), &talk.workloads[0]);
    let port = workload.port.as_str();
    for mac in ["02:00:00:00:00:77", "02:00:00:00:00:78"] {
        host.overlay(&["fdb", "add", "--vni", "100", mac, "--port", port])?;
    }
    let before = host.netns.ifindex(port)?;
    host.netns.ip(&format!("link del {port}"))?;
    warns(host, &format!("port {port} is gone"))?;
    let ports = host.overlay_json(&["port", "show"])?;
    ensure!(ports[0]["port"] == port && ports[0]["present"] == false && ports[0]["ifindex"] == 0, "{ports}");
    ensure!(host.overlay(&["port", "show"])?.contains("gone"));
    ensure!(host.overlay_json(&["vni", "show"])?[0]["ports"] == json!([]));
    ensure!(!host.overlay(&["fdb", "show"])?.contains("02:00:00:00:00:7"));
    let kept = host.overlay_fails(&["vni", "del", "100"])?;
    ensure!(kept.stderr.contains("1 ports"), "{kept:?}");
    // What waits can be deleted, and no longer waits then.
    host.overlay(&["fdb", "del", "--vni", "100", "02:00:00:00:00:78"])?;

    replug::port(host, workload, &Plan::new(VNI, 1))?;
    ensure!(host.netns.ifindex(port)? != before, "it should have another index");
    mends(host, &format!("port {port} is back"))?;
    talk.flow.go_on(50)?;
    let stations = host.overlay_json(&["fdb", "show"])?;
    let rows = stations.as_array().context("no array")?;
    let kept = rows.iter().find(|row| row["mac"] == "02:00:00:00:00:77").context("not kept")?;
    ensure!(kept["port"] == port && kept["origin"] == "static", "{stations}");
    ensure!(!stations.to_string().contains("02:00:00:00:00:78"), "{stations}");
    mesh::exchange(workload, &talk.workloads[1], 1 << 20)?;
    talk.flow.finish()
}

#[test]
fn a_port_that_is_waited_for_can_be_deleted() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    let workload = mesh::workload(&instance, VNI, 1)?;
    let port = workload.port.as_str();
    host.netns.ip(&format!("link del {port}"))?;
    host.overlay(&["port", "del", port])?;
    ensure!(host.overlay_json(&["port", "show"])? == json!([]));
    replug::port(host, &workload, &Plan::new(VNI, 1))?;
    quiet(host)?;
    ensure!(host.overlay_json(&["port", "show"])? == json!([]));
    host.overlay(&["vni", "del", "100"]).map(drop)
}

#[test]
fn renamed_ports_stay_in_their_segments() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &[])?;
    let host = lab.host(1);
    let other = host.workload(&Plan::new(200, 5))?;
    talk.instances[0].attach(200, &other)?;
    let (first, second) = (talk.workloads[0].port.as_str(), other.port.as_str());
    // They swap their names.
    host.netns.ip(&format!(
        "link set {first} name aside\nlink set {second} name {first}\nlink set aside name {second}"
    ))?;
    let (_, mended) = status(host)?;
    ensure!(mended.contains("is called"), "{mended}");
    quiet(host)?;
    let ports = host.overlay_json(&["port", "show"])?;
    let rows = ports.as_array().context("no array")?;
    for (name, vni) in [(first, 200), (second, 100)] {
        ensure!(rows.iter().any(|row| row["port"] == name && row["vni"] == vni), "{ports}");
    }
    talk.flow.go_on(50)?;
    // A device with the name of a port that is gone ousts it.
    host.netns.ip(&format!("link del {first}\nlink set {second} name {first}"))?;
    mends(host, &format!("forgot {first}, which is gone"))?;
    let ports = host.overlay_json(&["port", "show"])?;
    ensure!(ports.as_array().is_some_and(|rows| rows.len() == 1) && ports[0]["vni"] == 100, "{ports}");
    talk.flow.go_on(50)?;
    talk.flow.finish()
}

#[test]
fn a_port_whose_veth_moved_home_is_served_as_a_device() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let host = lab.host(1);
    mesh::exchange(&workloads[0], &workloads[1], 1 << 16)?;
    // Straight to the other end, frames would be lost from now on.
    workloads[0].netns.ip(&format!("link set eth0 netns {}", host.netns.name()))?;
    host.netns.ip("link set eth0 up\naddr add 10.1.0.1/24 dev eth0")?;
    mends(host, "the other end of its veth moved")?;
    ensure!(host.overlay_json(&["port", "show"])?[0]["kind"] == "device");
    traffic::ping(&host.netns, workloads[1].v4.into(), 3)?;
    traffic::tcp(&workloads[1].netns, &host.netns, workloads[0].v4.into(), 1 << 20)
}
