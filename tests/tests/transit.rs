//! Two VTEPs that only know a third, ours, which sends on what one has for the other.

use std::{net::IpAddr, time::Instant};

use anyhow::{Context as _, Result, ensure};
use overlay_common::{DropReason, Family};
use overlay_tests::{
    bench::udp_frame,
    frame::{ETHER_EXPERIMENT, Ethernet, Mac, Network},
    mesh, over_both_families,
    overlay::Instance,
    peer::{Peer, Segment},
    process::wait_until,
    topology::{Host, Lab, Plan, Underlay, Workload},
    traffic,
    wire::{ARRIVAL, Direction, Wire},
};

over_both_families! {
    kernel_peers_talk_through_ours,
    kernel_peers_talk_through_ours_as_on_a_wire,
    kernel_peers_with_checksums_talk_through_ours,
    kernel_peers_talk_through_native_xdp,
    ours_talk_through_ours,
    a_loop_of_three_vteps_ends,
    what_is_flooded_stays_here,
    stations_are_learned_and_followed,
}

const VNI: u32 = 100;
const TRANSFER: usize = 4 << 20;
/// What fits over either family.
const MTU: u32 = 1430;

/// How the kernel's device sends no UDP checksums, and takes what has none.
fn without_checksums(family: Family) -> &'static [&'static str] {
    match family {
        Family::Ipv4 => &["noudpcsum"],
        Family::Ipv6 => &["udp6zerocsumtx", "udp6zerocsumrx"],
    }
}

/// How it sends them, and takes what has none.
fn with_checksums(family: Family) -> &'static [&'static str] {
    match family {
        Family::Ipv4 => &["udpcsum"],
        Family::Ipv6 => &["noudp6zerocsumtx", "udp6zerocsumrx"],
    }
}

fn workload(host: &Host) -> Result<Workload> {
    host.workload(&Plan { mtu: Some(MTU), ..Plan::new(VNI, host.number) })
}

/// A workload behind the kernel's own device on `host`, which reaches `relay` over a family and nobody else.
fn leaf(host: &Host, relay: &Host, family: Family, options: &[&str]) -> Result<Workload> {
    let of = |host: &Host| -> IpAddr {
        match family {
            Family::Ipv4 => host.v4.into(),
            Family::Ipv6 => host.v6.into(),
        }
    };
    let segment = Segment { local: of(host), remotes: vec![of(relay)], ..Segment::new(host, VNI, &[]) };
    let peer = Peer::join(host, &segment.options(options))?;
    let workload = workload(host)?;
    peer.attach(&workload)?;
    Ok(workload)
}

/// Tells two workloads each other's addresses: what asks for them is flooded, and not passed on.
fn acquaint(one: &Workload, two: &Workload) -> Result<()> {
    for (here, there) in [(one, two), (two, one)] {
        for address in [IpAddr::V4(there.v4), IpAddr::V6(there.v6)] {
            let device = Workload::DEVICE;
            here.netns
                .ip(&format!("neigh replace {address} lladdr {} dev {device} nud permanent", there.mac))?;
        }
    }
    Ok(())
}

/// Has the relay hear of both workloads: what they send to each other at first goes nowhere.
fn introduce(relay: &Host, workloads: [&Workload; 2]) -> Result<()> {
    let [one, two] = workloads;
    for (from, to) in [(one, two), (two, one)] {
        let wire = Wire::open(&from.netns, Workload::DEVICE, Direction::In)?;
        wire.send(&Ethernet::new(from.mac, to.mac, ETHER_EXPERIMENT).frame(&[0; 50]))?;
    }
    wait_until(Instant::now() + ARRIVAL, || {
        let fdb = relay.overlay_json(&["fdb", "show"])?;
        Ok(workloads.iter().all(|one| fdb.to_string().contains(&one.mac.to_string())).then_some(()))
    })
}

/// The relay, host 2, between the other two.
fn relay<'a>(lab: &'a Lab, arguments: &[&str]) -> Result<Instance<'a>> {
    let instance = Instance::up(lab.host(2), arguments)?;
    instance.host.overlay(&["vni", "add", "100", "--transit", "on"])?;
    Ok(instance)
}

fn between_kernels(underlay: Underlay, options: [&[&str]; 2], arguments: &[&str]) -> Result<()> {
    let lab = Lab::with(3, underlay)?;
    let instance = relay(&lab, arguments)?;
    through(&lab, &instance, [underlay.family; 2], options)
}

