//! Packets that the kernel carries as one, where a tunnel cannot take them apart again: dropped and counted, never
//! delivered as something else.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    frame::{
        ETHER_EXPERIMENT, ETHER_IPV4, ETHER_IPV6, Ethernet, IP_TCP, Ipv4, Ipv6, Mac, Network, Tcp,
        VXLAN_PORT, Vxlan,
    },
    mesh, over_both_families,
    overlay::Instance,
    process::wait_until,
    topology::{Host, Lab, Plan, Underlay, Workload},
    traffic,
    wire::{Direction, Wire},
};

const VNI: u32 = 100;

over_both_families! {
    merged_udp_is_counted_where_it_cannot_be_delivered,
    several_tunnel_packets_in_one_are_not_taken_for_one,
    merged_packets_count_as_what_they_are_cut_up_into,
    merged_packets_are_measured_by_what_they_are_cut_up_into,
}

fn wait_for_merged(host: &Host, before: &std::collections::BTreeMap<String, u64>) -> Result<()> {
    wait_until(Instant::now() + Duration::from_secs(5), || {
        Ok(host.drops_since(before)?.contains_key(DropReason::Merged.name()).then_some(()))
    })
}

fn merged_udp_is_counted_where_it_cannot_be_delivered<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(N::FAMILY))?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let before = lab.host(2).drops()?;
    let address = workloads[1].v4.into();
    ensure!(traffic::udp_segmented(&workloads[0].netns, &workloads[1].netns, address, 1200, 5).is_err());
    wait_for_merged(lab.host(2), &before)
}

/// What the inner frames of several tunnel packets can be; of TCP the kernel merges those of one tunnel packet, too.
fn payloads() -> Result<[(u16, Vec<u8>); 3]> {
    let (ip4, ip6) = (
        Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_TCP),
        Ipv6::new("fd01::1".parse()?, "fd01::2".parse()?, IP_TCP),
    );
    let segment = |addresses| Tcp::new(1, 2).segment(addresses, &[7; 80]);
    Ok([
        (ETHER_EXPERIMENT, vec![7; 80]),
        (ETHER_IPV4, ip4.packet(&segment(ip4.addresses()))),
        (ETHER_IPV6, ip6.packet(&segment(ip6.addresses()))),
    ])
}

fn several_tunnel_packets_in_one_are_not_taken_for_one<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(N::FAMILY))?;
    let (one, two) = (lab.host(1), lab.host(2));
    let instance = Instance::up(one, &[])?;
    instance.reach(VNI, two)?;
    let workload = mesh::workload(&instance, VNI, 1)?;
    let receiver = Wire::open(&workload.netns, Workload::DEVICE, Direction::In)?;
    for (ether_type, payload) in payloads()? {
        let inner = Ethernet::new(Mac([2, 0, 0, 0, 0, 9]), workload.mac, ether_type).frame(&payload);
        let packet = Vxlan::new(VNI).packet(&inner);
        let before = one.drops()?;
        let socket = two.netns.enter(|| Ok(UdpSocket::bind((two.vtep, 0))?))?;
        let target = (one.vtep, VXLAN_PORT);
        // The neighbour has to be known, and the way has to be right.
        socket.send_to(&packet, target)?;
        receiver.expect("one packet alone", |received| received.bytes == inner)?;

        // Now the kernel has the packet in pages, all but its UDP header.
        traffic::segment(&socket, packet.len())?;
        socket.send_to(&packet, target)?;
        receiver.expect("one packet in pages", |received| received.bytes == inner)?;
        socket.send_to(&packet.repeat(5), target)?;
        wait_for_merged(one, &before)?;
        let delivered = receiver.collect(|received| received.bytes.starts_with(&inner))?;
        ensure!(delivered.is_empty(), "{ether_type:#06x}: {} frames of a merged packet", delivered.len());
    }
    Ok(())
}

fn merged_packets_count_as_what_they_are_cut_up_into<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(N::FAMILY))?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    traffic::tcp(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into(), 16 << 20)?;
    for (host, direction) in lab.hosts.iter().zip(["tx", "rx"]) {
        let stats = host.overlay_json(&["stats"])?;
        let rows = stats["segments"].as_array().context("no array")?;
        let row = rows.iter().find(|row| !row["remote"].is_null()).context("no tunnel")?;
        let count = |what| row[format!("{direction}_{what}")].as_u64().context("no number");
        let largest = u64::from(host.inner_mtu) + 14;
        let (packets, bytes) = (count("packets")?, count("bytes")?);
        ensure!(bytes >= 16 << 20 && bytes <= packets * largest, "{packets} packets of {bytes} bytes");
    }
    Ok(())
}

fn merged_packets_are_measured_by_what_they_are_cut_up_into<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(N::FAMILY))?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    let mut workloads = Vec::new();
    for instance in &instances {
        // One byte too many for the uplinks, together with the outer headers.
        let workload = instance.host.workload(&Plan {
            mtu: Some(instance.host.inner_mtu + 1),
            ..Plan::new(VNI, instance.host.number)
        })?;
        instance.attach(VNI, &workload)?;
        workloads.push(workload);
    }
    let piece = usize::try_from(lab.host(1).inner_mtu + 1 - 28)?;
    let before = lab.host(1).drops()?;
    let (from, to) = (&workloads[0], &workloads[1]);
    ensure!(traffic::udp_segmented(&from.netns, &to.netns, to.v4.into(), piece, 5).is_err());
    let dropped = lab.host(1).drops_since(&before)?;
    ensure!(dropped.contains_key(DropReason::TooBig.name()), "{dropped:?}");
    Ok(())
}
