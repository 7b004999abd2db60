//! ARP and ND between hosts whose segment suppresses them: who answers, and what crosses the underlay.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use overlay_tests::{
    bench::same,
    frame::{Arp, ETHER_ARP, Ethernet, Ipv4, Mac, Nd, Network},
    mesh,
    neigh::{self, await_learned, carries_question, forget, suppress},
    over_both_families,
    overlay::Instance,
    peer::{Peer, Segment},
    process::wait_until,
    topology::{Host, Lab, Plan, Underlay, Workload},
    traffic,
    wire::{Direction, Wire},
};

const VNI: u32 = 100;
const LENGTH: usize = 200_000;

fn both(workload: &Workload) -> [IpAddr; 2] {
    [workload.v4.into(), workload.v6.into()]
}

/// Everybody pings everybody.
fn ping_all(workloads: &[Workload]) -> Result<()> {
    for from in workloads {
        for to in workloads.iter().filter(|to| to.mac != from.mac) {
            for address in both(to) {
                traffic::ping(&from.netns, address, 2)?;
            }
        }
    }
    Ok(())
}

/// A workload behind each instance, and a third behind the first, in a segment that suppresses.
fn segment(instances: &[Instance<'_>]) -> Result<Vec<Workload>> {
    let mut workloads = mesh::segment(instances, VNI)?;
    workloads.push(mesh::workload(&instances[0], VNI, 3)?);
    for instance in instances {
        suppress(instance.host, VNI)?;
    }
    Ok(workloads)
}

/// Everybody gets to know everybody, and every host too.
fn acquaint(lab: &Lab, workloads: &[Workload]) -> Result<()> {
    ping_all(workloads)?;
    for host in &lab.hosts {
        for workload in workloads {
            for address in both(workload) {
                await_learned(host, VNI, address, workload.mac)?;
            }
        }
    }
    Ok(())
}

/// A workload that has forgotten the other, which is behind `host`, reaches it, and no question gets there.
fn reach_unasked(from: &Workload, to: &Workload, host: &Host) -> Result<()> {
    let uplink = Wire::open(&host.netns, &host.uplink, Direction::In)?;
    forget(from)?;
    for address in both(to) {
        traffic::ping(&from.netns, address, 5)?;
    }
    ensure!(uplink.collect(carries_question::<Ipv4>)?.is_empty(), "a known station was asked for");
    Ok(())
}

over_both_families!(no_request_crosses_the_underlay_once_stations_are_known);

fn no_request_crosses_the_underlay_once_stations_are_known<N: Network>() -> Result<()> {
    let lab = Lab::with(2, Underlay::over(N::FAMILY))?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = segment(&instances)?;
    let uplink = |host: &Host| Wire::open(&host.netns, &host.uplink, Direction::In);
    let wires = lab.hosts.iter().map(uplink).collect::<Result<Vec<_>>>()?;
    acquaint(&lab, &workloads)?;
    for wire in &wires {
        ensure!(!wire.collect(carries_question::<N>)?.is_empty(), "the first requests are flooded");
    }
    let before = neigh::requests(lab.host(1), VNI)?;
    for workload in &workloads {
        forget(workload)?;
    }
    ping_all(&workloads)?;
    mesh::exchange(&workloads[0], &workloads[1], LENGTH)?;
    mesh::exchange(&workloads[0], &workloads[2], LENGTH)?;
    for wire in &wires {
        let crossed = wire.collect(carries_question::<N>)?;
        ensure!(crossed.is_empty(), "{} requests crossed, such as {:02x?}", crossed.len(), crossed[0].bytes);
    }
    let (requests, answered) = neigh::requests(lab.host(1), VNI)?;
    let (asked, told) = (requests - before.0, answered - before.1);
    ensure!(asked >= 4 && asked == told, "{told} of {asked} answered");
    let text = lab.host(1).overlay(&["stats", "--neigh"])?;
    ensure!(text.contains('%') && text.contains("ANSWERED"), "{text}");
    let rows = lab.host(1).overlay_json(&["stats", "--vni", &VNI.to_string()])?;
    ensure!(rows["segments"][0]["neigh_answered"] == answered, "{rows}");
    Ok(())
}

/// Our answers, and those of the kernel's bridge with `neigh_suppress`, to workloads that ask alike.
#[test]
fn a_kernel_bridge_that_suppresses_gives_the_same_answers() -> Result<()> {
    let lab = Lab::new(2)?;
    let (ours, theirs) = (lab.host(1), lab.host(2));
    let instance = Instance::up(ours, &[])?;
    instance.reach(VNI, theirs)?;
    let one = mesh::workload(&instance, VNI, 1)?;
    let peer = Peer::join(theirs, &Segment::new(theirs, VNI, &[ours]))?;
    let two = theirs.workload(&Plan::new(VNI, 2))?;
    peer.attach(&two)?;
    suppress(ours, VNI)?;
    mesh::exchange(&one, &two, LENGTH)?;
    theirs.netns.ip(&format!(
        "neigh add {} lladdr {mac} dev {bridge} nud permanent\nneigh add {} lladdr {mac} dev {bridge} nud permanent",
        one.v4,
        one.v6,
        mac = one.mac,
        bridge = peer.bridge,
    ))?;
    theirs.netns.run(&["bridge", "link", "set", "dev", &peer.device, "neigh_suppress", "on"])?;
    let uplinks = [ours, theirs].map(|host| Wire::open(&host.netns, &host.uplink, Direction::In));
    for (asker, asked) in [(&one, &two), (&two, &one)] {
        let wire = Wire::open(&asker.netns, Workload::DEVICE, Direction::In)?;
        forget(asker)?;
        wire.send(&Arp::request((asker.mac, asker.v4), asked.v4))?;
        let reply = wire.expect("an ARP reply", |frame| frame.bytes[12..14] == [8, 6])?;
        let expected = Arp { operation: 2, sender: (asked.mac, asked.v4), target: (asker.mac, asker.v4) };
        same(&reply.bytes, &Ethernet::new(asked.mac, asker.mac, ETHER_ARP).frame(&expected.packet()))
            .with_context(|| format!("{} asks", asker.port))?;
        wire.send(&Nd::solicitation((asker.mac, asker.v6), asked.v6).frame())?;
        let reply = wire.expect("an advertisement", |frame| frame.bytes.get(54) == Some(&136))?;
        let expected = Nd::advertisement((asked.mac, asked.v6), (asker.mac, asker.v6), 0x60);
        same(&reply.bytes, &expected.frame()).with_context(|| format!("{} asks", asker.port))?;
    }
    for uplink in uplinks {
        let crossed = uplink?.collect(carries_question::<Ipv4>)?;
        ensure!(crossed.is_empty(), "{} requests crossed", crossed.len());
    }
    mesh::exchange(&one, &two, LENGTH)
}

#[test]
fn an_answer_leaves_by_the_asker_s_port_and_sniffers_see_the_question() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = segment(&instances)?;
    acquaint(&lab, &workloads)?;
    let [one, two, three] = &workloads[..] else { unreachable!("three workloads") };
    let port = Wire::open(&lab.host(1).netns, &one.port, Direction::Both)?;
    let neighbour = Wire::open(&three.netns, Workload::DEVICE, Direction::In)?;
    let wire = Wire::open(&one.netns, Workload::DEVICE, Direction::In)?;
    let request = Arp::request((one.mac, one.v4), two.v4);
    let reply = Arp { operation: 2, sender: (two.mac, two.v4), target: (one.mac, one.v4) };
    let reply = Ethernet::new(two.mac, one.mac, ETHER_ARP).frame(&reply.packet());
    wire.send(&request)?;
    wire.expect("the answer", |frame| frame.bytes == reply)?;
    let seen = port.collect(|frame| frame.bytes[12..14] == [8, 6])?;
    let seen: Vec<_> = seen.iter().map(|frame| (frame.outgoing, &frame.bytes[..])).collect();
    ensure!(seen == [(false, &request[..]), (true, &reply[..])], "{seen:02x?}");
    let elsewhere = neighbour.collect(|frame| frame.bytes == request || frame.bytes == reply)?;
    ensure!(elsewhere.is_empty(), "{elsewhere:02x?}");
    Ok(())
}