/// Both leaves over their families, and everything between them.
fn through(lab: &Lab, instance: &Instance<'_>, families: [Family; 2], options: [&[&str]; 2]) -> Result<()> {
    let hosts = [lab.host(1), lab.host(3)];
    let mut leaves = Vec::new();
    for ((host, family), options) in hosts.into_iter().zip(families).zip(options) {
        let remote: IpAddr = match family {
            Family::Ipv4 => host.v4.into(),
            Family::Ipv6 => host.v6.into(),
        };
        let insists = family == Family::Ipv6 && !options.contains(&"udp6zerocsumrx");
        let sums: &[&str] = if insists { &["--udp6-csum"] } else { &[] };
        let words = ["tunnel", "add", "--vni", "100", "--remote", &remote.to_string()];
        instance.host.overlay(&[&words, sums].concat())?;
        leaves.push(leaf(host, instance.host, family, options)?);
    }
    acquaint(&leaves[0], &leaves[1])?;
    introduce(instance.host, [&leaves[0], &leaves[1]])?;
    let before = instance.host.drops()?;
    mesh::exchange(&leaves[0], &leaves[1], TRANSFER)?;
    let dropped = instance.host.drops_since(&before)?;
    ensure!(dropped.keys().all(|reason| reason == DropReason::NoReceivers.name()), "{dropped:?}");
    Ok(())
}

fn kernel_peers_talk_through_ours<N: Network>() -> Result<()> {
    between_kernels(Underlay::over(N::FAMILY), [without_checksums(N::FAMILY); 2], &["--xdp", "off"])
}

fn kernel_peers_talk_through_ours_as_on_a_wire<N: Network>() -> Result<()> {
    let underlay = Underlay { aggregation: true, ..Underlay::wire(N::FAMILY) };
    between_kernels(underlay, [without_checksums(N::FAMILY); 2], &["--xdp", "off"])
}

fn kernel_peers_with_checksums_talk_through_ours<N: Network>() -> Result<()> {
    let sums = with_checksums(N::FAMILY);
    between_kernels(Underlay::over(N::FAMILY), [sums, without_checksums(N::FAMILY)], &[])?;
    between_kernels(Underlay::over(N::FAMILY), [sums; 2], &[])?;
    if N::FAMILY == Family::Ipv6 {
        // Both insist on them.
        between_kernels(Underlay::over(N::FAMILY), [&[], &[]], &[])?;
        between_kernels(Underlay::wire(N::FAMILY), [&[], &[]], &[])?;
    }
    Ok(())
}

#[test]
fn leaves_of_both_families_talk_with_each_other() -> Result<()> {
    for (underlay, families) in [
        (Underlay::default(), [Family::Ipv4, Family::Ipv6]),
        (Underlay::wire(Family::Ipv4), [Family::Ipv6, Family::Ipv4]),
    ] {
        for checksums in [false, true] {
            let options = families.map(if checksums { with_checksums } else { without_checksums });
            let lab = Lab::with(3, underlay)?;
            let instance = relay(&lab, &[])?;
            through(&lab, &instance, families, options)
                .with_context(|| format!("{families:?}, checksums: {checksums}"))?;
        }
    }
    Ok(())
}

fn kernel_peers_talk_through_native_xdp<N: Network>() -> Result<()> {
    for underlay in [Underlay::wire(N::FAMILY), Underlay::over(N::FAMILY)] {
        let lab = Lab::with(3, underlay)?;
        let switch = lab.switch.as_ref().context("no switch")?;
        switch.run(&["ethtool", "-K", "u2", "gro", "on"])?;
        let instance = relay(&lab, &["--xdp", "native"])?;
        through(&lab, &instance, [N::FAMILY; 2], [without_checksums(N::FAMILY); 2])?;
        let redirected = instance.host.netns.xdp_redirects("u2")?;
        // Pings have no checksums that are still open.
        ensure!(redirected > if underlay.offloads { 20 } else { 2000 }, "XDP sent {redirected} packets");
    }
    Ok(())
}

fn ours_talk_through_ours<N: Network>() -> Result<()> {
    let lab = Lab::with(3, Underlay::over(N::FAMILY))?;
    let relay = relay(&lab, &[])?;
    let others = [Instance::up(lab.host(1), &[])?, Instance::up(lab.host(3), &[])?];
    let mut workloads = Vec::new();
    for other in &others {
        relay.reach(VNI, other.host)?;
        other.reach(VNI, relay.host)?;
        let workload = workload(other.host)?;
        other.attach(VNI, &workload)?;
        workloads.push(workload);
    }
    acquaint(&workloads[0], &workloads[1])?;
    introduce(relay.host, [&workloads[0], &workloads[1]])?;
    mesh::exchange(&workloads[0], &workloads[1], TRANSFER)?;
    relay.host.overlay(&["vni", "set", "100", "--transit", "off"])?;
    traffic::no_ping(&workloads[0].netns, workloads[1].v4.into())?;
    ensure!(relay.host.drops()?[DropReason::TunnelToTunnel.name()] >= 3);
    Ok(())
}

