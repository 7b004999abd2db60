//! An underlay that changes under a running instance, with no agent: the next command mends it, and says so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    dialogue::Dialogue,
    mending::{VNI, mends, quiet, status, talk, warns},
    mesh,
    overlay::Instance,
    process::wait_until,
    replug,
    topology::{Lab, Plan},
};
use serde_json::json;

const FOLLOWED: Duration = Duration::from_secs(8);

#[test]
fn a_renamed_uplink_is_followed() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &[])?;
    let host = lab.host(1);
    host.netns.ip("link set u1 name wan")?;
    talk.flow.go_on(50)?;
    mends(host, "uplink u1 is called wan now")?;
    ensure!(host.overlay_json(&["status"])?["uplinks"][0]["dev"] == "wan");
    talk.flow.go_on(50)?;
    // By its new name it is waited for, too.
    let other = host.overlay_fails(&["run", "--uplink", "u1"])?;
    ensure!(other.stderr.contains("other uplinks"), "{other:?}");
    talk.flow.finish()
}

fn an_uplink_that_was_made_again_is_served(arguments: &[&str]) -> Result<()> {
    let lab = Lab::new(3)?;
    let talk = talk(&lab, arguments)?;
    let host = lab.host(1);
    let before = host.netns.ifindex(&host.uplink)?;
    host.netns.ip("link del u1")?;
    warns(host, "uplink u1 is gone")?;
    warns(host, "our address 10.0.0.1 is none of this host's")?;
    warns(host, "there is no route to 10.0.0.2")?;
    let uplink = &host.overlay_json(&["status"])?["uplinks"][0];
    ensure!(uplink["present"] == false && uplink["dev"] == "u1", "{uplink}");

    replug::uplink(&lab, host)?;
    ensure!(host.netns.ifindex(&host.uplink)? != before, "it should have another index");
    mends(host, "uplink u1 is back")?;
    talk.flow.go_on(50)?;
    let after = &host.overlay_json(&["status"])?["uplinks"][0];
    let xdp = if arguments.contains(&"native") { "native" } else { "off" };
    ensure!(after["present"] == true && after["xdp"] == xdp, "{after}");
    mesh::exchange(&talk.workloads[0], &talk.workloads[2], 1 << 20)?;
    talk.flow.finish()
}

#[test]
fn an_uplink_that_was_made_again_is_served_by_tcx() -> Result<()> {
    an_uplink_that_was_made_again_is_served(&[])
}

#[test]
fn an_uplink_that_was_made_again_is_served_by_clsact() -> Result<()> {
    an_uplink_that_was_made_again_is_served(&["--tc", "clsact"])
}

#[test]
fn an_uplink_that_was_made_again_is_served_by_native_xdp() -> Result<()> {
    an_uplink_that_was_made_again_is_served(&["--xdp", "native"])
}

#[test]
fn an_uplink_that_was_down_goes_on() -> Result<()> {
    let lab = Lab::new(3)?;
    let talk = talk(&lab, &[])?;
    let host = lab.host(1);
    host.netns.ip("link set u1 down")?;
    warns(host, "uplink u1 is down")?;
    // Going down, it lost its IPv6 address.
    host.netns.ip(&format!("link set u1 up\naddr add {}/64 dev u1 nodad", host.v6))?;
    host.netns.settle("u1")?;
    talk.flow.go_on(50)?;
    let (status, _) = status(host)?;
    ensure!(status["warnings"] == json!([]), "{status}");
    let kept = host.netns.run(&["ip", "neighbour", "show", "dev", "u1"])?;
    ensure!(kept.contains("managed"), "the kernel keeps next hops resolved again: {kept}");
    talk.flow.finish()
}

#[test]
fn an_uplink_without_carrier_is_named() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &[])?;
    lab.host(2).netns.ip("link set u2 down")?;
    warns(lab.host(1), "uplink u1 has no carrier")?;
    lab.host(2).netns.ip("link set u2 up")?;
    lab.host(1).netns.settle("u1")?;
    talk.flow.go_on(50)?;
    talk.flow.finish()
}

#[test]
fn another_mac_address_of_an_uplink_is_noted() -> Result<()> {
    let lab = Lab::new(3)?;
    let talk = talk(&lab, &["--xdp", "native"])?;
    let host = lab.host(1);
    host.netns.sysctl("ipv4/conf/u1/arp_notify", "1")?;
    host.netns.ip("link set u1 address 02:00:0a:00:00:99")?;
    mends(host, "uplink u1 has another MAC address")?;
    talk.flow.go_on(50)?;
    talk.flow.finish()
}

/// Gives host 1 the address 10.0.0.101 instead of its own, and lets the others know.
fn readdress(lab: &Lab) -> Result<()> {
    let host = lab.host(1);
    host.netns.ip(&format!("addr del {}/24 dev u1\naddr add 10.0.0.101/24 dev u1", host.v4))?;
    for other in &lab.hosts[1..] {
        // From its old address they would take nothing any more.
        other.overlay(&["tunnel", "del", "--vni", "100", "--remote", "10.0.0.1"])?;
        other.overlay(&["tunnel", "add", "--vni", "100", "--remote", "10.0.0.101"])?;
    }
    Ok(())
}

#[test]
fn another_address_of_an_uplink_is_ours() -> Result<()> {
    let lab = Lab::new(3)?;
    let talk = talk(&lab, &[])?;
    let host = lab.host(1);
    readdress(&lab)?;
    mends(host, "uplink u1 has the address 10.0.0.101 instead of 10.0.0.1")?;
    let (status, _) = status(host)?;
    ensure!(status["local"].to_string().contains("10.0.0.101"), "{status}");
    ensure!(!status["local"].to_string().contains("10.0.0.1\""), "{status}");
    talk.flow.go_on(50)?;
    mesh::exchange(&talk.workloads[0], &talk.workloads[2], 1 << 20)?;
    talk.flow.finish()
}