#[test]
fn a_station_that_changes_its_address_is_followed() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = segment(&instances)?;
    acquaint(&lab, &workloads)?;
    let [one, two, _] = &workloads[..] else { unreachable!("three workloads") };
    // It says so by itself: gratuitous ARP and an unsolicited advertisement.
    two.netns.sysctl("ipv4/conf/eth0/arp_notify", "1")?;
    two.netns.sysctl("ipv6/conf/eth0/ndisc_notify", "1")?;
    let mac = Mac([2, 0, 0, 0, 0, 0x22]);
    two.netns.ip(&format!("link set eth0 address {mac}"))?;
    for address in both(two) {
        await_learned(lab.host(1), VNI, address, mac)?;
    }
    reach_unasked(one, two, lab.host(2))?;
    traffic::tcp(&one.netns, &two.netns, two.v4.into(), LENGTH)
}

#[test]
fn a_station_that_moves_is_answered_for_where_it_is() -> Result<()> {
    let lab = Lab::new(3)?;
    let instances = mesh::up(&lab, &[])?;
    mesh::connect(&instances, VNI)?;
    for host in &lab.hosts {
        suppress(host, VNI)?;
    }
    let one = mesh::workload(&instances[0], VNI, 1)?;
    let two = mesh::workload(&instances[1], VNI, 2)?;
    for address in both(&two) {
        traffic::ping(&one.netns, address, 2)?;
        await_learned(lab.host(1), VNI, address, two.mac)?;
    }
    drop(two);
    let two = mesh::workload(&instances[2], VNI, 2)?;
    let wire = Wire::open(&two.netns, Workload::DEVICE, Direction::In)?;
    wire.send(&Arp::request((two.mac, two.v4), two.v4))?;
    wait_until(Instant::now() + Duration::from_secs(5), || {
        let fdb = lab.host(1).overlay_json(&["fdb", "show", "--vni", &VNI.to_string()])?;
        let rows = fdb.as_array().context("no array")?;
        let is_there = |row: &&serde_json::Value| {
            row["mac"] == two.mac.to_string() && row["remote"] == lab.host(3).v4.to_string()
        };
        Ok(rows.iter().find(is_there).map(drop))
    })?;
    reach_unasked(&one, &two, lab.host(3))
}

