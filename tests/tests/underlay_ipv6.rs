//! What is particular about an IPv6 underlay: UDP checksums, next hops found by ND, and both families at once.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use overlay_common::Family;
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Ipv6, Mac, Outer, verify},
    mesh,
    overlay::Instance,
    peer::{Peer, Segment},
    process::wait_until,
    topology::{Host, Lab, Plan, Underlay, Workload},
    traffic,
    wire::{Direction, Wire},
};

const VNI: u32 = 100;
/// How long an answer of the FIB is used, and then some: a ping that is lost takes its time.
const FOLLOWED: Duration = Duration::from_secs(8);

/// Host 1 is ours, host 2 the kernel's; each with a workload, ours without segmentation offloads.
struct Mixed<'a> {
    instance: Instance<'a>,
    ours: Workload,
    theirs: Workload,
}

impl<'a> Mixed<'a> {
    /// `add` is more arguments for `overlay tunnel add`, `options` more words for the kernel's device.
    fn new(lab: &'a Lab, add: &[&str], options: &[&str]) -> Result<Self> {
        let (one, two) = (lab.host(1), lab.host(2));
        let instance = Instance::up(one, &[])?;
        let (vni, remote) = (VNI.to_string(), two.vtep.to_string());
        one.overlay(&[&["tunnel", "add", "--vni", &vni, "--remote", &remote], add].concat())?;
        let ours = one.workload(&Plan { offloads: false, ..Plan::new(VNI, 1) })?;
        instance.attach(VNI, &ours)?;
        let peer = Peer::join(two, &Segment::new(two, VNI, &[one]).options(options))?;
        let theirs = two.workload(&Plan::new(VNI, 2))?;
        peer.attach(&theirs)?;
        Ok(Self { instance, ours, theirs })
    }

    fn exchange(&self) -> Result<()> {
        mesh::exchange(&self.ours, &self.theirs, 4 << 20)
    }
}

#[test]
fn a_kernel_peer_that_insists_on_checksums_does_not_hear_zeros() -> Result<()> {
    let lab = Lab::with(2, Underlay::wire(Family::Ipv6))?;
    let mixed = Mixed::new(&lab, &[], &[])?;
    traffic::no_ping(&mixed.ours.netns, mixed.theirs.v4.into())?;
    let counters = lab.host(2).netns.run(&["cat", "/proc/net/snmp6"])?;
    let errors = counters.lines().find(|line| line.starts_with("Udp6InErrors")).context("no count")?;
    let count: u64 = errors.split_whitespace().nth(1).context("no number")?.parse()?;
    ensure!(count > 0, "the peer did not refuse anything");
    Ok(())
}

#[test]
fn a_kernel_peer_that_insists_on_checksums_hears_those_sent_to_it() -> Result<()> {
    let lab = Lab::with(2, Underlay::wire(Family::Ipv6))?;
    let mixed = Mixed::new(&lab, &["--udp6-csum"], &[])?;
    let (one, two) = (lab.host(1), lab.host(2));
    let wire = Wire::open(&two.netns, &two.uplink, Direction::In)?;
    mixed.exchange()?;
    let mut seen = 0;
    for frame in wire.collect(|_| true)? {
        verify(&frame.bytes)?;
        if let Ok((outer, _)) = Outer::<Ipv6>::parse(&frame.bytes)
            && outer.ip.source == one.v6
        {
            ensure!(outer.udp.checksum != Some(0), "a packet without a checksum: {outer:?}");
            seen += 1;
        }
    }
    ensure!(seen > 1000, "only {seen} packets");
    let shown = one.overlay_json(&["tunnel", "show"])?;
    ensure!(shown[0]["udp6_csum"] == true && shown[0]["remote"] == two.v6.to_string(), "{shown}");
    ensure!(mixed.instance.host.drops()?.values().all(|count| *count == 0), "something was dropped");
    Ok(())
}

#[test]
fn a_kernel_peer_that_takes_zeros_takes_checksums_too() -> Result<()> {
    let lab = Lab::with(2, Underlay::wire(Family::Ipv6))?;
    Mixed::new(&lab, &["--udp6-csum"], &["udp6zerocsumrx", "udp6zerocsumtx"])?.exchange()
}

#[test]
fn checksums_are_right_where_those_within_are_still_to_be_made() -> Result<()> {
    // Devices with checksum offload, but none that cuts up: what TCP and UDP send arrives with pending checksums.
    let lab = Lab::with(2, Underlay::over(Family::Ipv6))?;
    let (one, two) = (lab.host(1), lab.host(2));
    one.netns.run(&["ethtool", "-K", &one.uplink, "tx", "off"])?;
    let mixed = Mixed::new(&lab, &["--udp6-csum"], &[])?;
    let plain = one.workload(&Plan::new(VNI, 3))?;
    plain.netns.run(&["ethtool", "-K", Workload::DEVICE, "tso", "off", "gso", "off"])?;
    mixed.instance.attach(VNI, &plain)?;
    let wire = Wire::open(&two.netns, &two.uplink, Direction::In)?;
    traffic::tcp(&plain.netns, &mixed.theirs.netns, mixed.theirs.v4.into(), 1 << 20)?;
    traffic::tcp(&plain.netns, &mixed.theirs.netns, mixed.theirs.v6.into(), 1 << 20)?;
    let mut seen = 0;
    for frame in wire.collect(|frame| Outer::<Ipv6>::parse(&frame.bytes).is_ok())? {
        ensure!(!frame.checksum_pending, "a checksum is not filled in");
        verify(&frame.bytes)?;
        seen += 1;
    }
    ensure!(seen > 1000, "only {seen} packets");
    Ok(())
}

