//! Copies that `from_port` sends: one to every other port of the segment, one to every remote VTEP.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use overlay_common::{DropReason, Family};
use overlay_tests::{
    bench::{
        Bench, Fate, Hook, OTHER_PORT, PORT, REMOTE, SECOND_PORT, STATION, VNI, lab, lab_over, same,
        udp_frame,
    },
    frame::{Arp, ETHER_EXPERIMENT, ETHER_IPV6, Ethernet, IP_UDP, Ipv4, Ipv6, Mac, Network, Outer, Udp},
    over_both_families,
    process::{stay_on_one_cpu, wait_until},
    testrun::TC_REDIRECT,
    topology::Lab,
    wire::{Direction, Received, Wire},
};

const FROM_PORT: Hook<'_> = Hook::Port(PORT);

over_both_families! {
    everyone_else_gets_one_copy,
    a_vtep_whose_next_hop_is_unknown_gets_the_frame_itself,
    of_several_unknown_next_hops_each_has_its_turn,
    a_next_hop_that_is_no_longer_known_goes_on_for_copies,
}

/// Further members of the segment; all of them have host 2's MAC address.
fn more_vteps<N: Network>() -> [IpAddr; 2] {
    match N::FAMILY {
        Family::Ipv4 => [[10, 0, 0, 4].into(), [10, 0, 0, 5].into()],
        Family::Ipv6 => [4, 5].map(|last| [0xfd00, 0, 0, 0, 0, 0, 0, last].into()),
    }
}

/// Frames that have to be flooded.
fn flooded(mtu: u32) -> Result<Vec<Vec<u8>>> {
    let ip6 = Ipv6::new("fd01::1".parse()?, "ff02::1".parse()?, IP_UDP);
    let datagram = Udp::new(5, 6).datagram(ip6.addresses(), b"to all");
    Ok(vec![
        udp_frame(STATION, Mac::BROADCAST, 101),
        Arp::request((STATION, Ipv4Addr::new(10, 1, 0, 1)), Ipv4Addr::new(10, 1, 0, 2)),
        udp_frame(STATION, Mac([1, 0, 0x5e, 0, 0, 1]), 102),
        Ethernet::new(STATION, Mac([0x33, 0x33, 0, 0, 0, 1]), ETHER_IPV6).frame(&ip6.packet(&datagram)),
        Ethernet::new(STATION, Mac::BROADCAST, ETHER_EXPERIMENT).frame(&[0x77; 60]),
        udp_frame(STATION, Mac([2, 0, 0, 0, 7, 7]), 103),
        udp_frame(STATION, Mac::BROADCAST, usize::try_from(mtu)? + 14),
    ])
}

/// The remote VTEP that a packet of `inner` goes to; it has to be right byte for byte.
fn receiver<N: Network>(bench: &Bench<'_, N>, packet: &[u8], inner: &[u8]) -> Result<IpAddr> {
    let (found, _) = Outer::<N>::parse(packet)?;
    let (from, to) = (bench.host(), bench.lab.host(2));
    let (_, destination) = found.ip.addresses();
    let mut outer = Outer::<N>::new((from.mac, from.vtep), (to.mac, destination), VNI)?;
    outer.udp.source = found.udp.source;
    outer.ip.choose_as(&found.ip);
    ensure!(found.udp.source >= 49152, "source port {}", found.udp.source);
    same(packet, &outer.frame(inner))?;
    Ok(destination)
}

/// Who got a packet of `inner`: those whose copies came over the wire, and whom the frame itself was made for.
fn receivers<N: Network>(bench: &Bench<'_, N>, wire: &Wire, inner: &[u8]) -> Result<Vec<IpAddr>> {
    let (outcome, drops) = bench.run(FROM_PORT, inner)?;
    ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{}, {drops:?}", outcome.verdict);
    let mut all = vec![receiver(bench, &outcome.frame, inner).context("the frame itself")?];
    for copy in wire.collect(|frame| frame.bytes.ends_with(&inner[14..]))? {
        all.push(receiver(bench, &copy.bytes, inner).context("a copy")?);
    }
    all.sort_unstable();
    Ok(all)
}

