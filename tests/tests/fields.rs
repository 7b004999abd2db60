//! Header fields that a segment chooses, end to end: the kernel's vxlan takes what we send, and we what it sends.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use overlay_common::{DropReason, Family};
use overlay_tests::{
    foreign::Foreign,
    frame::{ETHER_IPV4, Ethernet, Ipv4, Network as _, Outer},
    mesh,
    overlay::Instance,
    peer::{Peer, Segment},
    topology::{Lab, Plan, Underlay, Workload},
    traffic,
    wire::{Direction, Received, Wire},
};

const VNI: u32 = 100;
const TRANSFER: usize = 4 << 20;
/// Frames of at most one MTU with real checksums, as on a wire.
const WIRE: Underlay = Underlay { offloads: false, ..Underlay::over(Family::Ipv4) };

/// Host 1 is ours, with settings for the segment, host 2 the kernel's, with options for its vxlan device; a workload each.
struct Pair<'a> {
    instance: Instance<'a>,
    workloads: [Workload; 2],
    uplink: Wire,
}

impl<'a> Pair<'a> {
    fn new(lab: &'a Lab, settings: &[&str], options: &[&str]) -> Result<Self> {
        let (one, two) = (lab.host(1), lab.host(2));
        let instance = Instance::up(one, &[])?;
        one.overlay(&[&["vni", "add", &VNI.to_string()], settings].concat())?;
        instance.reach(VNI, two)?;
        let ours = mesh::workload(&instance, VNI, 1)?;
        let peer = Peer::join(two, &Segment::new(two, VNI, &[one]).options(options))?;
        let theirs = two.workload(&Plan::new(VNI, 2))?;
        peer.attach(&theirs)?;
        let uplink = Wire::open(&two.netns, &two.uplink, Direction::Both)?;
        Ok(Self { instance, workloads: [ours, theirs], uplink })
    }

    fn exchange(&self) -> Result<()> {
        mesh::exchange(&self.workloads[0], &self.workloads[1], TRANSFER)
    }

    /// The tunnel packets that crossed the underlay since the last time, and whether the kernel sent them.
    fn seen(&self) -> Result<Vec<(Outer<Ipv4>, bool, Received)>> {
        let frames = self.uplink.collect(|_| true)?;
        let parsed = frames.into_iter().filter_map(|frame| {
            let (outer, _) = Outer::<Ipv4>::parse(&frame.bytes).ok()?;
            Some((outer, frame.outgoing, frame))
        });
        let seen: Vec<_> = parsed.collect();
        ensure!(seen.len() > 100, "only {} tunnel packets", seen.len());
        Ok(seen)
    }
}

/// The header of an inner IPv4 packet.
fn inner_ipv4(frame: &Received) -> Option<Ipv4> {
    let (ethernet, packet) = Ethernet::parse(frame.bytes.get(50..)?).ok()?;
    if ethernet.ether_type != ETHER_IPV4 {
        return None;
    }
    Ipv4::parse(packet).ok().map(|(ip, _)| ip)
}

#[test]
fn fields_are_those_of_a_kernel_peer_with_the_same_options() -> Result<()> {
    let settings =
        ["--ttl", "inherit", "--dscp", "inherit", "--df", "inherit", "--source-ports", "5000-5009"];
    let options = ["ttl", "inherit", "tos", "inherit", "df", "inherit", "srcport", "5000", "5010"];
    let lab = Lab::with(2, WIRE)?;
    let pair = Pair::new(&lab, &settings, &options)?;
    for workload in &pair.workloads {
        workload.netns.sysctl("ipv4/ip_default_ttl", "17")?;
    }
    pair.exchange()?;
    for (from, to) in [(0, 1), (1, 0)] {
        let (from, to) = (&pair.workloads[from], &pair.workloads[to]);
        let to = to.v4.to_string();
        from.netns.run(&["ping", "-q", "-c", "20", "-i", "0.01", "-Q", "0xb8", "-M", "do", &to])?;
    }
    let mut kinds = [BTreeSet::new(), BTreeSet::new()];
    for (outer, by_kernel, frame) in pair.seen()? {
        ensure!((5000..=5009).contains(&outer.udp.source), "source port {}", outer.udp.source);
        let Some(inner) = inner_ipv4(&frame) else { continue };
        let (df, inner_df) = (outer.ip.fragment & 0x4000, inner.fragment & 0x4000);
        ensure!((outer.ip.ttl, outer.ip.tos, df) == (inner.ttl, inner.tos, inner_df), "{outer:?} {inner:?}");
        ensure!(df != 0 || outer.ip.id != 0, "may be fragmented, without an id: {outer:?}");
        kinds[usize::from(by_kernel)].insert((inner.tos, inner.ttl, inner_df));
    }
    let [ours, theirs] = kinds;
    ensure!(
        ours == theirs && ours.contains(&(0xb8, 17, 0x4000)) && ours.contains(&(0, 17, 0)),
        "{ours:?}, {theirs:?}"
    );
    Ok(())
}

