//! Segments with a multicast group of the underlay, among themselves and with the kernel's `vxlan … group`.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use overlay_common::{DropReason, Family};
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Mac, Network, Outer},
    mesh, over_both_families,
    overlay::{EXISTS, FAILED, Instance, USAGE},
    peer::{Peer, Segment},
    topology::{Host, Lab, Plan, Underlay, Workload},
    wire::{Direction, Wire},
};

const VNI: u32 = 100;
const OTHER_VNI: u32 = 200;

over_both_families! {
    ours_and_the_kernels_meet_in_a_group,
    a_broadcast_leaves_once_to_the_group,
    a_group_lets_nobody_into_another_segment,
    a_group_is_left_as_it_was_found,
    named_remotes_and_a_group_go_together,
}

/// A group of the underlay, and the MAC address that follows from it.
fn group<N: Network>() -> (IpAddr, Mac) {
    match N::FAMILY {
        Family::Ipv4 => ([239, 129, 1, 1].into(), Mac([1, 0, 0x5e, 1, 1, 1])),
        Family::Ipv6 => ([0xff05, 0, 0, 0, 0, 0, 1, 1].into(), Mac([0x33, 0x33, 0, 1, 0, 1])),
    }
}

fn address<N: Network>(host: &Host) -> IpAddr {
    match N::FAMILY {
        Family::Ipv4 => host.v4.into(),
        Family::Ipv6 => host.v6.into(),
    }
}

/// An instance with a workload in the segment of the group.
fn join<N: Network>(host: &Host, vni: u32) -> Result<(Instance<'_>, Workload)> {
    let instance = Instance::up(host, &[])?;
    add_group::<N>(host, vni)?;
    let workload = mesh::workload(&instance, vni, host.number)?;
    Ok((instance, workload))
}

fn add_group<N: Network>(host: &Host, vni: u32) -> Result<()> {
    let (vni, group) = (vni.to_string(), group::<N>().0.to_string());
    host.overlay(&["tunnel", "add", "--vni", &vni, "--remote", &group, "--dev", &host.uplink]).map(drop)
}

fn ours_and_the_kernels_meet_in_a_group<N: Network>() -> Result<()> {
    let lab = Lab::with(3, Underlay::over(N::FAMILY))?;
    let (_one, first) = join::<N>(lab.host(1), VNI)?;
    let (_two, second) = join::<N>(lab.host(2), VNI)?;
    let (kernel, group) = (lab.host(3), group::<N>().0.to_string());
    let mut options = vec!["group", &group, "dev", "u3", "ttl", "5"];
    if N::FAMILY == Family::Ipv6 {
        options.extend(["udp6zerocsumrx", "udp6zerocsumtx"]);
    }
    let mut segment = Segment::new(kernel, VNI, &[]).options(&options);
    segment.local = address::<N>(kernel);
    let peer = Peer::join(kernel, &segment)?;
    let third = kernel.workload(&Plan::new(VNI, 3))?;
    peer.attach(&third)?;
    for (from, to) in [(&first, &second), (&first, &third), (&third, &second)] {
        mesh::exchange(from, to, 1 << 20)?;
    }
    // Whoever spoke to the segment is a member now, by itself.
    let tunnels = lab.host(1).overlay_json(&["tunnel", "show"])?;
    let rows = tunnels.as_array().context("no array")?;
    for (remote, origin, is_group) in [
        (group, "static", true),
        (address::<N>(lab.host(2)).to_string(), "learned", false),
        (address::<N>(kernel).to_string(), "learned", false),
    ] {
        let row = rows.iter().find(|row| row["remote"] == remote).with_context(|| format!("{tunnels}"))?;
        ensure!(row["origin"] == origin && row["group"] == is_group, "{row}");
    }
    ensure!(rows.len() == 3, "{tunnels}");
    let fdb = lab.host(1).overlay_json(&["fdb", "show"])?;
    let behind = |mac: Mac| {
        let entry = fdb.as_array()?.iter().find(|entry| entry["mac"] == mac.to_string())?;
        entry["remote"].as_str()?.parse::<IpAddr>().ok()
    };
    ensure!(behind(third.mac) == Some(address::<N>(kernel)), "{fdb}");
    Ok(())
}

