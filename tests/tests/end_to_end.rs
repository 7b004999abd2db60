//! Workloads on two hosts talk across the overlay, ours or the kernel's on the other side.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use overlay_common::{DropReason, Family};
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Mac, Network, Outer, verify},
    mesh, over_both_families,
    overlay::Instance,
    peer::{Peer, Segment},
    topology::{Lab, Plan, Underlay, Workload},
    traffic,
    wire::{Direction, Wire},
};

const VNI: u32 = 100;
const TRANSFER: usize = 16 << 20;

over_both_families! {
    datagrams_in_a_single_piece_with_other_offloads,
    datagrams_in_a_single_piece_as_on_a_wire,
    datagrams_in_a_single_piece_with_native_xdp,
    ours_to_ours_with_offloads,
    ours_to_ours_as_on_a_wire,
    ours_to_ours_with_native_xdp,
    ours_to_ours_with_native_xdp_as_on_a_wire,
    ours_to_ours_with_generic_xdp,
    ours_to_ours_without_xdp,
    ours_to_ours_on_another_port,
    ours_to_kernel_with_offloads,
    ours_to_kernel_as_on_a_wire,
    ours_to_kernel_with_outer_checksums,
    ours_to_kernel_with_outer_checksums_as_on_a_wire,
    workloads_without_offloads_talk,
    static_entries_do_without_learning_and_flooding,
    frames_on_the_wire_are_vxlan_as_the_rfc_has_it,
    flows_differ_in_their_source_port,
}

fn ours_to_ours(underlay: Underlay, arguments: &[&str]) -> Result<()> {
    let lab = Lab::with(2, underlay)?;
    let instances = mesh::up(&lab, arguments)?;
    let workloads = mesh::segment(&instances, VNI)?;
    mesh::exchange(&workloads[0], &workloads[1], TRANSFER)
}

/// Host 1 is ours, host 2 the kernel's.
fn ours_to_kernel(underlay: Underlay, options: &[&str]) -> Result<()> {
    let lab = Lab::with(2, underlay)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let instance = Instance::up(one, &[])?;
    instance.reach(VNI, two)?;
    let ours = mesh::workload(&instance, VNI, 1)?;
    let peer = Peer::join(two, &Segment::new(two, VNI, &[one]).options(options))?;
    let theirs = two.workload(&Plan::new(VNI, 2))?;
    peer.attach(&theirs)?;
    mesh::exchange(&ours, &theirs, TRANSFER)
}

/// How the kernel's device sends no UDP checksums, and takes what has none.
fn without_checksums<N: Network>() -> &'static [&'static str] {
    match N::FAMILY {
        Family::Ipv4 => &["noudpcsum"],
        Family::Ipv6 => &["udp6zerocsumtx", "udp6zerocsumrx"],
    }
}

/// How the kernel's device sends UDP checksums, and takes what has none.
fn with_checksums<N: Network>() -> &'static [&'static str] {
    match N::FAMILY {
        Family::Ipv4 => &["udpcsum"],
        Family::Ipv6 => &["noudp6zerocsumtx", "udp6zerocsumrx"],
    }
}

fn segmented(underlay: Underlay, arguments: &[&str]) -> Result<()> {
    let lab = Lab::with(2, underlay)?;
    let instances = mesh::up(&lab, arguments)?;
    let workloads = mesh::segment(&instances, VNI)?;
    if underlay.offloads {
        // Virtual devices carry merged UDP whole, and this kernel cannot take a tunnel's mark off it: README, limits.
        for host in &lab.hosts {
            host.netns.run(&["ethtool", "-K", &host.uplink, "tx-udp-segmentation", "off"])?;
        }
    }
    mesh::exchange_segmented(&workloads[0], &workloads[1])
}

fn datagrams_in_a_single_piece_with_other_offloads<N: Network>() -> Result<()> {
    segmented(Underlay::over(N::FAMILY), &[])
}

fn datagrams_in_a_single_piece_as_on_a_wire<N: Network>() -> Result<()> {
    segmented(Underlay::wire(N::FAMILY), &[])
}

