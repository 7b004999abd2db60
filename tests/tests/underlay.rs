//! What the underlay does to us: several uplinks, next hops that come late, change and go away.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Mac},
    mesh,
    netns::NetNs,
    overlay::Instance,
    process::wait_until,
    topology::{Host, Lab, Plan, Workload, cable},
    traffic,
    wire::{Direction, Wire},
};

const VNI: u32 = 100;
/// How long an answer of the FIB is used, and then some: a ping that is lost takes its time.
const FOLLOWED: Duration = Duration::from_secs(8);

/// Joins two hosts by one more link: `x` on the first, with 10.9.0.1, and `y` on the second, with 10.9.0.2.
fn second_link(one: &Host, two: &Host) -> Result<()> {
    cable(&one.netns, ("x", None), &two.netns, ("y", None))?;
    for (host, device, address) in [(one, "x", "10.9.0.1/24"), (two, "y", "10.9.0.2/24")] {
        host.netns.ip(&format!("address add {address} dev {device}\nlink set {device} up"))?;
    }
    one.netns.settle("x")?;
    two.netns.settle("y")
}

fn answers(from: &NetNs, to: IpAddr) -> bool {
    traffic::ping(from, to, 1).is_ok()
}

#[test]
fn each_remote_is_reached_by_its_own_uplink() -> Result<()> {
    let lab = Lab::new(3)?;
    let (one, two, three) = (lab.host(1), lab.host(2), lab.host(3));
    second_link(one, two)?;
    let hub = Instance::up(one, &["--uplink", "x"])?;
    let spoke = Instance::up(two, &["--uplink", "y"])?;
    let other = Instance::up(three, &[])?;
    let status = one.overlay_json(&["status"])?;
    ensure!(
        status["local"] == serde_json::json!([one.v4.to_string(), one.v6.to_string(), "10.9.0.1"]),
        "{status}"
    );

    one.overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.9.0.2"])?;
    two.overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.9.0.1"])?;
    hub.reach(VNI, three)?;
    other.reach(VNI, one)?;
    let workloads =
        [mesh::workload(&hub, VNI, 1)?, mesh::workload(&spoke, VNI, 2)?, mesh::workload(&other, VNI, 3)?];
    mesh::exchange(&workloads[0], &workloads[1], 1 << 20)?;
    mesh::exchange(&workloads[0], &workloads[2], 1 << 20)?;
    let tunnels = one.overlay_json(&["tunnel", "show"])?;
    let mut devices: Vec<_> =
        tunnels.as_array().context("no array")?.iter().map(|row| &row["next_hop"]["dev"]).collect();
    devices.sort_by_key(ToString::to_string);
    ensure!(devices == [&one.uplink, "x"], "{tunnels}");
    Ok(())
}

#[test]
fn a_remote_that_comes_up_late_is_reached() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    two.netns.ip(&format!("link set {} down", two.uplink))?;
    let first = Instance::up(one, &[])?;
    first.reach(VNI, two)?;
    let ours = mesh::workload(&first, VNI, 1)?;
    ensure!(!answers(&ours.netns, Plan::new(VNI, 2).v4.into()), "nobody is there yet");

    two.netns.ip(&format!("link set {} up", two.uplink))?;
    two.netns.settle(&two.uplink)?;
    let second = Instance::up(two, &[])?;
    second.reach(VNI, one)?;
    let theirs = mesh::workload(&second, VNI, 2)?;
    wait_until(Instant::now() + Duration::from_secs(10), || {
        Ok(answers(&ours.netns, theirs.v4.into()).then_some(()))
    })?;
    mesh::exchange(&ours, &theirs, 1 << 20)
}

#[test]
fn a_changed_next_hop_is_followed_with_no_agent() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 16)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let moved = Mac([0x02, 0, 0x0a, 0, 0, 0x99]);
    two.netns.ip(&format!("link set {} address {moved}", two.uplink))?;
    one.netns.ip(&format!("neighbour replace {} lladdr {moved} dev {} nud reachable", two.v4, one.uplink))?;
    wait_until(Instant::now() + FOLLOWED, || {
        Ok(answers(&workloads[0].netns, workloads[1].v4.into()).then_some(()))
    })?;
    let tunnels = one.overlay_json(&["tunnel", "show"])?;
    ensure!(tunnels[0]["next_hop"]["mac"] == moved.to_string(), "{tunnels}");
    Ok(())
}

#[test]
fn a_lost_route_is_a_counted_drop_until_it_is_back() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 16)?;
    let one = lab.host(1);
    let before = one.drops()?;
    one.netns.ip(&format!("route del 10.0.0.0/24 dev {}", one.uplink))?;
    let lost = || {
        let _ = traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 1);
        Ok(one.drops_since(&before)?.contains_key("no-route").then_some(()))
    };
    wait_until(Instant::now() + FOLLOWED, lost)?;
    one.netns.ip(&format!("route add 10.0.0.0/24 dev {} src {}", one.uplink, one.v4))?;
    wait_until(Instant::now() + FOLLOWED, || {
        Ok(answers(&workloads[0].netns, workloads[1].v4.into()).then_some(()))
    })
}

#[test]
fn forwarding_goes_on_when_the_fib_stops_to_answer() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 16)?;
    for host in &lab.hosts {
        host.netns.sysctl("ipv4/conf/lo/forwarding", "0")?;
        let status = host.overlay_json(&["status"])?;
        ensure!(status["warnings"].to_string().contains("lo.forwarding"), "{status}");
    }
    mesh::exchange(&workloads[0], &workloads[1], 1 << 20)
}

#[test]
fn clsact_does_what_tcx_does() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &["--tc", "clsact"])?;
    let workloads = mesh::segment(&instances, VNI)?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 20)?;
    let qdiscs = |host: &Host| host.netns.run(&["tc", "qdisc", "show"]);
    ensure!(qdiscs(lab.host(1))?.matches("clsact").count() == 2, "one for the uplink, one for the port");
    for instance in instances {
        let host = instance.host;
        instance.down()?;
        ensure!(!qdiscs(host)?.contains("clsact"), "{}", qdiscs(host)?);
    }
    Ok(())
}

#[test]
fn neighbours_that_the_kernel_forgot_are_resolved_again() -> Result<()> {
    let lab = Lab::new(3)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 16)?;
    let one = lab.host(1);
    // Taking the link down flushes the kernel's neighbours, those that it was asked to keep resolved too.
    one.netns.ip(&format!("link set {0} down\nlink set {0} up", one.uplink))?;
    one.netns.settle(&one.uplink)?;
    for workload in &workloads {
        workload.netns.ip("neighbour flush all")?;
    }
    for workload in &workloads[1..] {
        traffic::ping(&workloads[0].netns, workload.v4.into(), 3)?;
    }
    Ok(())
}

#[test]
fn frames_of_any_kind_wait_until_their_next_hop_is_resolved() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 16)?;
    let sender = Wire::open(&workloads[0].netns, Workload::DEVICE, Direction::In)?;
    let receiver = Wire::open(&workloads[1].netns, Workload::DEVICE, Direction::In)?;
    // Longer than what was resolved before is used, several times.
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        for destination in [workloads[1].mac, Mac::BROADCAST] {
            lab.host(1).netns.ip("neighbour flush all")?;
            let frame = Ethernet::new(workloads[0].mac, destination, ETHER_EXPERIMENT).frame(&[7; 60]);
            sender.send(&frame)?;
            receiver.expect("the frame", |received| received.bytes == frame)?;
        }
    }
    Ok(())
}