fn everyone_else_gets_one_copy<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = Bench::<N>::over(&lab, &["--xdp", "off"])?;
    let mut everyone = vec![lab.host(2).vtep];
    for vtep in more_vteps::<N>() {
        let neighbour = format!("neigh replace {vtep} lladdr {} dev u1 nud permanent", lab.host(2).mac);
        bench.add_tunnel(VNI, &vtep.to_string())?;
        bench.host().netns.ip(&neighbour)?;
        everyone.push(vtep);
    }
    let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    let (sender, second, other) =
        (bench.station(PORT)?, bench.station(SECOND_PORT)?, bench.station(OTHER_PORT)?);
    for (index, frame) in flooded(bench.host().inner_mtu)?.into_iter().enumerate() {
        let all = receivers(&bench, &wire, &frame).with_context(|| format!("frame {index}"))?;
        ensure!(all == everyone, "frame {index}: packets to {all:?}");
        let copies = second.collect(|seen| seen.bytes == frame)?;
        ensure!(copies.len() == 1, "frame {index}: {} copies to the other port", copies.len());
    }
    for station in [sender, other] {
        let strays = station.collect(|frame| frame.bytes.windows(6).any(|part| part == STATION.0))?;
        ensure!(strays.is_empty(), "{} copies to where they do not belong", strays.len());
    }
    Ok(())
}

#[test]
fn without_remote_vteps_the_ports_get_theirs() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    for port in ["r1", "r2", "r3"] {
        bench.add_port(port, 7)?;
    }
    let (sender, others) = (bench.station("r1")?, [bench.station("r2")?, bench.station("r3")?]);
    for (index, frame) in flooded(bench.host().inner_mtu)?.into_iter().enumerate() {
        bench.check(Hook::Port("r1"), &frame, &Fate::Copied).with_context(|| format!("frame {index}"))?;
        for other in &others {
            let copies = other.collect(|seen| seen.bytes == frame)?;
            ensure!(copies.len() == 1, "frame {index}: {} copies", copies.len());
        }
    }
    let strays = sender.collect(|frame| frame.bytes.windows(6).any(|part| part == STATION.0))?;
    ensure!(strays.is_empty(), "{} copies came back", strays.len());
    Ok(())
}

#[test]
fn what_nobody_gets_is_dropped_and_counted() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.add_port("r1", 7)?;
    for (index, frame) in flooded(bench.host().inner_mtu)?.into_iter().enumerate() {
        let fate = Fate::Dropped(DropReason::NoReceivers);
        bench.check(Hook::Port("r1"), &frame, &fate).with_context(|| format!("frame {index}"))?;
    }
    let stats = bench.host().overlay_json(&["stats", "--vni", "7"])?;
    ensure!(stats["segments"][0]["tx_packets"] == 0, "{stats}");
    Ok(())
}

/// The port `r1` in segment 7, which has tunnels to `unresolved` VTEPs and then to host 2.
fn with_unresolved<'a, N: Network>(lab: &'a Lab, unresolved: &[IpAddr]) -> Result<Bench<'a, N>> {
    let bench = Bench::over(lab, &["--xdp", "off"])?;
    bench.add_port("r1", 7)?;
    for vtep in unresolved {
        bench.add_tunnel(7, &vtep.to_string())?;
    }
    bench.add_tunnel(7, &lab.host(2).vtep.to_string())?;
    Ok(bench)
}

/// Floods a frame into segment 7: to whom the frame itself goes, to whom copies went, and how many were lost.
fn flood<N: Network>(bench: &Bench<'_, N>, wire: &Wire, inner: &[u8]) -> Result<(IpAddr, Vec<IpAddr>, u64)> {
    let (outcome, drops) = bench.run(Hook::Port("r1"), inner)?;
    ensure!(outcome.verdict == TC_REDIRECT, "{}, {drops:?}", outcome.verdict);
    let lost = match drops[..] {
        [] => 0,
        [(DropReason::NextHopUnresolved, lost)] => lost,
        _ => anyhow::bail!("{drops:?}"),
    };
    let copies = wire.collect(|frame| frame.bytes.ends_with(&inner[14..]))?;
    let target = |copy: &Received| Ok(Outer::<N>::parse(&copy.bytes)?.0.ip.addresses().1);
    let copies = copies.iter().map(target).collect::<Result<_>>()?;
    // The kernel fills in the Ethernet header of a packet whose next hop it has to resolve.
    let (itself, _) = N::parse(outcome.frame.get(14..).context("no Ethernet header")?)?;
    Ok((itself.addresses().1, copies, lost))
}

fn a_vtep_whose_next_hop_is_unknown_gets_the_frame_itself<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = with_unresolved::<N>(&lab, &more_vteps::<N>()[..1])?;
    let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    for (index, frame) in flooded(bench.host().inner_mtu)?.into_iter().enumerate() {
        let receivers = flood(&bench, &wire, &frame)?;
        let expected = (more_vteps::<N>()[0], vec![lab.host(2).vtep], 0);
        ensure!(receivers == expected, "frame {index}: {receivers:?}");
    }
    Ok(())
}