fn a_loop_of_three_vteps_ends<N: Network>() -> Result<()> {
    let lab = Lab::with(3, Underlay { static_neighbours: true, ..Underlay::over(N::FAMILY) })?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let nowhere = Mac([2, 0, 0, 0, 9, 9]);
    for (instance, next) in instances.iter().zip([2, 3, 1]) {
        instance.host.overlay(&["vni", "set", "100", "--transit", "on", "--learning", "off"])?;
        let remote = lab.host(next).vtep.to_string();
        instance.host.overlay(&["fdb", "add", "--vni", "100", &nowhere.to_string(), "--remote", &remote])?;
    }
    let workload = mesh::workload(&instances[0], VNI, 1)?;
    let wire = Wire::open(&workload.netns, Workload::DEVICE, Direction::In)?;
    wire.send(&udp_frame(workload.mac, nowhere, 98))?;
    let expired = || -> Result<u64> {
        let dropped = lab.hosts.iter().map(|host| Ok(host.drops()?[DropReason::TtlExpired.name()]));
        dropped.sum()
    };
    wait_until(Instant::now() + ARRIVAL, || Ok((expired()? > 0).then_some(())))?;
    ensure!(expired()? == 1);
    // These two have nothing else to send. Of TTL 64 to 2, every third comes to each VTEP.
    for host in &lab.hosts[1..] {
        let stats = host.overlay_json(&["stats", "--vni", "100"])?;
        let rows = stats["segments"].as_array().context("no segments")?;
        let to_vteps = rows.iter().filter(|row| row["remote"].is_string());
        let sent: u64 = to_vteps.filter_map(|row| row["tx_packets"].as_u64()).sum();
        ensure!(sent == 21, "{sent} packets were sent: {stats}");
    }
    Ok(())
}

fn what_is_flooded_stays_here<N: Network>() -> Result<()> {
    let lab = Lab::with(3, Underlay::over(N::FAMILY))?;
    let relay = relay(&lab, &[])?;
    relay.reach(VNI, lab.host(1))?;
    relay.reach(VNI, lab.host(3))?;
    let options = without_checksums(N::FAMILY);
    let sender = leaf(lab.host(1), relay.host, N::FAMILY, options)?;
    let other = leaf(lab.host(3), relay.host, N::FAMILY, options)?;
    let here = workload(relay.host)?;
    relay.attach(VNI, &here)?;
    acquaint(&sender, &other)?;
    introduce(relay.host, [&sender, &other])?;
    let open = |workload: &Workload| Wire::open(&workload.netns, Workload::DEVICE, Direction::In);
    let (from, to, port) = (open(&sender)?, open(&other)?, open(&here)?);
    let known = udp_frame(sender.mac, other.mac, 120);
    let flooded = [
        udp_frame(sender.mac, Mac::BROADCAST, 121),
        udp_frame(sender.mac, Mac([1, 0, 0x5e, 0, 0, 9]), 122),
        udp_frame(sender.mac, Mac([2, 0, 0, 0, 9, 9]), 123),
    ];
    for frame in &flooded {
        from.send(frame)?;
        port.expect("what is flooded", |received| received.bytes == *frame)?;
    }
    from.send(&known)?;
    // It is the last one, and the only one.
    let wanted = |bytes: &[u8]| bytes == known || flooded.iter().any(|frame| frame == bytes);
    let seen = to.collect_to(|received| received.bytes == known, |received| wanted(&received.bytes))?;
    ensure!(seen.len() == 1, "{} frames arrived", seen.len());
    let seen = port.collect(|received| received.bytes == known)?;
    ensure!(seen.is_empty(), "what is in transit was taken to a port");
    Ok(())
}

fn stations_are_learned_and_followed<N: Network>() -> Result<()> {
    let lab = Lab::with(3, Underlay::over(N::FAMILY))?;
    let relay = relay(&lab, &[])?;
    relay.reach(VNI, lab.host(1))?;
    relay.reach(VNI, lab.host(3))?;
    let options = without_checksums(N::FAMILY);
    let one = leaf(lab.host(1), relay.host, N::FAMILY, options)?;
    let two = leaf(lab.host(3), relay.host, N::FAMILY, options)?;
    acquaint(&one, &two)?;
    introduce(relay.host, [&one, &two])?;
    let place = |workload: &Workload| -> Result<Option<String>> {
        let fdb = relay.host.overlay_json(&["fdb", "show"])?;
        let rows = fdb.as_array().context("no array")?;
        let row = rows.iter().find(|row| row["mac"] == workload.mac.to_string());
        Ok(row.and_then(|row| row["remote"].as_str()).map(str::to_owned))
    };
    ensure!(place(&one)? == Some(lab.host(1).vtep.to_string()));
    ensure!(place(&two)? == Some(lab.host(3).vtep.to_string()));
    traffic::ping(&one.netns, two.v4.into(), 3)?;
    // One turns up behind the other's VTEP, with what everybody gets.
    let wire = Wire::open(&two.netns, Workload::DEVICE, Direction::In)?;
    wire.send(&Ethernet::new(one.mac, Mac::BROADCAST, ETHER_EXPERIMENT).frame(&[0; 50]))?;
    wait_until(Instant::now() + ARRIVAL, || {
        Ok((place(&one)? == Some(lab.host(3).vtep.to_string())).then_some(()))
    })
}