#[test]
fn fixed_fields_are_on_every_packet() -> Result<()> {
    let settings = ["--ttl", "9", "--dscp", "10", "--df", "unset"];
    let lab = Lab::with(2, WIRE)?;
    let pair = Pair::new(&lab, &settings, &["noudpcsum"])?;
    pair.exchange()?;
    for (outer, by_kernel, _) in pair.seen()? {
        let ip = &outer.ip;
        let right = (ip.ttl, ip.tos >> 2, ip.fragment) == (9, 10, 0) && ip.id != 0;
        ensure!(by_kernel || right, "{ip:?}");
    }
    Ok(())
}

#[test]
fn large_packets_keep_their_fields_when_the_kernel_cuts_them_up() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    for instance in &instances {
        instance.host.overlay(&["vni", "add", "100", "--df", "unset", "--ttl", "inherit", "--dscp", "7"])?;
        // Whole into the device, and in pieces out of it.
        instance.host.netns.run(&["ethtool", "-K", &instance.host.uplink, "tso", "off"])?;
    }
    let workloads = mesh::segment(&instances, VNI)?;
    let uplink = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    traffic::tcp(&workloads[0].netns, &workloads[1].netns, workloads[1].v4.into(), TRANSFER)?;
    let mut full = 0;
    for frame in uplink.collect(|_| true)? {
        let Ok((outer, _)) = Outer::<Ipv4>::parse(&frame.bytes) else { continue };
        let Some(inner) = inner_ipv4(&frame) else { continue };
        ensure!(frame.bytes.len() <= 1514, "{} bytes", frame.bytes.len());
        ensure!((outer.ip.ttl, outer.ip.tos >> 2, outer.ip.fragment) == (inner.ttl, 7, 0), "{outer:?}");
        ensure!(outer.ip.id != 0, "no id: {outer:?}");
        full += usize::from(frame.bytes.len() == 1514);
    }
    ensure!(full > 1000, "only {full} full packets");
    Ok(())
}

#[test]
fn a_kernel_peer_refuses_what_we_can_refuse_too() -> Result<()> {
    let lab = Lab::with(2, WIRE)?;
    // The kernel sends the G flag for a mark, and takes no such packet without `gbp`.
    let pair = Pair::new(&lab, &["--reserved", "drop"], &["gbp"])?;
    let [ours, theirs] = &pair.workloads;
    pair.exchange()?;
    let before = lab.host(1).drops()?;
    let _marking = Foreign::marking(&lab.host(2).netns, &theirs.port, 0x1234)?;
    traffic::no_ping(&theirs.netns, ours.v4.into())?;
    let dropped = lab.host(1).drops_since(&before)?;
    ensure!(dropped.get(DropReason::ReservedBits.name()).is_some_and(|count| *count >= 3), "{dropped:?}");
    pair.instance.host.overlay(&["vni", "set", "100", "--reserved", "ignore"])?;
    pair.exchange()
}

#[test]
fn marks_cross_to_and_from_a_kernel_peer() -> Result<()> {
    const MARK: i32 = 0x0048_1234;
    let lab = Lab::with(2, WIRE)?;
    // Before our program gets to see a packet, and before the bridge of the kernel's host.
    let (one, two) = (lab.host(1), lab.host(2));
    let plan = [Plan::new(VNI, 1), Plan::new(VNI, 2)];
    let (ours, theirs) = (one.workload(&plan[0])?, two.workload(&plan[1])?);
    let _marking =
        [Foreign::marking(&one.netns, &ours.port, MARK)?, Foreign::marking(&two.netns, &theirs.port, MARK)?];
    let instance = Instance::up(one, &[])?;
    one.overlay(&["vni", "add", "100", "--gbp", "on"])?;
    instance.reach(VNI, two)?;
    instance.attach(VNI, &ours)?;
    let peer = Peer::join(two, &Segment::new(two, VNI, &[one]).options(&["gbp"]))?;
    peer.attach(&theirs)?;
    let uplink = Wire::open(&two.netns, &two.uplink, Direction::Both)?;
    // The kernel's host sees our mark behind its vxlan device, our workload that of the kernel.
    let arrived = [
        Foreign::of_mark(&ours.netns, Workload::DEVICE, MARK)?,
        Foreign::of_mark(&two.netns, &peer.device, MARK)?,
    ];
    mesh::exchange(&ours, &theirs, TRANSFER)?;
    let frames = uplink.collect(|frame| Outer::<Ipv4>::parse(&frame.bytes).is_ok())?;
    for frame in &frames {
        ensure!(frame.bytes[42..46] == [0x88, 0x48, 0x12, 0x34], "{:02x?}", &frame.bytes[42..50]);
    }
    ensure!(frames.len() > 100, "only {} tunnel packets", frames.len());
    for foreign in arrived {
        ensure!(foreign.seen()? > 100, "only {} packets arrived with the mark", foreign.seen()?);
    }
    Ok(())
}