fn a_broadcast_leaves_once_to_the_group<N: Network>() -> Result<()> {
    let lab = Lab::with(3, Underlay::known(N::FAMILY))?;
    let sites: Vec<_> = lab.hosts.iter().map(|host| join::<N>(host, VNI)).collect::<Result<_>>()?;
    let wire = Wire::open(&lab.host(1).netns, "u1", Direction::Both)?;
    let open = |site: &(Instance<'_>, Workload)| Wire::open(&site.1.netns, Workload::DEVICE, Direction::In);
    let wires = sites.iter().map(open).collect::<Result<Vec<_>>>()?;
    let source = sites[0].1.mac;
    let inner = Ethernet::new(source, Mac::BROADCAST, ETHER_EXPERIMENT).frame(&[5; 200]);
    wires[0].send(&inner)?;
    for receiver in &wires[1..] {
        let copies = receiver.collect_to(|frame| frame.bytes == inner, |frame| frame.bytes == inner)?;
        ensure!(copies.len() == 1, "{} copies", copies.len());
    }
    let carries = |bytes: &[u8]| Outer::<N>::parse(bytes).is_ok_and(|(_, found)| found == inner);
    let sent = wire.collect(|frame| frame.outgoing && carries(&frame.bytes))?;
    ensure!(sent.len() == 1, "{} packets", sent.len());
    let (outer, _) = Outer::<N>::parse(&sent[0].bytes)?;
    let (group, mac) = group::<N>();
    ensure!(outer.ip.addresses() == (address::<N>(lab.host(1)), group), "{:?}", outer.ip.addresses());
    ensure!(
        (outer.ethernet.source, outer.ethernet.destination) == (lab.host(1).mac, mac),
        "{:?}",
        outer.ethernet
    );
    // Known by now: from here on to its place only.
    let answer = Ethernet::new(sites[1].1.mac, source, ETHER_EXPERIMENT).frame(&[6; 200]);
    wires[1].send(&answer)?;
    wires[0].expect("the answer", |frame| frame.bytes == answer)?;
    let strays = wires[2].collect(|frame| frame.bytes == answer)?;
    ensure!(strays.is_empty(), "an answer to a known station was flooded");
    Ok(())
}

fn a_group_lets_nobody_into_another_segment<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::known(N::FAMILY))?;
    let (one, _inside) = join::<N>(lab.host(1), VNI)?;
    let outside = mesh::workload(&one, OTHER_VNI, 2)?;
    let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    let listening = Wire::open(&outside.netns, Workload::DEVICE, Direction::In)?;
    let source = Mac([2, 0, 0, 0, 0, 77]);
    let inner = Ethernet::new(source, Mac::BROADCAST, ETHER_EXPERIMENT).frame(&[9; 60]);
    let (from, to) = (lab.host(2), lab.host(1));
    let from = (from.mac, address::<N>(from));
    let before = lab.host(1).drops()?;
    // To the group, but not in its segment.
    wire.send(&Outer::<N>::new(from, (group::<N>().1, group::<N>().0), OTHER_VNI)?.frame(&inner))?;
    // To us, in a segment without a group.
    wire.send(&Outer::<N>::new(from, (to.mac, address::<N>(to)), OTHER_VNI)?.frame(&inner))?;
    // From the group itself, and from ourselves.
    wire.send(&Outer::<N>::new((from.0, group::<N>().0), (to.mac, address::<N>(to)), VNI)?.frame(&inner))?;
    wire.send(&Outer::<N>::new((from.0, address::<N>(to)), (to.mac, address::<N>(to)), VNI)?.frame(&inner))?;
    // An address of a host behind a group's MAC address.
    wire.send(&Outer::<N>::new(from, (group::<N>().1, address::<N>(to)), VNI)?.frame(&inner))?;
    let strays = listening.collect(|frame| frame.bytes == inner)?;
    ensure!(strays.is_empty(), "{} frames crossed", strays.len());
    let mut dropped = lab.host(1).drops_since(&before)?;
    // What the workload has to say by itself, alone in its segment.
    dropped.remove(DropReason::NoReceivers.name());
    ensure!(dropped == [(DropReason::NotAMember.name().to_owned(), 3)].into(), "{dropped:?}");
    let tunnels = lab.host(1).overlay_json(&["tunnel", "show"])?;
    ensure!(tunnels.as_array().is_some_and(|rows| rows.len() == 1), "{tunnels}");
    Ok(())
}

