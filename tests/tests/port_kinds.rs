//! Devices of all kinds as ports.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    machine::Machine,
    mesh,
    netns::NetNs,
    overlay::{EXISTS, FAILED, Instance, MISSING, USAGE},
    topology::{Host, Lab, Plan, Workload},
    traffic,
};

const VNI: u32 = 100;

fn a_tap_is_a_port(offloads: bool) -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let machine = Machine::start(lab.host(1), &Plan::new(VNI, 1), offloads)?;
    instances[0].attach(VNI, &machine.workload)?;
    let neighbour = mesh::workload(&instances[0], VNI, 3)?;
    let remote = mesh::workload(&instances[1], VNI, 2)?;
    let far = Machine::start(lab.host(2), &Plan::new(VNI, 4), offloads)?;
    instances[1].attach(VNI, &far.workload)?;
    for other in [&neighbour, &remote, &far.workload] {
        mesh::exchange(&machine.workload, other, 4 << 20)?;
    }
    let shown = lab.host(1).overlay_json(&["port", "show"])?;
    let ports = shown.as_array().context("no array")?;
    ensure!(ports.iter().any(|row| row["port"] == "t100-1" && row["kind"] == "device"), "{shown}");
    Ok(())
}

#[test]
fn a_tap_whose_frames_are_whole_is_a_port() -> Result<()> {
    a_tap_is_a_port(false)
}

#[test]
fn a_tap_whose_frames_are_unfinished_is_a_port() -> Result<()> {
    a_tap_is_a_port(true)
}

/// A workload behind a bridge of the host, and not yet in any segment.
fn behind_bridge(host: &Host, number: u8) -> Result<Workload> {
    let workload = host.workload(&Plan::new(VNI, number))?;
    host.netns.ip(&format!("link set {} master br0", workload.port))?;
    Ok(workload)
}

#[test]
fn a_linux_bridge_is_in_a_segment_by_a_veth() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let host = lab.host(1);
    host.netns.ip("link add br0 type bridge mcast_snooping 0\nlink set br0 up")?;
    host.netns.ip(
        "link add vp type veth peer name vb\nlink set vb mtu 1450 master br0 up\nlink set vp mtu 1450 up",
    )?;
    host.overlay(&["port", "add", "vp", "--vni", "100"])?;
    let bridged = [behind_bridge(host, 1)?, behind_bridge(host, 3)?];
    let remote = mesh::workload(&instances[1], VNI, 2)?;
    let local = mesh::workload(&instances[0], VNI, 4)?;
    for workload in &bridged {
        mesh::exchange(workload, &remote, 1 << 20)?;
        mesh::exchange(workload, &local, 1 << 20)?;
    }
    mesh::exchange(&bridged[0], &bridged[1], 1 << 20)
}

#[test]
fn what_is_in_a_bridge_is_refused_and_missed() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    host.netns.ip("link add br0 type bridge mcast_snooping 0\nlink set br0 up")?;
    let member = behind_bridge(host, 1)?;
    let before = host.configuration()?;
    for (device, what) in [("br0", "is a bridge"), (member.port.as_str(), "is a member of a bridge")] {
        let refused = host.overlay_fails(&["port", "add", device, "--vni", "100"])?;
        ensure!(refused.code == FAILED && refused.stderr.contains(what), "{refused:?}");
        ensure!(refused.stderr.contains("make a veth pair"), "{refused:?}");
        ensure!(refused.stderr.lines().count() == 1, "{refused:?}");
    }
    ensure!(host.configuration()? == before, "something changed");
    host.netns.ip(&format!("link set {} nomaster", member.port))?;
    instance.attach(VNI, &member)?;
    host.netns.ip(&format!("link set {} master br0", member.port))?;
    let status = host.overlay_json(&["status"])?;
    ensure!(status["warnings"].to_string().contains("is a member of a bridge"), "{status}");
    Ok(())
}

/// A workload of its own on a macvlan device on another workload's.
fn on_macvlan(parent: &Workload, number: u8) -> Result<Workload> {
    let plan = Plan::new(VNI, number);
    let netns = NetNs::new(&format!("mv{number}"))?;
    parent.netns.ip(&format!(
        "link add mv{number} link eth0 address {} type macvlan mode bridge\n\
         link set mv{number} netns {} name eth0",
        plan.mac,
        netns.name()
    ))?;
    netns.ip(&format!(
        "link set eth0 mtu 1450 up\naddr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad",
        plan.v4, plan.v6
    ))?;
    netns.settle("eth0")?;
    Ok(Workload { netns, port: parent.port.clone(), mac: plan.mac, v4: plan.v4, v6: plan.v6 })
}

#[test]
fn a_macvlan_is_a_port_and_macvlans_are_workloads() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let host = lab.host(1);
    // All of what its parent receives is the port's: but for multicast, which a macvlan has to be told.
    let parent = host.workload(&Plan::new(VNI, 1))?;
    host.netns.ip(&format!(
        "link add mvp link {} type macvlan mode passthru\nlink set mvp mtu 1450 allmulticast on up",
        parent.port
    ))?;
    host.overlay(&["port", "add", "mvp", "--vni", "100"])?;
    let remote = mesh::workload(&instances[1], VNI, 2)?;
    mesh::exchange(&parent, &remote, 1 << 20)?;
    let inner = [on_macvlan(&parent, 5)?, on_macvlan(&remote, 6)?];
    mesh::exchange(&inner[0], &inner[1], 1 << 20)?;
    mesh::exchange(&inner[0], &remote, 1 << 20)?;
    mesh::exchange(&inner[1], &parent, 1 << 20)
}

