//! What commands say is what the data path does.

use std::{net::IpAddr, process::Command};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Mac},
    mesh,
    overlay::{self, Instance},
    process,
    topology::{Lab, Workload},
    traffic,
    wire::{Direction, Wire},
};

const VNI: u32 = 100;

#[test]
fn a_deleted_tunnel_carries_nothing() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let to: IpAddr = workloads[1].v4.into();
    traffic::ping(&workloads[0].netns, to, 3)?;
    lab.host(1).overlay(&["tunnel", "del", "--vni", "100", "--remote", "10.0.0.2"])?;
    traffic::no_ping(&workloads[0].netns, to)?;
    let uplink = Wire::open(&lab.host(1).netns, "u1", Direction::Both)?;
    traffic::no_ping(&workloads[0].netns, to)?;
    let sent = uplink.collect(|frame| frame.outgoing && frame.bytes.len() > 100)?;
    ensure!(sent.is_empty(), "{} frames went out without a tunnel", sent.len());
    let shown = lab.host(1).overlay_json(&["tunnel", "show"])?;
    ensure!(shown.as_array().is_some_and(Vec::is_empty), "{shown}");
    let status = lab.host(1).overlay_json(&["status"])?;
    ensure!(status["vteps"] == 0, "{status}");
    lab.host(1).overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.0.0.2"])?;
    traffic::ping(&workloads[0].netns, to, 3)
}

#[test]
fn a_deleted_tunnel_leaves_those_of_other_segments() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    instances[0].reach(200, lab.host(2))?;
    lab.host(1).overlay(&["fdb", "add", "--vni", "200", "02:ee:00:00:00:07", "--remote", "10.0.0.2"])?;
    lab.host(1).overlay(&["fdb", "add", "--vni", "100", "02:ee:00:00:00:07", "--remote", "10.0.0.2"])?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 3)?;
    lab.host(1).overlay(&["tunnel", "del", "--vni", "200", "--remote", "10.0.0.2"])?;
    let left = lab.host(1).overlay_json(&["fdb", "show", "--vni", "200"])?;
    ensure!(left == serde_json::json!([]), "{left}");
    let segment = lab.host(1).overlay_json(&["vni", "show", "200"])?;
    ensure!(segment[0]["remotes"] == serde_json::json!([]), "{segment}");
    let kept = lab.host(1).overlay_json(&["fdb", "show", "--vni", "100"])?;
    ensure!(kept.to_string().contains("02:ee:00:00:00:07"), "{kept}");
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 3)
}

#[test]
fn a_deleted_entry_steers_nothing() -> Result<()> {
    let lab = Lab::new(3)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let open = |workload: &Workload| Wire::open(&workload.netns, Workload::DEVICE, Direction::In);
    let (one, two, three) = (open(&workloads[0])?, open(&workloads[1])?, open(&workloads[2])?);
    let mac = "02:ee:00:00:00:07";
    let destination = Mac([0x02, 0xee, 0, 0, 0, 7]);
    let frame = |text: u8| Ethernet::new(workloads[0].mac, destination, ETHER_EXPERIMENT).frame(&[text; 50]);
    lab.host(1).overlay(&["fdb", "add", "--vni", "100", mac, "--remote", "10.0.0.3"])?;
    one.send(&frame(1))?;
    three.expect("the steered frame", |received| received.bytes == frame(1))?;
    lab.host(1).overlay(&["fdb", "del", "--vni", "100", mac])?;
    one.send(&frame(2))?;
    let seen =
        two.collect_to(|received| received.bytes == frame(2), |received| received.bytes == frame(1))?;
    ensure!(seen.is_empty(), "a frame with an entry was flooded");
    Ok(())
}

#[test]
fn a_flushed_segment_learns_again() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 2)?;
    let learned = || -> Result<usize> {
        let fdb = lab.host(1).overlay_json(&["fdb", "show", "--vni", "100"])?;
        let entries = fdb.as_array().context("no array")?;
        Ok(entries.iter().filter(|entry| entry["origin"] == "learned").count())
    };
    ensure!(learned()? >= 2, "{} learned", learned()?);
    workloads[1].netns.ip("link set eth0 down")?;
    workloads[0].netns.ip("link set eth0 down")?;
    lab.host(1).overlay(&["fdb", "flush", "--vni", "100"])?;
    ensure!(learned()? == 0, "{} learned after the flush", learned()?);
    for workload in &workloads {
        workload.netns.ip("link set eth0 up")?;
        workload.netns.settle("eth0")?;
    }
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 2)
}

#[test]
fn a_deleted_port_is_an_ordinary_device() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 2)?;
    lab.host(1).overlay(&["port", "del", &workloads[0].port])?;
    traffic::no_ping(&workloads[0].netns, workloads[1].v4.into())?;
    lab.host(1).netns.ip(&format!("addr add 10.1.0.99/24 dev {}", workloads[0].port))?;
    traffic::ping(&workloads[0].netns, "10.1.0.99".parse()?, 2)
}

#[test]
fn a_host_is_reached_from_outside_its_namespace() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let outside = |arguments: &[&str]| {
        let mut command = Command::new(overlay::binary()?);
        process::checked(command.args(["-o", "json", "-n", host.netns.name()]).args(arguments))
    };
    outside(&["up", "--uplink", "u1"])?;
    let instance = Instance::adopt(host)?;
    let seen: serde_json::Value = serde_json::from_str(&outside(&["status"])?)?;
    ensure!(seen == host.overlay_json(&["status"])?, "{seen}");
    ensure!(seen["instance"] == instance.name.as_str(), "{seen}");
    outside(&["down"])?;
    ensure!(!instance.pins().exists(), "pins are left");
    instance.is_down_already();
    Ok(())
}