fn datagrams_in_a_single_piece_with_native_xdp<N: Network>() -> Result<()> {
    segmented(Underlay::over(N::FAMILY), &["--xdp", "native"])
}

fn ours_to_ours_with_offloads<N: Network>() -> Result<()> {
    ours_to_ours(Underlay::over(N::FAMILY), &[])
}

fn ours_to_ours_as_on_a_wire<N: Network>() -> Result<()> {
    ours_to_ours(Underlay::wire(N::FAMILY), &[])
}

fn ours_to_ours_with_native_xdp<N: Network>() -> Result<()> {
    ours_to_ours(Underlay::over(N::FAMILY), &["--xdp", "native"])
}

fn ours_to_ours_with_native_xdp_as_on_a_wire<N: Network>() -> Result<()> {
    ours_to_ours(Underlay::wire(N::FAMILY), &["--xdp", "native"])
}

fn ours_to_ours_with_generic_xdp<N: Network>() -> Result<()> {
    ours_to_ours(Underlay::wire(N::FAMILY), &["--xdp", "generic"])
}

fn ours_to_ours_without_xdp<N: Network>() -> Result<()> {
    ours_to_ours(Underlay::wire(N::FAMILY), &["--xdp", "off"])
}

fn ours_to_ours_on_another_port<N: Network>() -> Result<()> {
    ours_to_ours(Underlay::wire(N::FAMILY), &["--port", "8472"])
}

fn ours_to_kernel_with_offloads<N: Network>() -> Result<()> {
    ours_to_kernel(Underlay::over(N::FAMILY), without_checksums::<N>())
}

fn ours_to_kernel_as_on_a_wire<N: Network>() -> Result<()> {
    ours_to_kernel(Underlay::wire(N::FAMILY), without_checksums::<N>())
}

fn ours_to_kernel_with_outer_checksums<N: Network>() -> Result<()> {
    ours_to_kernel(Underlay::over(N::FAMILY), with_checksums::<N>())
}

fn ours_to_kernel_with_outer_checksums_as_on_a_wire<N: Network>() -> Result<()> {
    ours_to_kernel(Underlay::wire(N::FAMILY), with_checksums::<N>())
}

#[test]
fn workloads_of_one_host_talk() -> Result<()> {
    let lab = Lab::new(2)?;
    let instance = Instance::up(lab.host(1), &[])?;
    let (one, two) = (mesh::workload(&instance, VNI, 1)?, mesh::workload(&instance, VNI, 2)?);
    mesh::exchange(&one, &two, TRANSFER)
}

fn workloads_without_offloads_talk<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(N::FAMILY))?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let mut workloads = Vec::new();
    for (instance, offloads) in instances.iter().zip([false, true]) {
        let plan = Plan { offloads, ..Plan::new(VNI, instance.host.number) };
        let workload = instance.host.workload(&plan)?;
        instance.attach(VNI, &workload)?;
        workloads.push(workload);
    }
    mesh::exchange(&workloads[0], &workloads[1], TRANSFER)
}

fn static_entries_do_without_learning_and_flooding<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(N::FAMILY))?;
    let instances = mesh::up(&lab, &[])?;
    for instance in &instances {
        let vni = VNI.to_string();
        instance.host.overlay(&["vni", "add", &vni, "--learning", "off", "--flood", "off"])?;
    }
    let workloads = mesh::segment(&instances, VNI)?;
    // Without flooding nobody hears an ARP request.
    traffic::no_ping(&workloads[0].netns, workloads[1].v4.into())?;
    for (here, there) in [(0, 1), (1, 0)] {
        let (vni, mac) = (VNI.to_string(), workloads[there].mac.to_string());
        let remote = instances[there].host.vtep.to_string();
        instances[here].host.overlay(&["fdb", "add", "--vni", &vni, &mac, "--remote", &remote])?;
        let (vni, mac) = (VNI.to_string(), workloads[here].mac.to_string());
        let port = &workloads[here].port;
        instances[here].host.overlay(&["fdb", "add", "--vni", &vni, &mac, "--port", port])?;
        let (v4, v6) = (workloads[there].v4, workloads[there].v6);
        let mac = workloads[there].mac;
        workloads[here].netns.ip(&format!(
            "neigh replace {v4} lladdr {mac} dev eth0 nud permanent\n\
             neigh replace {v6} lladdr {mac} dev eth0 nud permanent"
        ))?;
    }
    mesh::exchange(&workloads[0], &workloads[1], 1 << 20)
}

