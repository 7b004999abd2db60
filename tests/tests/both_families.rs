//! One VTEP with addresses of both families: tunnels of either in one segment, and what is refused.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    bench::udp_frame,
    frame::{Arp, ETHER_EXPERIMENT, ETHER_IPV6, Ethernet, IP_ICMP6, Ipv4, Ipv6, Mac, Network, Outer, icmp6},
    mesh,
    overlay::{EXISTS, FAILED, Instance, USAGE},
    process::wait_until,
    topology::{Host, Lab, Underlay, Workload},
    traffic,
    wire::{ARRIVAL, Direction, Received, Wire},
};

const VNI: u32 = 100;

/// Hosts 1 and 2 reach each other over IPv6, and host 3 over IPv4.
fn mixed(lab: &Lab) -> Result<(Vec<Instance<'_>>, Vec<Workload>)> {
    let instances = mesh::up(lab, &[])?;
    for (here, there) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)] {
        let other = lab.host(there);
        let remote: IpAddr = if here + there == 3 { other.v6.into() } else { other.v4.into() };
        let words = ["tunnel", "add", "--vni", "100", "--remote", &remote.to_string()];
        lab.host(here).overlay(&words)?;
    }
    let workloads = instances.iter().map(|instance| {
        let plan = overlay_tests::topology::Plan {
            mtu: Some(1430),
            ..overlay_tests::topology::Plan::new(VNI, instance.host.number)
        };
        let workload = instance.host.workload(&plan)?;
        instance.attach(VNI, &workload)?;
        Ok(workload)
    });
    let workloads = workloads.collect::<Result<_>>()?;
    Ok((instances, workloads))
}

#[test]
fn tunnels_of_either_family_carry_one_segment() -> Result<()> {
    let lab = Lab::new(3)?;
    let (instances, workloads) = mixed(&lab)?;
    for (one, two) in [(0, 1), (0, 2), (1, 2)] {
        mesh::exchange(&workloads[one], &workloads[two], 4 << 20)?;
    }
    let status = instances[0].host.overlay_json(&["status"])?;
    ensure!(status["local"] == serde_json::json!(["10.0.0.1", "fd00::1"]), "{status}");
    let fdb = instances[0].host.overlay_json(&["fdb", "show"])?;
    let entries = fdb.as_array().context("no array")?;
    for (workload, remote) in [(&workloads[1], "fd00::2"), (&workloads[2], "10.0.0.3")] {
        let learned = entries.iter().find(|entry| entry["mac"] == workload.mac.to_string());
        ensure!(learned.is_some_and(|entry| entry["remote"] == remote), "{fdb}");
    }
    Ok(())
}

fn carries<N: Network>(received: &Received, inner: &[u8]) -> bool {
    received.outgoing && Outer::<N>::parse(&received.bytes).is_ok_and(|(_, found)| found == inner)
}

#[test]
fn a_flood_reaches_both_families_with_one_copy_each() -> Result<()> {
    let lab = Lab::with(3, Underlay { static_neighbours: true, ..Underlay::default() })?;
    let (_instances, workloads) = mixed(&lab)?;
    let open = |workload: &Workload| Wire::open(&workload.netns, Workload::DEVICE, Direction::In);
    let sender = open(&workloads[0])?;
    let source = workloads[0].mac;
    let uplink = Wire::open(&lab.host(1).netns, "u1", Direction::Both)?;
    let frames = [
        udp_frame(source, Mac::BROADCAST, 200),
        udp_frame(source, Mac([1, 0, 0x5e, 0, 0, 9]), 1444),
        Arp::request((source, workloads[0].v4), [10, 1, 0, 77].into()),
        Ethernet::new(source, Mac::BROADCAST, ETHER_EXPERIMENT).frame(&[3; 60]),
        Ethernet::new(source, Mac([2, 0, 0, 0, 9, 9]), ETHER_IPV6).frame(&[0x60; 100]),
    ];
    for (index, frame) in frames.iter().enumerate() {
        let receivers = [open(&workloads[1])?, open(&workloads[2])?];
        sender.send(frame)?;
        for (number, receiver) in receivers.iter().enumerate() {
            receiver
                .expect("the copy", |received| received.bytes == *frame)
                .with_context(|| format!("frame {index}, {number}"))?;
            let more = receiver.collect(|received| received.bytes == *frame)?;
            ensure!(more.is_empty(), "frame {index}: {} more copies", more.len());
        }
        let copies = uplink
            .collect(|received| carries::<Ipv4>(received, frame) || carries::<Ipv6>(received, frame))?;
        let over_ipv6 = copies.iter().filter(|copy| carries::<Ipv6>(copy, frame)).count();
        ensure!(
            (copies.len(), over_ipv6) == (2, 1),
            "frame {index}: {} copies, {over_ipv6} over IPv6",
            copies.len()
        );
    }
    Ok(())
}

/// The command is refused in one line that names `about`, and changes nothing.
fn refused(host: &Host, command: &str, code: i32, about: &str) -> Result<()> {
    let before = host.configuration()?;
    let failure = host.overlay_fails(&command.split_whitespace().collect::<Vec<_>>())?;
    ensure!(failure.code == code && failure.stderr.lines().count() == 1, "`{command}`: {failure:?}");
    ensure!(
        failure.stderr.starts_with("overlay: ") && failure.stderr.contains(about),
        "`{command}`: {failure:?}"
    );
    ensure!(host.configuration()? == before, "`{command}` changed something");
    Ok(())
}