#[test]
fn a_named_address_stays_ours_and_is_missed() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &["--local", "10.0.0.1"])?;
    host.netns.ip("addr del 10.0.0.1/24 dev u1\naddr add 10.0.0.101/24 dev u1")?;
    warns(host, "our address 10.0.0.1 is none of this host's")?;
    ensure!(host.overlay_json(&["status"])?["local"] == json!(["10.0.0.1"]));
    host.netns.ip("addr add 10.0.0.1/24 dev u1")?;
    ensure!(host.overlay_json(&["status"])?["warnings"] == json!([]));
    instance.down()
}

#[test]
fn another_mtu_of_an_uplink_is_followed() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &[])?;
    let host = lab.host(1);
    for (host, uplink) in [(lab.host(1), "u1"), (lab.host(2), "u2")] {
        host.netns.ip(&format!("link set {uplink} mtu 1600"))?;
    }
    wait_until(Instant::now() + FOLLOWED, || {
        talk.flow.go_on(1)?;
        Ok((host.overlay_json(&["tunnel", "show"])?[0]["next_hop"]["mtu"] == 1600).then_some(()))
    })?;
    quiet(host)?;
    talk.flow.finish()
}

/// Removes the pinned link of a program, and the program from its device with it.
fn detach(instance: &Instance<'_>, device: &str, program: &str) -> Result<()> {
    let index = instance.host.netns.ifindex(device)?;
    let pin = instance.pins().join("links").join(format!("{index}-{program}"));
    std::fs::remove_file(&pin).with_context(|| pin.display().to_string())
}

#[test]
fn detached_programs_are_attached_again() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &["--xdp", "native"])?;
    let (host, instance) = (lab.host(1), &talk.instances[0]);
    detach(instance, "u1", "from_uplink")?;
    mends(host, "uplink u1 had lost its program")?;
    talk.flow.go_on(50)?;
    detach(instance, "u1", "xdp")?;
    mends(host, "uplink u1 had lost its XDP program")?;
    ensure!(host.overlay_json(&["status"])?["uplinks"][0]["xdp"] == "native");
    talk.flow.go_on(50)?;
    let port = &talk.workloads[0].port;
    detach(instance, port, "from_port")?;
    mends(host, &format!("port {port} had lost its program"))?;
    talk.flow.go_on(50)?;
    talk.flow.finish()
}

#[test]
fn removed_filters_are_attached_again() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &["--tc", "clsact"])?;
    let host = lab.host(1);
    let port = &talk.workloads[0].port;
    for device in ["u1", port] {
        host.netns.run(&["tc", "filter", "del", "dev", device, "ingress"])?;
    }
    mends(host, "uplink u1 had lost its program")?;
    talk.flow.go_on(50)?;
    host.netns.run(&["tc", "qdisc", "del", "dev", port, "clsact"])?;
    mends(host, &format!("port {port} had lost its program"))?;
    talk.flow.go_on(50)?;
    talk.flow.finish()?;
    for instance in talk.instances {
        instance.down()?;
    }
    let qdiscs = host.netns.run(&["tc", "qdisc", "show"])?;
    ensure!(!qdiscs.contains("clsact"), "{qdiscs}");
    Ok(())
}

#[test]
fn forwarding_of_the_loopback_device_is_turned_on_again() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &[])?;
    let host = lab.host(1);
    host.netns.sysctl("ipv4/conf/lo/forwarding", "0")?;
    mends(host, "turned forwarding of the loopback device on again")?;
    talk.flow.go_on(50)?;
    talk.flow.finish()?;
    for instance in talk.instances {
        instance.down()?;
    }
    let left = host.netns.run(&["cat", "/proc/sys/net/ipv4/conf/lo/forwarding"])?;
    ensure!(left.trim() == "0", "it was off before");
    Ok(())
}

#[test]
fn a_route_that_no_uplink_serves_is_named() -> Result<()> {
    let lab = Lab::new(2)?;
    let talk = talk(&lab, &[])?;
    let host = lab.host(1);
    let side = host.workload(&Plan::new(7, 9))?;
    host.netns.ip(&format!("route add 10.0.0.2/32 dev {}", side.port))?;
    warns(host, &format!("the route to 10.0.0.2 leaves by {}, which is no uplink", side.port))?;
    host.netns.ip(&format!("route del 10.0.0.2/32 dev {}", side.port))?;
    talk.flow.go_on(50)?;
    quiet(host)?;
    talk.flow.finish()
}

#[test]
fn a_route_that_moved_to_another_uplink_is_followed() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    replug::second_link(&lab)?;
    let instances = [Instance::up(one, &["--uplink", "x"])?, Instance::up(two, &["--uplink", "y"])?];
    let workloads = mesh::segment(&instances, VNI)?;
    let flow = Dialogue::start(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into())?;
    flow.go_on(50)?;
    one.netns.ip("route add 10.0.0.2/32 via 10.9.0.2 dev x src 10.0.0.1")?;
    mends(one, "the route to 10.0.0.2 leaves by device")?;
    let shown = || one.overlay_json(&["tunnel", "show"]);
    wait_until(Instant::now() + FOLLOWED, || {
        flow.go_on(1)?;
        Ok((shown()?[0]["next_hop"]["dev"] == "x").then_some(()))
    })?;
    flow.go_on(50)?;
    flow.finish()
}
