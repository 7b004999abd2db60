//! Frame tables of `from_port`: what is written in front of a frame, and what becomes of it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    bench::{
        Bench, Fate, Hook, NOBODY, OTHER_PORT, OTHER_VNI, PORT, REMOTE, Row, SECOND_STATION, STATION, VNI,
        lab, lab_over, same, udp_frame,
    },
    frame::{
        Arp, ETHER_ARP, ETHER_EXPERIMENT, ETHER_IPV4, ETHER_IPV6, Ethernet, IP_TCP, IP_UDP, Ipv4, Ipv6, Mac,
        Network, Outer, Tcp, Udp,
    },
    over_both_families,
    testrun::TC_REDIRECT,
};

const FROM_PORT: Hook<'_> = Hook::Port(PORT);

over_both_families! {
    every_frame_is_encapsulated_byte_for_byte,
    the_source_port_tells_flows_apart,
    the_mtu_of_the_route_counts,
    a_way_that_is_none_is_told,
    the_kernel_resolves_a_next_hop_that_is_unknown,
    what_exceeds_the_uplink_is_dropped_before_the_next_hop_is_known,
}

/// The headers in front of a frame as host 2 shall see them. Of each flow the sender may choose what is as in `packet`.
fn expected<N: Network>(bench: &Bench<'_, N>, packet: &[u8]) -> Result<Outer<N>> {
    let (from, to) = (bench.host(), bench.lab.host(2));
    let mut outer = Outer::new((from.mac, from.vtep), (to.mac, to.vtep), VNI)?;
    outer.choose_as(packet)?;
    Ok(outer)
}

/// Sends a frame that has to leave for host 2, byte for byte, and returns the source port of the packet.
fn encapsulated<N: Network>(bench: &Bench<'_, N>, frame: &[u8]) -> Result<u16> {
    let (outcome, drops) = bench.run(FROM_PORT, frame)?;
    ensure!(
        outcome.verdict == TC_REDIRECT && drops.is_empty(),
        "verdict {}, counted {drops:?}",
        outcome.verdict
    );
    let expected = expected(bench, &outcome.frame)?;
    expected.ip.check_sent()?;
    let source_port = expected.udp.source;
    ensure!(source_port >= 49152, "source port {source_port}");
    same(&outcome.frame, &expected.frame(frame))?;
    Ok(source_port)
}

/// A frame from [`STATION`] to [`REMOTE`] with `len` bytes of a protocol that nobody answers for.
fn of_nobody(len: usize) -> Vec<u8> {
    Ethernet::new(STATION, REMOTE, ETHER_EXPERIMENT).frame(&vec![1; len])
}

/// Frames of every kind from [`STATION`] to [`REMOTE`].
fn frames(mtu: u32) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let mtu = usize::try_from(mtu)?;
    let ip6 = Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, IP_TCP);
    let tcp = Tcp::new(1, 2).segment(ip6.addresses(), b"some data");
    let arp =
        Arp { operation: 2, sender: (STATION, [10, 1, 0, 1].into()), target: (REMOTE, [10, 1, 0, 2].into()) };
    let to_remote = |ether_type| Ethernet::new(STATION, REMOTE, ether_type);
    Ok(vec![
        ("IPv4", udp_frame(STATION, REMOTE, 98)),
        ("an odd length", udp_frame(STATION, REMOTE, 99)),
        ("the shortest that Ethernet has", udp_frame(STATION, REMOTE, 60)),
        ("all of the MTU", udp_frame(STATION, REMOTE, mtu + 14)),
        ("IPv6", to_remote(ETHER_IPV6).frame(&ip6.packet(&tcp))),
        ("ARP", to_remote(ETHER_ARP).frame(&arp.packet())),
        ("LLDP", to_remote(0x88cc).frame(&[2; 46])),
        ("some protocol", to_remote(ETHER_EXPERIMENT).frame(&vec![0xa5; mtu])),
        ("a length instead of an EtherType", to_remote(50).frame(&[0x42; 50])),
        ("one byte", to_remote(ETHER_EXPERIMENT).frame(&[1])),
        ("IPv4 that is none", to_remote(ETHER_IPV4).frame(&[0xff; 30])),
        ("IPv6 that is none", to_remote(ETHER_IPV6).frame(&[0xff; 40])),
        ("VXLAN within", vxlan_within()?),
    ])
}