fn of_several_unknown_next_hops_each_has_its_turn<N: Network>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = with_unresolved::<N>(&lab, &more_vteps::<N>())?;
    let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    let everyone: BTreeSet<_> = more_vteps::<N>().into();
    let mut served = BTreeSet::new();
    wait_until(Instant::now() + Duration::from_secs(10), || {
        let (itself, copies, lost) = flood(&bench, &wire, &udp_frame(STATION, Mac::BROADCAST, 101))?;
        ensure!(copies == [lab.host(2).vtep] && lost == 1, "copies to {copies:?}, {lost} lost");
        served.insert(itself);
        Ok((served == everyone).then_some(()))
    })
    .with_context(|| format!("only {served:?} of {everyone:?}"))
}

fn a_next_hop_that_is_no_longer_known_goes_on_for_copies<N: Network>() -> Result<()> {
    // Each CPU keeps next hops of its own.
    stay_on_one_cpu()?;
    let lab = lab_over::<N>()?;
    let bench = with_unresolved::<N>(&lab, &more_vteps::<N>())?;
    let netns = &bench.host().netns;
    let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    for vtep in more_vteps::<N>() {
        netns.ip(&format!("neigh replace {vtep} lladdr {} dev u1 nud permanent", lab.host(2).mac))?;
    }
    let frame = udp_frame(STATION, Mac::BROADCAST, 101);
    let (more, host_2) = (more_vteps::<N>(), lab.host(2).vtep);
    ensure!(flood(&bench, &wire, &frame)? == (host_2, more.to_vec(), 0), "all are known");
    for vtep in more_vteps::<N>() {
        netns.ip(&format!("neigh del {vtep} dev u1"))?;
    }
    // Long after an answer of the FIB has ceased to be fresh.
    let forgotten = Instant::now() + Duration::from_secs(1);
    while Instant::now() < forgotten {
        let receivers = flood(&bench, &wire, &frame)?;
        ensure!(receivers == (host_2, more.to_vec(), 0), "{receivers:?}");
    }
    Ok(())
}

#[test]
fn a_flooded_frame_has_to_fit_its_segment() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.set(&["--mtu", "1000"])?;
    let wire = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    for (to, len) in [(Mac::BROADCAST, 1015), (Mac([2, 0, 0, 0, 7, 7]), 1015), (Mac::BROADCAST, 1414)] {
        let (_, drops) = bench.run(FROM_PORT, &udp_frame(STATION, to, len))?;
        ensure!(drops == [(DropReason::TooBig, 1)], "{to}, {len} bytes: {drops:?}");
    }
    let (outcome, drops) = bench.run(FROM_PORT, &udp_frame(STATION, Mac::BROADCAST, 1014))?;
    ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{drops:?}");
    ensure!(wire.collect(|seen| Outer::<Ipv4>::parse(&seen.bytes).is_ok())?.is_empty());
    Ok(())
}

/// 802.1Q, table 8-1.
#[test]
fn what_is_for_one_link_only_is_not_flooded() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let frame = |source, last, ether_type| {
        Ethernet::new(source, Mac([1, 0x80, 0xc2, 0, 0, last]), ether_type).frame(&[0x18; 50])
    };
    let (one, two) = (bench.station(PORT)?, bench.station(SECOND_PORT)?);
    for (last, ether_type) in [(1, 0x8808), (2, 0x8809), (3, 0x888e), (14, 0x88cc), (15, 0x0027)] {
        let reserved = Fate::Dropped(DropReason::ReservedMac);
        bench.check(FROM_PORT, &frame(STATION, last, ether_type), &reserved)?;
        let packet = bench.packet(&frame(REMOTE, last, ether_type), |_| {})?;
        bench.check(Hook::Uplink("u1"), &packet, &reserved)?;
    }
    let is_it = |seen: &Received| seen.bytes.ends_with(&[0x18; 50]);
    ensure!(one.collect(is_it)?.is_empty() && two.collect(is_it)?.is_empty());
    // Others of the kind are groups like any, and so are messages of the spanning tree.
    for last in [0, 16, 0x21] {
        bench.run(FROM_PORT, &frame(STATION, last, 0x27))?;
        two.expect("a copy", is_it)?;
    }
    Ok(())
}