#[test]
fn congestion_on_the_underlay_reaches_tcp() -> Result<()> {
    for (offloads, xdp) in [(true, "off"), (false, "off"), (false, "native")] {
        let lab = Lab::with(2, Underlay { offloads, ..WIRE })?;
        let instances = mesh::up(&lab, &["--xdp", xdp])?;
        let workloads = mesh::segment(&instances, VNI)?;
        for workload in &workloads {
            workload.netns.sysctl("ipv4/tcp_ecn", "1")?;
        }
        // The underlay marks every packet of 1000 bytes and more.
        let congested = Foreign::congesting(&lab.host(1).netns, &lab.host(1).uplink, 1000)?;
        for (address, seen) in
            [(workloads[1].v4.into(), "IpExtInCEPkts"), (workloads[1].v6.into(), "Ip6InCEPkts")]
        {
            traffic::tcp(&workloads[0].netns, &workloads[1].netns, address, 1 << 20)?;
            let seen = counter(&workloads[1], seen)?;
            ensure!(seen > 3, "{address} with {xdp} XDP: {seen} packets with CE arrived");
        }
        let told = counter(&workloads[0], "TcpExtTCPDeliveredCE")?;
        ensure!(told > 6, "with {xdp} XDP: the sender was told of {told} packets with CE");
        ensure!(congested.seen()? > 6, "nothing was marked");
    }
    Ok(())
}

/// A counter of a workload's network stack.
fn counter(workload: &Workload, name: &str) -> Result<u64> {
    let text = workload.netns.run(&["nstat", "-asz", name])?;
    let line =
        text.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name} in {text}"))?;
    let value = line.split_whitespace().nth(1).context("no value")?;
    Ok(value.parse()?)
}

#[test]
fn vteps_on_ports_of_their_own_talk_with_every_option_on() -> Result<()> {
    let lab = Lab::new(2)?;
    let ports = ["4790", "8472"];
    let settings = [
        ["--ttl", "inherit", "--dscp", "inherit", "--df", "unset", "--reserved", "drop", "--gbp", "on"],
        ["--ttl", "255", "--dscp", "63", "--df", "inherit", "--source-ports", "1024-1024", "--gbp", "on"],
    ];
    let mut instances = Vec::new();
    for (here, there) in [(0, 1), (1, 0)] {
        let instance = Instance::up(&lab.hosts[here], &["--port", ports[here]])?;
        instance.host.overlay(&[&["vni", "add", "100"], &settings[here][..]].concat())?;
        let remote = lab.hosts[there].v4.to_string();
        instance.host.overlay(&[
            "tunnel",
            "add",
            "--vni",
            "100",
            "--remote",
            &remote,
            "--port",
            ports[there],
        ])?;
        let tunnels = instance.host.overlay_json(&["tunnel", "show"])?;
        ensure!(tunnels[0]["port"] == ports[there].parse::<u16>()?, "{tunnels}");
        instances.push(instance);
    }
    let (one, two) = (mesh::workload(&instances[0], VNI, 1)?, mesh::workload(&instances[1], VNI, 2)?);
    let uplink = Wire::open(&lab.host(2).netns, "u2", Direction::Both)?;
    mesh::exchange(&one, &two, TRANSFER)?;
    for frame in uplink.collect(|_| true)? {
        let Ok((outer, _)) = Outer::<Ipv4>::parse(&frame.bytes) else { continue };
        let to = ports[usize::from(!frame.outgoing)];
        ensure!(outer.udp.destination.to_string() == to, "{outer:?}, outgoing: {}", frame.outgoing);
        ensure!(!frame.outgoing || outer.udp.source == 1024, "{outer:?}");
    }
    Ok(())
}