/// A frame of a workload that is itself a VTEP.
fn vxlan_within() -> Result<Vec<u8>> {
    let outer = Outer::<Ipv4>::new(
        (STATION, std::net::Ipv4Addr::new(10, 1, 0, 1)),
        (REMOTE, std::net::Ipv4Addr::new(10, 1, 0, 2)),
        5,
    )?;
    Ok(outer.frame(&udp_frame(NOBODY, NOBODY, 80)))
}

fn every_frame_is_encapsulated_byte_for_byte<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let mut wrong = Vec::new();
    for (what, frame) in frames(bench.host().inner_mtu)? {
        if let Err(error) = encapsulated(&bench, &frame) {
            wrong.push(format!("{what} ({} bytes): {error:#}", frame.len()));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    for len in 15..=usize::try_from(bench.host().inner_mtu)? + 14 {
        let frame = Ethernet::new(STATION, REMOTE, ETHER_EXPERIMENT).frame(&vec![0x5a; len - 14]);
        encapsulated(&bench, &frame).with_context(|| format!("{len} bytes"))?;
    }
    Ok(())
}

/// A frame of the flow between two UDP ports.
fn of_flow(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let ip = Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_UDP);
    let datagram = Udp::new(source, destination).datagram(ip.addresses(), payload);
    Ethernet::new(STATION, REMOTE, ETHER_IPV4).frame(&ip.packet(&datagram))
}

fn the_source_port_tells_flows_apart<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let first = encapsulated(&bench, &of_flow(1, 2, b"one"))?;
    for payload in [&b"one"[..], b"another", &[7; 1000]] {
        let port = encapsulated(&bench, &of_flow(1, 2, payload))?;
        ensure!(port == first, "one flow, with source ports {first} and {port}");
    }
    let mut ports = BTreeSet::new();
    for flow in 0..256 {
        ports.insert(encapsulated(&bench, &of_flow(1000 + flow, 80, b""))?);
    }
    // Of 256 throws into 16384, 254 hit a place of their own on average.
    ensure!(ports.len() >= 240, "256 flows, and {} source ports", ports.len());
    Ok(())
}

#[test]
fn frames_for_ports_leave_as_they_are() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let mut rows = Vec::new();
    for (what, mut frame) in frames(bench.host().inner_mtu)? {
        frame[..6].copy_from_slice(&SECOND_STATION.0);
        rows.push(Row::new(what, frame.clone(), Fate::Redirected(frame)));
    }
    let large = udp_frame(STATION, SECOND_STATION, 3000);
    rows.push(Row::new("no path's MTU counts", large.clone(), Fate::Redirected(large)));
    bench.table(FROM_PORT, &rows)
}

#[test]
fn what_is_wrong_is_dropped_with_its_reason() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let tagged =
        |tag, ether_type| Ethernet { tag, ..Ethernet::new(STATION, REMOTE, ether_type) }.frame(&[6; 60]);
    let rows = [
        (DropReason::SamePort, "to a station behind the same port", udp_frame(NOBODY, STATION, 98)),
        (DropReason::SamePort, "to itself", udp_frame(STATION, STATION, 98)),
        (DropReason::InnerVlan, "a tag", tagged(Some(7), ETHER_IPV4)),
        (DropReason::InnerVlan, "a provider's tag", tagged(None, 0x88a8)),
        (DropReason::BadSourceMac, "from everyone", udp_frame(Mac::BROADCAST, REMOTE, 98)),
        (DropReason::BadSourceMac, "from a group", udp_frame(Mac([1, 0, 0x5e, 0, 0, 1]), REMOTE, 98)),
        (DropReason::BadSourceMac, "from a group of ours", udp_frame(Mac([3, 0, 0, 0, 0, 1]), REMOTE, 98)),
        (DropReason::BadSourceMac, "from zero, to everyone", udp_frame(Mac([0; 6]), Mac::BROADCAST, 98)),
        (DropReason::TooBig, "one byte too many", of_nobody(usize::try_from(bench.host().inner_mtu)? + 1)),
        (DropReason::TooBig, "far too many", of_nobody(2986)),
    ];
    let rows = rows.map(|(reason, what, frame)| Row::new(what, frame, Fate::Dropped(reason)));
    bench.table(FROM_PORT, &rows)?;
    let stray =
        Row::new("on no port", udp_frame(STATION, REMOTE, 98), Fate::Dropped(DropReason::UnknownPort));
    bench.table(Hook::Port("u1"), &[stray])?;
    bench.host().overlay(&["vni", "set", &VNI.to_string(), "--flood", "off"])?;
    let unknown = udp_frame(STATION, Mac([2, 0, 0, 0, 7, 7]), 98);
    let fate = Fate::Dropped(DropReason::UnknownUnicast);
    bench.table(FROM_PORT, &[Row::new("to a stranger, and no flooding", unknown, fate)])?;
    bench.add_port("r1", 7)?;
    let fate = Fate::Dropped(DropReason::NoReceivers);
    let lonely = Row::new("to everyone, and nobody is there", udp_frame(STATION, Mac::BROADCAST, 98), fate);
    bench.table(Hook::Port("r1"), &[lonely])
}