/// Gives each of two hosts a route to the other's address behind a router that is the other host itself.
fn route_by_gateways(lab: &Lab) -> Result<()> {
    for (host, other) in [(lab.host(1), lab.host(2)), (lab.host(2), lab.host(1))] {
        let link_local = link_local(other)?;
        host.netns.ip(&format!(
            "address add 2001:db8:{}::1/128 dev {} nodad\n\
             route add 2001:db8:{}::1/128 via {link_local} dev {}",
            host.number, host.uplink, other.number, host.uplink
        ))?;
    }
    Ok(())
}

fn link_local(host: &Host) -> Result<IpAddr> {
    let text =
        host.netns.run(&["ip", "-j", "-6", "address", "show", "dev", &host.uplink, "scope", "link"])?;
    let links: serde_json::Value = serde_json::from_str(&text)?;
    let all = links[0]["addr_info"].as_array().with_context(|| format!("none in {text}"))?;
    let mut addresses = all.iter().filter_map(|address| address["local"].as_str());
    Ok(addresses.next().with_context(|| format!("none in {text}"))?.parse()?)
}

#[test]
fn gateways_with_link_local_addresses_are_next_hops() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(Family::Ipv6))?;
    route_by_gateways(&lab)?;
    let mut sites = Vec::new();
    for host in &lab.hosts {
        let (local, remote) =
            (format!("2001:db8:{}::1", host.number), format!("2001:db8:{}::1", 3 - host.number));
        let instance = Instance::up(host, &["--local", &local])?;
        host.overlay(&["tunnel", "add", "--vni", "100", "--remote", &remote])?;
        let workload = mesh::workload(&instance, VNI, host.number)?;
        sites.push((instance, workload));
    }
    mesh::exchange(&sites[0].1, &sites[1].1, 1 << 20)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let tunnels = one.overlay_json(&["tunnel", "show"])?;
    ensure!(tunnels[0]["next_hop"]["mac"] == two.mac.to_string(), "{tunnels}");
    let managed = one.netns.run(&["ip", "-6", "neigh", "show", "dev", &one.uplink])?;
    let gateway = link_local(two)?.to_string();
    ensure!(managed.lines().any(|line| line.starts_with(&gateway) && line.contains("managed")), "{managed}");
    Ok(())
}

#[test]
fn a_changed_next_hop_is_followed_with_no_agent() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(Family::Ipv6))?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 16)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let moved = Mac([0x02, 0, 0x0a, 0, 0, 0x99]);
    two.netns.ip(&format!("link set {} address {moved}", two.uplink))?;
    one.netns.ip(&format!("neighbour replace {} lladdr {moved} dev {} nud reachable", two.v6, one.uplink))?;
    let answers = || traffic::ping(&workloads[0].netns, workloads[1].v4.into(), 1).is_ok();
    wait_until(Instant::now() + FOLLOWED, || Ok(answers().then_some(())))?;
    let tunnels = one.overlay_json(&["tunnel", "show"])?;
    ensure!(tunnels[0]["next_hop"]["mac"] == moved.to_string(), "{tunnels}");
    Ok(())
}

#[test]
fn frames_of_any_kind_wait_until_their_next_hop_is_resolved() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(Family::Ipv6))?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 16)?;
    let sender = Wire::open(&workloads[0].netns, Workload::DEVICE, Direction::In)?;
    let receiver = Wire::open(&workloads[1].netns, Workload::DEVICE, Direction::In)?;
    // Longer than what was resolved before is used, several times.
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        for destination in [workloads[1].mac, Mac::BROADCAST] {
            lab.host(1).netns.run(&["ip", "-6", "neighbour", "flush", "all"])?;
            let frame = Ethernet::new(workloads[0].mac, destination, ETHER_EXPERIMENT).frame(&[7; 60]);
            sender.send(&frame)?;
            receiver.expect("the frame", |received| received.bytes == frame)?;
        }
    }
    Ok(())
}

#[test]
fn forwarding_goes_on_when_the_fib_stops_to_answer() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(Family::Ipv6))?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    mesh::exchange(&workloads[0], &workloads[1], 1 << 16)?;
    for host in &lab.hosts {
        host.netns.sysctl("ipv6/conf/lo/forwarding", "0")?;
    }
    mesh::exchange(&workloads[0], &workloads[1], 1 << 20)
}
