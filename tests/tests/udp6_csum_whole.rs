//! What workloads have the kernel carry as one, on its way to VTEPs over IPv6 that insist on UDP checksums.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use overlay_common::{DropReason, Family};
use overlay_tests::{
    cutter, figures,
    frame::{Ipv6, Outer, verify},
    mesh,
    overlay::Instance,
    peer::{Peer, Segment},
    topology::{Host, Lab, Plan, Underlay, Workload},
    traffic,
    wire::{Direction, Wire},
};
use serde_json::Value;

const VNI: u32 = 100;
/// Bytes of a transfer whose packets are all looked at.
const LOOKED_AT: usize = 8 << 20;

fn tunnel<'a>(host: &'a Host, to: &Host) -> Result<Instance<'a>> {
    let instance = Instance::up(host, &[])?;
    let remote = to.vtep.to_string();
    host.overlay(&["tunnel", "add", "--vni", "100", "--remote", &remote, "--udp6-csum"])?;
    Ok(instance)
}

/// Host 1 is ours, host 2 the kernel's, which insists on checksums; each with a workload that has every offload.
struct Mixed<'a> {
    instance: Instance<'a>,
    ours: Workload,
    theirs: Workload,
}

impl<'a> Mixed<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let (one, two) = (lab.host(1), lab.host(2));
        let instance = tunnel(one, two)?;
        let ours = mesh::workload(&instance, VNI, 1)?;
        let peer = Peer::join(two, &Segment::new(two, VNI, &[one]))?;
        let theirs = two.workload(&Plan::new(VNI, 2))?;
        peer.attach(&theirs)?;
        Ok(Self { instance, ours, theirs })
    }
}

fn nothing_dropped(host: &Host) -> Result<()> {
    let mut drops = host.drops()?;
    // What workloads say by themselves, before the other one is there, may reach nobody.
    drops.remove(DropReason::NoReceivers.name());
    ensure!(drops.values().all(|count| *count == 0), "something was dropped: {drops:?}");
    Ok(())
}

/// Packets that a host has counted as sent into its tunnel.
fn sent(host: &Host) -> Result<u64> {
    let stats = host.overlay_json(&["stats"])?;
    let rows = stats["segments"].as_array().context("no segments")?;
    let row = rows.iter().find(|row| row["remote"] != Value::Null).context("no tunnel")?;
    row["tx_packets"].as_u64().context("no count")
}

/// Every packet from `host` that the wire has carried; all have to be complete, with checksums that are right.
fn complete_packets(wire: &Wire, host: &Host) -> Result<u64> {
    let mut seen = 0;
    for frame in wire.collect(|_| true)? {
        let Ok((outer, _)) = Outer::<Ipv6>::parse(&frame.bytes) else { continue };
        if outer.ip.source != host.v6 {
            continue;
        }
        ensure!(!frame.checksum_pending, "a checksum is not filled in: {outer:?}");
        ensure!(outer.udp.checksum != Some(0), "a packet without a checksum: {outer:?}");
        ensure!(frame.bytes.len() <= 1514, "{} bytes: {outer:?}", frame.bytes.len());
        verify(&frame.bytes)?;
        seen += 1;
    }
    Ok(seen)
}

#[test]
fn tcp_arrives_at_a_kernel_peer_and_every_packet_has_its_checksum() -> Result<()> {
    let lab = Lab::with(2, Underlay::wire(Family::Ipv6))?;
    let mixed = Mixed::new(&lab)?;
    let (one, two) = (lab.host(1), lab.host(2));
    for address in [IpAddr::V4(mixed.theirs.v4), IpAddr::V6(mixed.theirs.v6)] {
        traffic::ping(&mixed.ours.netns, address, 2)?;
        let (before, pieces) = (sent(one)?, cutter::pieces(one)?);
        let wire = Wire::open(&two.netns, &two.uplink, Direction::In)?;
        traffic::tcp(&mixed.ours.netns, &mixed.theirs.netns, address, LOOKED_AT)?;
        let seen = complete_packets(&wire, one)?;
        let least = u64::try_from(LOOKED_AT / 1430)?;
        ensure!(seen >= least, "{seen} packets for {LOOKED_AT} bytes");
        // Neighbours may be asked for meanwhile.
        let counted = sent(one)? - before;
        ensure!(counted.abs_diff(seen) <= 8, "{seen} packets, {counted} counted");
        let pieces = cutter::pieces(one)? - pieces;
        ensure!(pieces >= least / 2 && pieces <= seen, "{pieces} pieces of {seen} packets");
    }
    nothing_dropped(one)
}

#[test]
fn a_kernel_peer_that_insists_on_checksums_talks_with_whole_packets() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(Family::Ipv6))?;
    let mixed = Mixed::new(&lab)?;
    mesh::exchange(&mixed.ours, &mixed.theirs, 16 << 20)?;
    let mut rates = Vec::new();
    for (from, to) in [(&mixed.ours, &mixed.theirs), (&mixed.theirs, &mixed.ours)] {
        rates.push(traffic::iperf3(&from.netns, &to.netns, to.v4.into(), 1)?);
    }
    mixed.ours.netns.run(&["ethtool", "-K", Workload::DEVICE, "tso", "off", "gso", "off"])?;
    rates.push(traffic::iperf3(&mixed.ours.netns, &mixed.theirs.netns, mixed.theirs.v4.into(), 1)?);
    figures::report(&format!(
        "TCP over Ipv6 with UDP checksums, Gbit/s to a kernel peer {:.1}, from it {:.1}; to it from a workload without TSO {:.1}",
        rates[0], rates[1], rates[2]
    ))?;
    nothing_dropped(mixed.instance.host)
}