#[test]
fn a_family_that_the_vtep_does_not_have_is_refused() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let instance = Instance::up(host, &["--local", "10.0.0.1"])?;
    refused(host, "tunnel add --vni 100 --remote fd00::2", USAGE, "no IPv6 address")?;
    instance.down()?;
    let instance = Instance::up(host, &["--local", "fd00::1"])?;
    refused(host, "tunnel add --vni 100 --remote 10.0.0.2", USAGE, "no IPv4 address")?;
    instance.down()
}

#[test]
fn addresses_that_no_vtep_can_have_are_refused() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    for address in ["::", "::1", "ff02::1", "fe80::2", "fd00::1", "::ffff:10.0.0.1"] {
        let about = address.strip_prefix("::ffff:").unwrap_or(address);
        refused(host, &format!("tunnel add --vni 100 --remote {address}"), USAGE, about)?;
    }
    // An IPv4 address in other letters is one.
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "::ffff:10.0.0.2"])?;
    refused(host, "tunnel add --vni 100 --remote 10.0.0.2", EXISTS, "10.0.0.2")
}

#[test]
fn checksums_are_the_same_for_all_tunnels_to_a_vtep() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &[])?;
    refused(host, "tunnel add --vni 100 --remote 10.0.0.2 --udp6-csum", USAGE, "--udp6-csum")?;
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", "fd00::2"])?;
    refused(host, "tunnel add --vni 200 --remote fd00::2 --udp6-csum", EXISTS, "without UDP checksums")?;
    host.overlay(&["tunnel", "del", "--vni", "100", "--remote", "fd00::2"])?;
    host.overlay(&["tunnel", "add", "--vni", "200", "--remote", "fd00::2", "--udp6-csum"])?;
    refused(host, "tunnel add --vni 100 --remote fd00::2", EXISTS, "with UDP checksums")?;
    refused(host, "tunnel add --vni 100 --remote fd00::2 --exist-ok", EXISTS, "with UDP checksums")?;
    host.overlay(&["tunnel", "add", "--vni", "200", "--remote", "fd00::2", "--udp6-csum", "--exist-ok"])
        .map(drop)
}

#[test]
fn local_addresses_are_chosen_with_sense() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    for (local, code) in [("fe80::1", USAGE), ("fd00::9", FAILED)] {
        let failure = host.overlay_fails(&["up", "--uplink", "u1", "--local", local])?;
        ensure!(failure.code == code && failure.stderr.contains(local), "{failure:?}");
    }
    // A deprecated address is none to begin with, but as good as any where it is named.
    host.netns.ip("address change fd00::1/64 dev u1 preferred_lft 0")?;
    let locals = |arguments: &[&str]| {
        let instance = Instance::up(host, arguments)?;
        let status = host.overlay_json(&["status"])?;
        instance.down()?;
        Ok::<_, anyhow::Error>(status["local"].to_string())
    };
    ensure!(locals(&[])? == r#"["10.0.0.1"]"#, "{}", locals(&[])?);
    ensure!(locals(&["--local", "fd00::1"])? == r#"["fd00::1"]"#, "{}", locals(&["--local", "fd00::1"])?);
    host.netns.ip("address del 10.0.0.1/24 dev u1")?;
    let failure = host.overlay_fails(&["up", "--uplink", "u1"])?;
    ensure!(failure.code == FAILED && failure.stderr.contains("no IPv4 or IPv6 address"), "{failure:?}");
    Ok(())
}

/// A router's advertisement of itself (RFC 4861, section 4.2), from a host's link-local address.
fn advertisement(host: &Host) -> Vec<u8> {
    let (router, everyone) = ([0xfe80, 0, 0, 0, 0, 0, 0, 1].into(), [0xff02, 0, 0, 0, 0, 0, 0, 1].into());
    let mut ip = Ipv6::new(router, everyone, IP_ICMP6);
    ip.hop_limit = 255;
    let message = icmp6(ip.addresses(), vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    let to = Mac([0x33, 0x33, 0, 0, 0, 1]);
    Ethernet::new(host.mac, to, ETHER_IPV6).frame(&ip.packet(&message))
}

#[test]
fn advertised_default_routes_stay() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let wire = Wire::open(&two.netns, &two.uplink, Direction::In)?;
    wire.send(&advertisement(two))?;
    let default = || one.netns.run(&["ip", "-6", "route", "show", "default", "proto", "ra"]);
    wait_until(std::time::Instant::now() + ARRIVAL, || Ok((!default()?.is_empty()).then_some(())))?;
    let forwarding = || {
        one.netns.run(&[
            "sh",
            "-c",
            "cat /proc/sys/net/ipv6/conf/lo/forwarding /proc/sys/net/ipv6/conf/*/accept_ra",
        ])
    };
    let before = forwarding()?;
    let instance = Instance::up(one, &[])?;
    ensure!(forwarding()?.starts_with('1'), "the FIB does not answer");
    ensure!(forwarding()?[1..] == before[1..], "accept_ra is not what it was");
    ensure!(!default()?.is_empty(), "the route is gone");
    traffic::ping(&two.netns, one.v6.into(), 1)?;
    instance.down()?;
    ensure!(forwarding()? == before, "not as before");
    ensure!(!default()?.is_empty(), "the route is gone");
    Ok(())
}
