//! Packets that the kernel carries as one, where a tunnel cannot take them apart again: dropped and counted, never
//! delivered as something else.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Mac, VXLAN_PORT, Vxlan},
    mesh,
    overlay::Instance,
    process::wait_until,
    topology::{Host, Lab, Workload},
    traffic,
    wire::{Direction, Wire},
};

const VNI: u32 = 100;

fn wait_for_merged(host: &Host, before: &std::collections::BTreeMap<String, u64>) -> Result<()> {
    wait_until(Instant::now() + Duration::from_secs(5), || {
        Ok(host.drops_since(before)?.contains_key(DropReason::Merged.name()).then_some(()))
    })
}

#[test]
fn merged_udp_is_counted_where_it_cannot_be_delivered() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    let before = lab.host(2).drops()?;
    let address = workloads[1].v4.into();
    ensure!(traffic::udp_segmented(&workloads[0].netns, &workloads[1].netns, address, 1200, 5).is_err());
    wait_for_merged(lab.host(2), &before)
}

#[test]
fn several_tunnel_packets_in_one_are_not_taken_for_one() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let instance = Instance::up(one, &[])?;
    instance.reach(VNI, two)?;
    let workload = mesh::workload(&instance, VNI, 1)?;
    let receiver = Wire::open(&workload.netns, Workload::DEVICE, Direction::In)?;
    let inner = Ethernet::new(Mac([2, 0, 0, 0, 0, 9]), workload.mac, ETHER_EXPERIMENT).frame(&[7; 80]);
    let packet = Vxlan::new(VNI).packet(&inner);
    let before = one.drops()?;
    let socket = two.netns.enter(|| Ok(UdpSocket::bind((two.v4, 0))?))?;
    let target = (one.v4, VXLAN_PORT);
    // The neighbour has to be known, and the way has to be right.
    socket.send_to(&packet, target)?;
    receiver.expect("one packet alone", |received| received.bytes == inner)?;

    traffic::segment(&socket, packet.len())?;
    socket.send_to(&packet.repeat(5), target)?;
    wait_for_merged(one, &before)?;
    let delivered = receiver.collect(|received| received.bytes.starts_with(&inner))?;
    ensure!(delivered.is_empty(), "{} frames of a merged packet", delivered.len());
    Ok(())
}