fn the_mtu_of_the_route_counts<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    // Of a route's MTU the kernel tells a program only what is locked.
    let (own, remote) = (bench.host().vtep, lab.host(2).vtep);
    bench.host().netns.ip(&format!("route add {remote} dev u1 src {own} mtu lock 1400"))?;
    let payload = vec![1; 1400 - (Outer::<N>::LEN - 14) - 14 + 1];
    let large = Ethernet::new(STATION, REMOTE, ETHER_EXPERIMENT).frame(&payload[1..]);
    let too_big = Ethernet::new(STATION, REMOTE, ETHER_EXPERIMENT).frame(&payload);
    // The kernel's answer counts, and what a CPU remembers of it.
    for _ in 0..20 {
        encapsulated(&bench, &large)?;
        bench.check(FROM_PORT, &too_big, &Fate::Dropped(DropReason::TooBig))?;
    }
    Ok(())
}

fn a_way_that_is_none_is_told<N: Network>() -> Result<()> {
    let ways = [
        ("route del SUBNET dev u1", DropReason::NoRoute),
        ("route add unreachable REMOTE", DropReason::NoRoute),
        ("route add blackhole REMOTE", DropReason::NoRoute),
        ("route add REMOTE dev p2", DropReason::NotAnUplink),
    ];
    for (change, reason) in ways {
        let lab = lab_over::<N>()?;
        let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
        let subnet = if lab.host(2).vtep.is_ipv4() { "10.0.0.0/24" } else { "fd00::/64" };
        let words = change.replace("SUBNET", subnet).replace("REMOTE", &lab.host(2).vtep.to_string());
        bench.host().netns.ip(&words)?;
        let frame = udp_frame(STATION, REMOTE, 98);
        bench.check(FROM_PORT, &frame, &Fate::Dropped(reason)).context(change)?;
    }
    Ok(())
}

fn the_kernel_resolves_a_next_hop_that_is_unknown<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let hook = Hook::Port(OTHER_PORT);
    let frame = udp_frame(STATION, REMOTE, 98);
    let arp = Ethernet::new(STATION, REMOTE, ETHER_ARP).frame(&[0; 46]);
    let other_vtep = Bench::<N>::other_vtep();
    let (from, mac) = (bench.host(), lab.host(2).mac);
    let mut outer = Outer::<N>::new((from.mac, from.vtep), (mac, other_vtep), OTHER_VNI)?;
    for frame in [&frame, &arp] {
        let (outcome, drops) = bench.run(hook, frame)?;
        ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{}, {drops:?}", outcome.verdict);
        outer.choose_as(&outcome.frame)?;
        same(&outcome.frame[12..], &outer.frame(frame)[12..])?;
    }
    bench.host().netns.ip(&format!("neigh replace {other_vtep} lladdr {mac} dev u1 nud permanent"))?;
    for frame in [&frame, &arp] {
        let (outcome, drops) = bench.run(hook, frame)?;
        ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{}, {drops:?}", outcome.verdict);
        outer.choose_as(&outcome.frame)?;
        same(&outcome.frame, &outer.frame(frame))?;
    }
    Ok(())
}

fn what_exceeds_the_uplink_is_dropped_before_the_next_hop_is_known<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let frame = of_nobody(usize::try_from(bench.host().inner_mtu)? + 1);
    bench.check(Hook::Port(OTHER_PORT), &frame, &Fate::Dropped(DropReason::TooBig))
}
