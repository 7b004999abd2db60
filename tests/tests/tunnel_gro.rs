//! Tunnel packets that the kernel merges as they come in: where, by which device, and what that device must not do.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use overlay_common::{DropReason, MacAddr};
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Ipv4, Mac, Network, VXLAN_PORT, Vxlan},
    mending::{mends, quiet, status, warns},
    mesh,
    objects::Objects,
    over_both_families,
    overlay::Instance,
    peer::{Peer, Segment},
    process::wait_until,
    refusal,
    topology::{Host, Lab, Plan, Underlay, Workload},
    traffic,
};
use serde_json::Value;

const VNI: u32 = 100;
const EXISTS: i32 = 3;
/// Bytes of TCP that are sent to see whether they are merged.
const BULK: usize = 16 << 20;

over_both_families! {
    tcp_out_of_tunnels_is_merged_where_the_uplink_merges,
    what_the_kernel_serves_beside_us_goes_on,
    what_nobody_takes_is_counted_and_does_not_reach_the_host,
    the_device_is_mended_and_goes_when_it_is_of_no_use,
    a_device_of_somebody_else_is_enough,
}

/// Frames of one MTU, which hosts merge as they receive them.
fn merging<N: Network>() -> Result<Lab> {
    Lab::with(2, Underlay { aggregation: true, ..Underlay::wire(N::FAMILY) })
}

/// The `vxlan` devices of a host.
fn vxlan_devices(host: &Host) -> Result<Vec<String>> {
    let text = host.netns.run(&["ip", "-j", "link", "show", "type", "vxlan"])?;
    let links: Value = serde_json::from_str(&text)?;
    let links = links.as_array().context("no array")?;
    Ok(links.iter().filter_map(|link| Some(link["ifname"].as_str()?.to_owned())).collect())
}

/// The one that has the kernel listen for packets to the host's VTEP.
fn listener(host: &Host) -> Result<String> {
    let letter = if host.vtep.is_ipv4() { "-4" } else { "-6" };
    let mut devices = vxlan_devices(host)?.into_iter();
    devices.find(|name| name.starts_with("ovl") && name.ends_with(letter)).context("no device")
}

/// Packets and bytes that a workload's device has received.
fn received(workload: &Workload) -> Result<[u64; 2]> {
    let text = workload.netns.run(&["ip", "-s", "-j", "link", "show", Workload::DEVICE])?;
    let links: Value = serde_json::from_str(&text)?;
    let count = |what: &str| links[0]["stats64"]["rx"][what].as_u64().context("no number");
    Ok([count("packets")?, count("bytes")?])
}

/// How many bytes the packets have on average that TCP in bulk reaches the second workload in.
fn mean_length(workloads: &[Workload]) -> Result<u64> {
    let before = received(&workloads[1])?;
    traffic::tcp(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into(), BULK)?;
    let after = received(&workloads[1])?;
    Ok((after[1] - before[1]) / (after[0] - before[0]))
}

/// What `status` says of tunnel GRO: whether it is on, and why.
fn merger(host: &Host) -> Result<(bool, String)> {
    let (status, _) = status(host)?;
    let row = &status["tunnel_gro"][0];
    Ok((row["on"].as_bool().context("no bool")?, row["why"].as_str().context("no reason")?.to_owned()))
}

fn is_merger(host: &Host, on: bool, why: &str) -> Result<()> {
    let is = merger(host)?;
    ensure!(is.0 == on && is.1.contains(why), "{is:?} instead of {on}, {why}");
    Ok(())
}

fn tcp_out_of_tunnels_is_merged_where_the_uplink_merges<N: Network>() -> Result<()> {
    let lab = merging::<N>()?;
    for (arguments, merges, why) in [
        (&[][..], true, "an uplink has GRO on"),
        (&["--tunnel-gro", "off"], false, "asked for"),
        (&["--tunnel-gro", "on"], true, "asked for"),
    ] {
        let instances = mesh::up(&lab, arguments)?;
        let workloads = mesh::segment(&instances, VNI)?;
        is_merger(lab.host(2), merges, why)?;
        ensure!(listener(lab.host(2)).is_ok() == merges, "{:?}", vxlan_devices(lab.host(2))?);
        let mean = mean_length(&workloads)?;
        ensure!((mean > 3000) == merges, "{arguments:?}: packets of {mean} bytes");
        mesh::exchange(&workloads[0], &workloads[1], 1 << 20)?;
        for (host, instance) in lab.hosts.iter().zip(instances) {
            let objects = Objects::of(&instance)?;
            instance.down()?;
            objects.gone()?;
            ensure!(vxlan_devices(host)?.is_empty(), "{:?}", vxlan_devices(host)?);
        }
    }
    Ok(())
}

/// A segment of the kernel's on both hosts, which the kernel has to be given its packets of.
fn kernel_segment(lab: &Lab, vni: u32) -> Result<(Vec<Peer<'_>>, Vec<Workload>)> {
    let mut peers = Vec::new();
    let mut workloads = Vec::new();
    for (host, other) in [(lab.host(1), lab.host(2)), (lab.host(2), lab.host(1))] {
        let peer = Peer::join(host, &Segment::new(host, vni, &[other]))?;
        let workload = host.workload(&Plan::new(vni, host.number))?;
        peer.attach(&workload)?;
        peers.push(peer);
        workloads.push(workload);
    }
    Ok((peers, workloads))
}