#[test]
fn ours_talk_to_each_other_with_whole_packets() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(Family::Ipv6))?;
    let (one, two) = (lab.host(1), lab.host(2));
    let (left, right) = (tunnel(one, two)?, tunnel(two, one)?);
    let (from, to) = (mesh::workload(&left, VNI, 1)?, mesh::workload(&right, VNI, 2)?);
    mesh::exchange(&from, &to, 16 << 20)?;
    mesh::exchange_segmented(&from, &to)?;
    let rate = traffic::iperf3(&from.netns, &to.netns, to.v4.into(), 1)?;
    figures::report(&format!("TCP over Ipv6 with UDP checksums, Gbit/s from ours to ours {rate:.1}"))?;
    for host in [one, two] {
        ensure!(cutter::pieces(host)? > 1000, "host {} has cut up nothing", host.number);
        nothing_dropped(host)?;
    }
    Ok(())
}

#[test]
fn udp_in_one_piece_is_cut_up() -> Result<()> {
    let lab = Lab::with(2, Underlay::wire(Family::Ipv6))?;
    let mixed = Mixed::new(&lab)?;
    let (one, two) = (lab.host(1), lab.host(2));
    for address in [IpAddr::V4(mixed.theirs.v4), IpAddr::V6(mixed.theirs.v6)] {
        let before = cutter::pieces(one)?;
        let wire = Wire::open(&two.netns, &two.uplink, Direction::In)?;
        for size in [1, 999, 1200, 1381] {
            traffic::udp_segmented(&mixed.ours.netns, &mixed.theirs.netns, address, size, 20)?;
        }
        ensure!(cutter::pieces(one)? - before >= 80, "it was not cut up by the pair");
        ensure!(complete_packets(&wire, one)? >= 80, "packets are missing");
    }
    nothing_dropped(one)
}

#[test]
fn whole_packets_that_are_flooded_are_cut_up_for_those_who_want_checksums() -> Result<()> {
    let lab = Lab::with(3, Underlay::over(Family::Ipv6))?;
    let one = lab.host(1);
    let instance = tunnel(one, lab.host(2))?;
    instance.reach(VNI, lab.host(3))?;
    let sender = mesh::workload(&instance, VNI, 1)?;
    let mut receivers = Vec::new();
    let mut remotes = Vec::new();
    for (number, options) in [(2, &[][..]), (3, &["udp6zerocsumrx"][..])] {
        let host = lab.host(number);
        let peer = Peer::join(host, &Segment::new(host, VNI, &[one]).options(options))?;
        let workload = host.workload(&Plan::new(VNI, number))?;
        peer.attach(&workload)?;
        receivers.push(workload.netns.enter(|| Ok(std::net::UdpSocket::bind(("0.0.0.0", 5999))?))?);
        remotes.push(workload);
    }
    let socket = sender.netns.enter(|| Ok(std::net::UdpSocket::bind((sender.v4, 0))?))?;
    socket.set_broadcast(true)?;
    traffic::segment(&socket, 1000)?;
    let payload: Vec<u8> = (0..10_000_u32).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
    socket.send_to(&payload, ("10.1.0.255", 5999))?;
    for receiver in &receivers {
        receiver.set_read_timeout(Some(traffic::PATIENCE))?;
        let mut buffer = [0; 2000];
        for (at, part) in payload.chunks(1000).enumerate() {
            let len = receiver.recv(&mut buffer).with_context(|| format!("datagram {at}"))?;
            ensure!(buffer[..len] == *part, "datagram {at} is not as it was sent");
        }
    }
    ensure!(cutter::pieces(one)? == 10, "{} pieces", cutter::pieces(one)?);
    nothing_dropped(one)
}

#[test]
fn next_hops_that_are_not_resolved_wait_for_whole_packets_too() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(Family::Ipv6))?;
    let mixed = Mixed::new(&lab)?;
    let one = lab.host(1);
    for _ in 0..20 {
        one.netns.run(&["ip", "-6", "neighbour", "flush", "all"])?;
        traffic::tcp(&mixed.ours.netns, &mixed.theirs.netns, mixed.theirs.v4.into(), 1 << 18)?;
    }
    nothing_dropped(one)
}

#[test]
fn only_where_the_pair_is_missing_whole_packets_are_dropped_and_counted() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(Family::Ipv6))?;
    let mixed = Mixed::new(&lab)?;
    let host = mixed.instance.host;
    let send =
        || traffic::udp_segmented(&mixed.ours.netns, &mixed.theirs.netns, mixed.theirs.v4.into(), 1000, 5);
    send()?;
    let before = host.drops()?;
    host.netns.ip(&format!("link del {}", cutter::of(host)?.entrance))?;
    ensure!(send().is_err(), "it arrived without the pair");
    // The command makes the pair again.
    let dropped = host.drops_since(&before)?;
    ensure!(dropped.keys().eq([DropReason::GsoChecksum.name()]), "{dropped:?}");
    let before = host.drops()?;
    send()?;
    ensure!(host.drops_since(&before)?.is_empty(), "something was dropped");
    Ok(())
}
