//! One host, several instances, other users of its hooks, devices that come and go.

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    mesh,
    overlay::{EXISTS, Instance, MISSING},
    topology::{Host, Lab, Plan},
    traffic,
};

const VNI: u32 = 100;

/// A second instance, `b`, in the namespace of a host that has one already; on another UDP port.
fn second<'a>(host: &'a Host, words: &[&str]) -> Result<Second<'a>> {
    host.overlay(
        &[&["--instance", &name(host), "up", "--uplink", &host.uplink, "--port", "4790"], words].concat(),
    )?;
    Ok(Second { host })
}

/// Instances are of the whole machine, and tests run side by side.
fn name(host: &Host) -> String {
    format!("b-{}", host.netns.name())
}

struct Second<'a> {
    host: &'a Host,
}

impl Second<'_> {
    fn overlay(&self, words: &[&str]) -> Result<String> {
        self.host.overlay(&[&["--instance", &name(self.host)], words].concat())
    }
}

impl Drop for Second<'_> {
    fn drop(&mut self) {
        let _ = self.overlay(&["down", "--missing-ok"]);
    }
}

fn forwarding(host: &Host) -> Result<String> {
    let of = |family| format!("/proc/sys/net/{family}/conf/lo/forwarding");
    Ok(host.netns.run(&["cat", &of("ipv4"), &of("ipv6")])?.replace('\n', ""))
}

#[test]
fn an_instance_goes_down_beside_another() -> Result<()> {
    let lab = Lab::new(2)?;
    let mut instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let others = lab.hosts.iter().map(|host| second(host, &[])).collect::<Result<Vec<_>>>()?;
    for (other, remote) in others.iter().zip(["10.0.0.2", "10.0.0.1"]) {
        other.overlay(&["tunnel", "add", "--vni", "7", "--remote", remote])?;
    }
    drop(others);
    for host in &lab.hosts {
        host.netns.ip("neighbour flush all")?;
        ensure!(forwarding(host)? == "11", "the first instance needs it");
    }
    for workload in &workloads {
        workload.netns.ip("neighbour flush all")?;
    }
    mesh::exchange(&workloads[0], &workloads[1], 1 << 20)?;

    let first = instances.remove(0);
    let host = first.host;
    let other = second(host, &[])?;
    first.down()?;
    ensure!(forwarding(host)? == "11", "the second instance needs it");
    other.overlay(&["down"])?;
    ensure!(forwarding(host)? == "00", "nobody needs it any more");
    Ok(())
}

#[test]
fn instances_share_neither_uplinks_nor_ports() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    let workload = mesh::workload(&instance, VNI, 1)?;
    let name = name(host);
    let up = ["--instance", &name, "up", "--uplink", &host.uplink, "--exist-ok"];
    ensure!(host.overlay_fails(&up)?.code == EXISTS, "an uplink is served once on each UDP port");
    let up = ["--instance", &name, "up", "--uplink", &workload.port, "--local", "10.0.0.1", "--port", "4790"];
    ensure!(host.overlay_fails(&up)?.code == EXISTS, "a port is no uplink");

    let other = second(host, &[])?;
    let add = ["--instance", &name, "port", "add", &workload.port, "--vni", "7", "--exist-ok"];
    ensure!(host.overlay_fails(&add)?.code == EXISTS, "a device is a port once");
    let add = ["--instance", &name, "port", "add", &host.uplink, "--vni", "7"];
    host.overlay_fails(&add)?;
    other.overlay(&["down"]).map(drop)
}

#[test]
fn clsact_is_shared_with_others() -> Result<()> {
    let lab = Lab::new(2)?;
    for host in &lab.hosts {
        host.netns.run(&["tc", "qdisc", "add", "dev", &host.uplink, "clsact"])?;
    }
    let instances = mesh::up(&lab, &["--tc", "clsact"])?;
    let workloads = mesh::segment(&instances, VNI)?;
    second(lab.host(1), &["--tc", "clsact"])?.overlay(&["down"])?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 20)?;
    for instance in instances {
        let host = instance.host;
        instance.down()?;
        let filters = host.netns.run(&["tc", "filter", "show", "dev", &host.uplink, "ingress"])?;
        ensure!(filters.is_empty(), "{filters}");
        let qdiscs = host.netns.run(&["tc", "qdisc", "show", "dev", &host.uplink])?;
        ensure!(qdiscs.contains("clsact"), "it was there before us: {qdiscs}");
    }
    Ok(())
}

#[test]
fn a_device_with_the_index_of_a_gone_port_is_no_port() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    let workload = mesh::workload(&instance, VNI, 1)?;
    traffic::no_ping(&workload.netns, Plan::new(VNI, 9).v4.into())?;
    ensure!(host.overlay_json(&["fdb", "show"])?.to_string().contains(&workload.mac.to_string()));
    let index = host.netns.ifindex(&workload.port)?;
    host.netns.ip(&format!(
        "link del {}\nlink add stranger index {index} type veth peer name other",
        workload.port
    ))?;
    ensure!(host.netns.ifindex("stranger")? == index);

    ensure!(host.overlay_json(&["port", "show"])? == serde_json::json!([]));
    ensure!(host.overlay_json(&["fdb", "show"])? == serde_json::json!([]));
    let vni = host.overlay_json(&["vni", "show"])?;
    ensure!(vni[0]["ports"] == serde_json::json!([]), "{vni}");
    host.overlay(&["port", "add", "stranger", "--vni", "200"])?;
    host.overlay(&["port", "del", "stranger"])?;
    ensure!(host.overlay_fails(&["port", "del", "stranger"])?.code == MISSING);
    Ok(())
}

#[test]
fn an_agent_adopts_only_what_it_was_asked_for() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    let refused = host.overlay_fails(&["run", "--uplink", &host.uplink, "--port", "4790"])?;
    ensure!(
        refused.code == EXISTS && refused.stderr.contains("other uplinks or another VTEP"),
        "{refused:?}"
    );
    ensure!(host.overlay_json(&["status"])?["port"] == 4789);
    instance.down().context("it is still there")
}