fn what_the_kernel_serves_beside_us_goes_on<N: Network>() -> Result<()> {
    let lab = merging::<N>()?;
    let instances = mesh::up(&lab, &[])?;
    let ours = mesh::segment(&instances, VNI)?;
    // No command of ours has seen these devices yet.
    let (_peers, theirs) = kernel_segment(&lab, 200)?;
    mesh::exchange(&theirs[0], &theirs[1], 1 << 20)?;
    for host in &lab.hosts {
        quiet(host)?;
    }
    let before = lab.host(2).drops()?;
    mesh::exchange(&theirs[0], &theirs[1], 1 << 20)?;
    mesh::exchange(&ours[0], &ours[1], 1 << 20)?;
    let dropped = lab.host(2).drops_since(&before)?;
    ensure!(dropped.is_empty(), "{dropped:?}");
    ensure!(mean_length(&ours)? > 3000 && mean_length(&theirs)? > 3000);
    Ok(())
}

/// Waits until so many packets have been dropped for a reason.
fn wait_for(host: &Host, reason: DropReason, count: u64) -> Result<()> {
    wait_until(Instant::now() + Duration::from_secs(5), || {
        Ok((host.drops()?.get(reason.name()).copied().unwrap_or(0) == count).then_some(()))
    })
    .with_context(|| format!("{reason:?}: {:?}", host.drops()))
}

fn what_nobody_takes_is_counted_and_does_not_reach_the_host<N: Network>() -> Result<()> {
    let lab = merging::<N>()?;
    let (one, two) = (lab.host(1), lab.host(2));
    let _instance = Instance::up(one, &[])?;
    let device = listener(one)?;
    let mac: Value = serde_json::from_str(&one.netns.run(&["ip", "-j", "link", "show", &device])?)?;
    let mac: MacAddr = mac[0]["address"].as_str().context("no address")?.parse()?;
    let inner = Ethernet::new(Mac([2, 0, 0, 0, 0, 9]), Mac(mac.bytes()), ETHER_EXPERIMENT).frame(&[7; 80]);
    let packet = |vni| Vxlan::new(vni).packet(&inner);
    let far = two.netns.enter(|| Ok(UdpSocket::bind((two.vtep, 0))?))?;
    // A segment that nobody has, and that of the device itself.
    far.send_to(&packet(77), (one.vtep, VXLAN_PORT))?;
    wait_for(one, DropReason::UnknownVni, 1)?;
    far.send_to(&packet(0), (one.vtep, VXLAN_PORT))?;
    wait_for(one, DropReason::UnknownVni, 2)?;
    far.send_to(&Vxlan { flags: 0, ..Vxlan::new(77) }.packet(&inner), (one.vtep, VXLAN_PORT))?;
    wait_for(one, DropReason::NoVniFlag, 1)?;
    // What does not come by an uplink is none of ours, but must not get in by the device.
    let beside = one.netns.enter(|| Ok(UdpSocket::bind((one.vtep, 0))?))?;
    beside.send_to(&packet(0), (one.vtep, VXLAN_PORT))?;
    wait_for(one, DropReason::Stray, 1)
}

fn the_device_is_mended_and_goes_when_it_is_of_no_use<N: Network>() -> Result<()> {
    let lab = merging::<N>()?;
    let host = lab.host(1);
    let instance = Instance::up(host, &[])?;
    let device = listener(host)?;
    for harm in [format!("link del {device}"), format!("link set {device} down")] {
        host.netns.ip(&harm)?;
        mends(host, "merge tunnel packets")?;
        is_merger(host, true, "an uplink has GRO on")?;
    }
    host.netns.run(&["ethtool", "-K", &host.uplink, "gro", "off"])?;
    is_merger(host, false, "no uplink has GRO on")?;
    ensure!(vxlan_devices(host)?.is_empty(), "{:?}", vxlan_devices(host)?);
    host.netns.run(&["ethtool", "-K", &host.uplink, "gro", "on"])?;
    is_merger(host, true, "an uplink has GRO on")?;
    refusal::refused(
        host,
        &format!("up --uplink {} --exist-ok --tunnel-gro off", host.uplink),
        EXISTS,
        "--tunnel-gro",
    )?;
    // One that is in the way: the kernel has a VNI of a port once.
    host.netns.ip(&format!("link del {device}"))?;
    host.netns.ip(&format!("link add theirs type vxlan id 0 local {} dstport {VXLAN_PORT}", host.vtep))?;
    warns(host, "--tunnel-gro off")?;
    is_merger(host, false, "the kernel refuses")?;
    host.netns.ip("link del theirs")?;
    is_merger(host, true, "an uplink has GRO on")?;
    host.netns.ip(&format!("link del {device}"))?;
    let taken = host.netns.enter(|| Ok(UdpSocket::bind((host.vtep, VXLAN_PORT))?))?;
    warns(host, &format!("UDP port {VXLAN_PORT}"))?;
    drop(taken);
    is_merger(host, true, "an uplink has GRO on")?;
    instance.down()
}

fn a_device_of_somebody_else_is_enough<N: Network>() -> Result<()> {
    let lab = merging::<N>()?;
    let (_peers, theirs) = kernel_segment(&lab, 200)?;
    let instances = mesh::up(&lab, &[])?;
    let ours = mesh::segment(&instances, VNI)?;
    for host in &lab.hosts {
        is_merger(host, true, "another vxlan device")?;
        ensure!(listener(host).is_err(), "{:?}", vxlan_devices(host)?);
    }
    ensure!(mean_length(&ours)? > 3000);
    mesh::exchange(&theirs[0], &theirs[1], 1 << 20)
}

#[test]
fn down_leaves_no_device_by_clsact() -> Result<()> {
    let lab = merging::<Ipv4>()?;
    let host = lab.host(1);
    let before = host.netns.devices()?;
    let instance = Instance::up(host, &["--tc", "clsact"])?;
    ensure!(vxlan_devices(host)?.len() == 2, "no devices");
    instance.down()?;
    ensure!(host.netns.devices()? == before, "devices are left");
    Ok(())
}