/// Exchanges with the host itself, both ways.
fn exchange_with_host(host: &Host, address: IpAddr, workload: &Workload) -> Result<()> {
    let theirs = if address.is_ipv4() { workload.v4.into() } else { workload.v6.into() };
    traffic::ping(&host.netns, theirs, 3)?;
    for (from, to, address) in
        [(&host.netns, &workload.netns, theirs), (&workload.netns, &host.netns, address)]
    {
        traffic::tcp(from, to, address, 4 << 20)?;
        traffic::udp(from, to, address, &[0, 1000, 4000, 60000])?;
    }
    Ok(())
}

#[test]
fn the_host_itself_is_in_a_segment() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let host = lab.host(1);
    let devices = host.netns.devices()?;
    let addresses = ["10.1.0.101/24", "fd01::101/64"];
    let create = ["port", "add", "--create", "seg0", "--vni", "100", "--address", addresses[0], addresses[1]];
    host.overlay(&create)?;
    let port = &host.overlay_json(&["port", "show"])?[0];
    ensure!(port["port"] == "seg0-p" && port["created"] == "seg0" && port["kind"] == "device", "{port}");
    let link = host.netns.run(&["ip", "link", "show", "seg0"])?;
    ensure!(link.contains("mtu 1450 "), "what fits: {link}");
    host.netns.settle("seg0")?;

    let remote = mesh::workload(&instances[1], VNI, 2)?;
    let local = mesh::workload(&instances[0], VNI, 1)?;
    for workload in [&remote, &local] {
        for address in ["10.1.0.101", "fd01::101"] {
            exchange_with_host(host, address.parse()?, workload)?;
        }
    }
    let again = host.overlay_fails(&create)?;
    ensure!(again.code == EXISTS, "{again:?}");
    host.overlay(&[&create[..], &["--exist-ok"]].concat())?;

    host.overlay(&["port", "del", "seg0"])?;
    host.overlay(&["port", "del", &local.port])?;
    let mut left = host.netns.devices()?;
    left.retain(|device| *device != local.port);
    ensure!(left == devices, "{left:?}");
    ensure!(host.overlay_fails(&["port", "del", "seg0"])?.code == MISSING);
    Ok(())
}

#[test]
fn hosts_talk_by_devices_made_for_them() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    for host in &lab.hosts {
        let address = format!("10.1.0.{}/24", host.number);
        host.overlay(&[
            "port",
            "add",
            "seg0",
            "--create",
            "--vni",
            "100",
            "--address",
            &address,
            "--mtu",
            "1400",
        ])?;
        host.netns.settle("seg0")?;
    }
    let (one, two) = (&lab.host(1).netns, &lab.host(2).netns);
    traffic::tcp(one, two, "10.1.0.2".parse()?, 8 << 20)?;
    traffic::tcp(two, one, "10.1.0.1".parse()?, 8 << 20)?;
    for instance in instances {
        let host = instance.host;
        instance.down()?;
        ensure!(host.netns.devices()? == ["lo", &host.uplink], "{:?}", host.netns.devices()?);
    }
    Ok(())
}

#[test]
fn what_cannot_be_made_changes_nothing() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    host.netns.ip("link add taken type veth peer name free-p")?;
    let before = (host.configuration()?, host.netns.run(&["ip", "-o", "address"])?);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["taken"], EXISTS, "there is a device taken already"),
        (&["free"], EXISTS, "there is a device free-p already"),
        (&["u1"], EXISTS, "there is a device u1 already"),
        (&["fourteen-bytes"], USAGE, "13 bytes"),
        (&["much-too-long-for-a-device"], USAGE, "15 bytes"),
        (&["a/b"], USAGE, "cannot be a device's name"),
        (&["seg0", "--address", "10.1.0.1"], USAGE, "no length of a prefix"),
        (&["seg0", "--address", "10.1.0.1/33"], USAGE, "0 to 32 bits"),
        (&["seg0", "--address", "host/24"], USAGE, "no IPv4 or IPv6 address"),
        (&["seg0", "--address", "224.0.0.1/24"], USAGE, "cannot have"),
        (&["seg0", "--mtu", "67"], USAGE, "68 or more"),
        (&["seg0", "--address", "fd01::1/64", "--mtu", "1279"], USAGE, "1280 or more"),
        (&["seg0", "--mtu", "1451"], USAGE, "1450 does"),
        (&["seg0", "--address", "10.1.0.1/24", "10.1.0.1/24"], FAILED, "10.1.0.1/24"),
    ];
    for (words, code, what) in cases {
        let arguments = [&["port", "add", "--vni", "100", "--create"], *words].concat();
        let refused = host.overlay_fails(&arguments)?;
        ensure!(refused.code == *code && refused.stderr.contains(what), "{words:?}: {refused:?}");
        ensure!(refused.stderr.lines().count() == 1, "{refused:?}");
    }
    let alone = host.overlay_fails(&["port", "add", "free-p", "--vni", "100", "--mtu", "1400"])?;
    ensure!(alone.code == USAGE, "{alone:?}");
    let after = (host.configuration()?, host.netns.run(&["ip", "-o", "address"])?);
    ensure!(before == after, "before {before:?}\nafter {after:?}");
    Ok(())
}