fn joined(host: &Host, addr: IpAddr) -> Result<bool> {
    Ok(host.netns.run(&["ip", "address", "show", "dev", &host.uplink])?.contains(&format!(" {addr}/")))
}

fn a_group_is_left_as_it_was_found<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::known(N::FAMILY))?;
    let (host, group) = (lab.host(1), group::<N>().0);
    let text = group.to_string();
    let instance = Instance::up(host, &[])?;
    let add = |vni| host.overlay(&["tunnel", "add", "--vni", vni, "--remote", &text, "--dev", "u1"]);
    let del = |vni| host.overlay(&["tunnel", "del", "--vni", vni, "--remote", &text]);
    add("100")?;
    add("200")?;
    ensure!(joined(host, group)?);
    del("100")?;
    ensure!(joined(host, group)?, "VNI 200 still needs it");
    del("200")?;
    ensure!(!joined(host, group)?, "nobody needs it any more");
    add("100")?;
    instance.down()?;
    ensure!(!joined(host, group)?, "down leaves nothing behind");

    let bits = if group.is_ipv4() { 32 } else { 128 };
    host.netns.ip(&format!("addr add {group}/{bits} dev u1 autojoin"))?;
    let _instance = Instance::up(host, &[])?;
    add("100")?;
    del("100")?;
    ensure!(joined(host, group)?, "somebody else had joined it");
    Ok(())
}

fn named_remotes_and_a_group_go_together<N: Network>() -> Result<()> {
    let lab = Lab::with(3, Underlay::known(N::FAMILY))?;
    let (_one, first) = join::<N>(lab.host(1), VNI)?;
    let (_two, second) = join::<N>(lab.host(2), VNI)?;
    let three = Instance::up(lab.host(3), &[])?;
    let third = mesh::workload(&three, VNI, 3)?;
    // A host that the group does not reach.
    for (here, there) in [(lab.host(1), lab.host(3)), (lab.host(3), lab.host(1))] {
        let remote = address::<N>(there).to_string();
        here.overlay(&["tunnel", "add", "--vni", "100", "--remote", &remote])?;
    }
    mesh::exchange(&first, &third, 1 << 18)?;
    mesh::exchange(&first, &second, 1 << 18)?;
    let tunnels = lab.host(1).overlay_json(&["tunnel", "show"])?;
    let named = address::<N>(lab.host(3)).to_string();
    let row = tunnels.as_array().and_then(|rows| rows.iter().find(|row| row["remote"] == named));
    ensure!(row.is_some_and(|row| row["origin"] == "static"), "{tunnels}");
    Ok(())
}

#[test]
fn a_group_that_cannot_be_is_refused() -> Result<()> {
    let lab = Lab::new(2)?;
    let host = lab.host(1);
    let _instance = Instance::up(host, &["--local", "10.0.0.1"])?;
    host.netns.ip("link add other type veth peer name rehto\nlink set other up")?;
    let before = host.configuration()?;
    let cases: &[(&[&str], i32)] = &[
        (&["--remote", "239.1.1.1"], FAILED),
        (&["--remote", "239.1.1.1", "--dev", "other"], FAILED),
        (&["--remote", "239.1.1.1", "--dev", "nothing"], FAILED),
        (&["--remote", "ff05::1", "--dev", "u1"], USAGE),
        (&["--remote", "10.0.0.2", "--dev", "u1"], USAGE),
        (&["--remote", "239.1.1.1", "--dev", "u1", "--mac", "02:00:00:00:00:09"], USAGE),
    ];
    for (arguments, code) in cases {
        let failure = host.overlay_fails(&[&["tunnel", "add", "--vni", "7"], *arguments].concat())?;
        ensure!(failure.code == *code && failure.stderr.lines().count() == 1, "{arguments:?}: {failure:?}");
        ensure!(host.configuration()? == before, "{arguments:?} changed something");
    }
    let add = |group| host.overlay_fails(&["tunnel", "add", "--vni", "7", "--remote", group, "--dev", "u1"]);
    host.overlay(&["tunnel", "add", "--vni", "7", "--remote", "239.1.1.1", "--dev", "u1"])?;
    for group in ["239.1.1.1", "239.1.1.2"] {
        let failure = add(group)?;
        ensure!(failure.code == EXISTS && failure.stderr.lines().count() == 1, "{failure:?}");
    }
    Ok(())
}