#[test]
fn a_duplicate_address_is_still_detected() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = segment(&instances)?;
    acquaint(&lab, &workloads)?;
    let [one, two, _] = &workloads[..] else { unreachable!("three workloads") };
    neigh::await_duplicate(one, two.v6)?;

    let wire = Wire::open(&one.netns, Workload::DEVICE, Direction::In)?;
    let owner = Wire::open(&two.netns, Workload::DEVICE, Direction::In)?;
    let probe = Arp::request((one.mac, Ipv4Addr::UNSPECIFIED), two.v4);
    wire.send(&probe)?;
    owner.expect("the probe", |frame| frame.bytes == probe)?;
    let reply = wire.expect("the owner's word", |frame| frame.bytes[12..14] == [8, 6])?;
    let (reply, _) = Arp::parse(&reply.bytes[14..])?;
    ensure!(reply.sender == (two.mac, two.v4), "{reply:?}");
    for address in both(two) {
        await_learned(lab.host(1), VNI, address, two.mac)?;
    }
    Ok(())
}

/// With a hundred workloads' worth of requests at once, the answers are those of the right stations.
#[test]
fn answers_follow_what_is_asked() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let workloads = mesh::segment(&instances, VNI)?;
    suppress(lab.host(1), VNI)?;
    let one = &workloads[0];
    let station = |last: u8| (Mac([2, 0, 0, 0, 7, last]), Ipv4Addr::new(10, 1, 0, last));
    let address6 = |last: u8| Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 7, last.into());
    let far = Wire::open(&workloads[1].netns, Workload::DEVICE, Direction::In)?;
    for last in 100..200 {
        let (mac, address) = station(last);
        far.send(&Arp::request((mac, address), address))?;
        far.send(&Nd::solicitation((mac, address6(last)), one.v6).frame())?;
    }
    await_learned(lab.host(1), VNI, address6(199).into(), station(199).0)?;
    let wire = Wire::open(&one.netns, Workload::DEVICE, Direction::In)?;
    for last in 100..200 {
        wire.send(&Arp::request((one.mac, one.v4), station(last).1))?;
        wire.send(&Nd::solicitation((one.mac, one.v6), address6(last)).frame())?;
    }
    for last in 100..200 {
        let (mac, address) = station(last);
        let reply = wire.expect("an ARP reply", |frame| frame.bytes[12..14] == [8, 6])?;
        let (reply, _) = Arp::parse(&reply.bytes[14..])?;
        ensure!(reply.sender == (mac, address), "{reply:?}");
        let reply = wire.expect("an advertisement", |frame| frame.bytes.get(54) == Some(&136))?;
        same(&reply.bytes, &Nd::advertisement((mac, address6(last)), (one.mac, one.v6), 0x60).frame())?;
    }
    Ok(())
}
