//! The harness proves itself: kernel to kernel, with nothing of ours between.

use anyhow::{Result, ensure};
use overlay_tests::{
    frame::{Ipv4, Outer, verify},
    mesh,
    netns::NetNs,
    peer::{Peer, Segment},
    stream::Stream,
    topology::{Lab, Plan, Underlay, Workload},
    traffic,
    wire::{Direction, Wire},
};

const VNI: u32 = 100;

/// A segment of the kernel's own between all hosts of the lab, with one workload on each.
fn kernel_segment(lab: &Lab, options: &[&str]) -> Result<Vec<Workload>> {
    let mut workloads = Vec::new();
    for host in &lab.hosts {
        let others: Vec<_> = lab.hosts.iter().filter(|other| other.number != host.number).collect();
        let peer = Peer::join(host, &Segment::new(host, VNI, &others).options(options))?;
        let workload = host.workload(&Plan::new(VNI, host.number))?;
        peer.attach(&workload)?;
        workloads.push(workload);
    }
    Ok(workloads)
}

#[test]
fn two_kernel_hosts_exchange_traffic() -> Result<()> {
    let lab = Lab::new(2)?;
    let workloads = kernel_segment(&lab, &[])?;
    mesh::exchange_segmented(&workloads[0], &workloads[1])?;
    mesh::exchange(&workloads[0], &workloads[1], 4 << 20)
}

#[test]
fn two_kernel_hosts_exchange_traffic_as_on_a_wire() -> Result<()> {
    let lab = Lab::with(2, Underlay { offloads: false, static_neighbours: true, ..Underlay::default() })?;
    let workloads = kernel_segment(&lab, &["udpcsum"])?;
    let uplink = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    mesh::exchange(&workloads[0], &workloads[1], 4 << 20)?;
    let mut outer_sums = 0;
    for frame in uplink.collect(|_| true)? {
        ensure!(!frame.checksum_pending && frame.bytes.len() <= 1514, "not as on a wire");
        verify(&frame.bytes)?;
        if Outer::<Ipv4>::parse(&frame.bytes).is_ok_and(|(outer, _)| outer.udp.checksum != Some(0)) {
            outer_sums += 1;
        }
    }
    ensure!(outer_sums > 0, "no outer UDP checksum");
    Ok(())
}

#[test]
fn three_hosts_are_joined_by_a_switch() -> Result<()> {
    let lab = Lab::new(3)?;
    let workloads = kernel_segment(&lab, &[])?;
    traffic::ping(&lab.host(1).netns, lab.host(3).v6.into(), 3)?;
    traffic::ping(&workloads[0].netns, workloads[2].v4.into(), 3)?;
    traffic::ping(&workloads[1].netns, workloads[2].v4.into(), 3)
}

#[test]
fn unreachable_is_noticed() -> Result<()> {
    let lab = Lab::new(2)?;
    let lone = lab.host(1).workload(&Plan::new(VNI, 1))?;
    let other = Plan::new(VNI, 2);
    traffic::no_ping(&lone.netns, other.v4.into())?;
    ensure!(traffic::ping(&lone.netns, other.v4.into(), 1).is_err(), "nobody answered");
    Ok(())
}

#[test]
fn streams_go_on_and_count() -> Result<()> {
    let lab = Lab::new(2)?;
    let stream = Stream::start(&lab.host(1).netns, &lab.host(2).netns, lab.host(2).v4.into())?;
    stream.go_on(200)?;
    ensure!(stream.finish()?.sent >= 200, "too few");
    let stream = Stream::start(&lab.host(1).netns, &lab.host(2).netns, lab.host(2).v4.into())?;
    lab.host(2).netns.ip("link set u2 down")?;
    ensure!(stream.go_on(10).is_err(), "the stream went on without a link");
    ensure!(stream.finish().is_err(), "losses were not counted");
    Ok(())
}

#[test]
fn iperf3_measures() -> Result<()> {
    let lab = Lab::new(2)?;
    let rate = traffic::iperf3(&lab.host(1).netns, &lab.host(2).netns, lab.host(2).v4.into(), 1)?;
    ensure!(rate > 0.1, "{rate} Gbit/s");
    Ok(())
}

#[test]
fn namespaces_go_with_their_guard() -> Result<()> {
    let netns = NetNs::new("gone")?;
    let name = netns.name().to_owned();
    let list = || overlay_tests::process::checked(std::process::Command::new("ip").args(["netns", "list"]));
    ensure!(list()?.contains(&name), "`ip netns` does not know {name}");
    ensure!(netns.cookie()? != NetNs::new("other")?.cookie()?, "two namespaces with one cookie");
    ensure!(netns.devices()? == ["lo"], "{:?}", netns.devices()?);
    drop(netns);
    ensure!(!list()?.contains(&name), "{name} is still there");
    Ok(())
}