fn frames_on_the_wire_are_vxlan_as_the_rfc_has_it<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::wire(N::FAMILY))?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let uplink = Wire::open(&two.netns, &two.uplink, Direction::Both)?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 20)?;
    let mut seen = 0;
    for frame in uplink.collect(|_| true)? {
        let Ok((outer, inner)) = Outer::<N>::parse(&frame.bytes) else {
            continue;
        };
        ensure!(outer.udp.destination == 4789, "to port {}", outer.udp.destination);
        check(&outer, frame.outgoing, [(one.mac, one.vtep), (two.mac, two.vtep)])?;
        ensure!(frame.bytes.len() <= 1514, "{} bytes", frame.bytes.len());
        ensure!(!frame.checksum_pending, "a checksum is not filled in");
        Ethernet::parse(inner)?;
        verify(&frame.bytes)?;
        seen += 1;
    }
    ensure!(seen > 1000, "only {seen} frames");
    Ok(())
}

fn check<N: Network>(outer: &Outer<N>, outgoing: bool, hosts: [(Mac, IpAddr); 2]) -> Result<()> {
    let (from, to) = if outgoing { (hosts[1], hosts[0]) } else { (hosts[0], hosts[1]) };
    let (source, destination) = outer.ip.addresses();
    ensure!((outer.ethernet.source, source) == from, "from {outer:?}");
    ensure!((outer.ethernet.destination, destination) == to, "to {outer:?}");
    let vxlan = &outer.vxlan;
    ensure!((vxlan.flags, vxlan.reserved, vxlan.reserved_last) == (8, [0; 3], 0), "{vxlan:?}");
    ensure!(vxlan.vni == VNI, "{vxlan:?}");
    ensure!(outer.udp.source >= 32768, "from port {}", outer.udp.source);
    outer.ip.check_sent()
}

fn flows_differ_in_their_source_port<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::wire(N::FAMILY))?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let uplink = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    let mut ports = std::collections::BTreeSet::new();
    for _ in 0..8 {
        traffic::udp(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into(), &[500, 500])?;
        let big = uplink.collect(|frame| frame.bytes.len() > 500)?;
        let of_flow: std::collections::BTreeSet<_> = big
            .iter()
            .map(|frame| Ok(Outer::<N>::parse(&frame.bytes)?.0.udp.source))
            .collect::<Result<_>>()?;
        ensure!(of_flow.len() == 1, "one flow with the ports {of_flow:?}");
        ports.extend(of_flow);
    }
    ensure!(ports.len() > 3, "eight flows with the ports {ports:?}");
    Ok(())
}

#[test]
fn a_tagged_frame_is_dropped_and_counted() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let sender = Wire::open(&workloads[0].netns, Workload::DEVICE, Direction::In)?;
    let receiver = Wire::open(&workloads[1].netns, Workload::DEVICE, Direction::In)?;
    let mut header = Ethernet::new(workloads[0].mac, Mac::BROADCAST, ETHER_EXPERIMENT);
    let last = header.frame(&[0xa5; 60]);
    header.tag = Some(0x6123);
    let tagged = header.frame(&[0x5a; 60]);
    let before = lab.host(1).drops()?;
    sender.send(&tagged)?;
    sender.send(&last)?;
    let seen =
        receiver.collect_to(|frame| frame.bytes == last, |frame| frame.bytes.ends_with(&[0x5a; 60]))?;
    ensure!(seen.is_empty(), "a tagged frame crossed (RFC 7348, section 6.1)");
    let dropped = lab.host(1).drops_since(&before)?;
    ensure!(dropped.get(DropReason::InnerVlan.name()) == Some(&1), "{dropped:?}");
    Ok(())
}
