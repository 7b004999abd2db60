//! Broadcast, multicast and unknown unicast reach everyone in the segment, and everyone once.

use anyhow::{Context as _, Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Mac, Network, Outer},
    mesh,
    netns::NetNs,
    over_both_families,
    overlay::Instance,
    topology::{Host, Lab, Underlay, Workload},
    wire::{Direction, Received, Wire},
};

const VNI: u32 = 100;
const UNKNOWN: Mac = Mac([0x02, 0xee, 0, 0, 0, 1]);

over_both_families! {
    everyone_gets_one_copy_and_the_sender_none,
    everyone_gets_one_copy_with_native_xdp,
    everyone_gets_one_copy_with_generic_xdp,
    what_was_learned_is_flooded_no_more,
    a_segment_without_flooding_keeps_to_known_stations,
}

/// Three hosts that know each other: a copy that has to wait for a neighbour may be dropped, and counted.
fn lab<N: Network>() -> Result<Lab> {
    Lab::with(3, Underlay::known(N::FAMILY))
}

/// Three hosts with one workload each, and a second workload behind host 1.
struct Site<'a> {
    instances: Vec<Instance<'a>>,
    workloads: Vec<Workload>,
    neighbour: Workload,
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab, arguments: &[&str]) -> Result<Self> {
        let instances = mesh::up(lab, arguments)?;
        let workloads = mesh::segment(&instances, VNI)?;
        let neighbour = mesh::workload(&instances[0], VNI, 11)?;
        Ok(Self { instances, workloads, neighbour })
    }

    fn receivers(&self) -> Vec<&NetNs> {
        vec![&self.neighbour.netns, &self.workloads[1].netns, &self.workloads[2].netns]
    }

    fn hosts(&self) -> impl Iterator<Item = &'a Host> {
        self.instances.iter().map(|instance| instance.host)
    }
}

fn frame(source: Mac, destination: Mac, text: &[u8]) -> Vec<u8> {
    let mut payload = [0; 50];
    payload[..text.len()].copy_from_slice(text);
    Ethernet::new(source, destination, ETHER_EXPERIMENT).frame(&payload)
}

/// Whether a frame on an uplink carries `inner`.
fn carries<N: Network>(received: &Received, inner: &[u8]) -> bool {
    Outer::<N>::parse(&received.bytes).is_ok_and(|(_, found)| found == inner)
}

fn everyone_gets_one_copy<N: Network>(arguments: &[&str]) -> Result<()> {
    let lab = lab::<N>()?;
    let site = Site::new(&lab, arguments)?;
    let sender = Wire::open(&site.workloads[0].netns, Workload::DEVICE, Direction::In)?;
    let source = site.workloads[0].mac;
    let groups = [Mac::BROADCAST, Mac([1, 0, 0x5e, 1, 2, 3]), Mac([0x33, 0x33, 0, 0, 1, 2]), UNKNOWN];
    for destination in groups {
        let receivers = site
            .receivers()
            .into_iter()
            .map(|netns| Wire::open(netns, Workload::DEVICE, Direction::In))
            .collect::<Result<Vec<_>>>()?;
        let uplinks = site
            .hosts()
            .map(|host| Wire::open(&host.netns, &host.uplink, Direction::Both))
            .collect::<Result<Vec<_>>>()?;
        let (sent, last) = (frame(source, destination, b"one"), frame(source, destination, b"last"));
        sender.send(&sent)?;
        sender.send(&last)?;
        for (number, receiver) in receivers.iter().enumerate() {
            let copies = receiver
                .collect_to(|frame| frame.bytes == last, |frame| frame.bytes == sent)
                .with_context(|| format!("to {destination}, receiver {number}"))?;
            ensure!(copies.len() == 1, "receiver {number} got {} to {destination}", copies.len());
        }
        for (number, uplink) in uplinks.iter().enumerate() {
            let copies = uplink.collect(|frame| frame.outgoing && carries::<N>(frame, &sent))?;
            // Host 1 sends one copy to each of the others; what came out of a tunnel goes into none.
            let expected = if number == 0 { 2 } else { 0 };
            ensure!(copies.len() == expected, "host {} sent {}", number + 1, copies.len());
        }
        let back = sender.collect(|frame| frame.bytes == sent || frame.bytes == last)?;
        ensure!(back.is_empty(), "{destination} came back to its sender");
    }
    Ok(())
}

fn everyone_gets_one_copy_and_the_sender_none<N: Network>() -> Result<()> {
    everyone_gets_one_copy::<N>(&[])
}

fn everyone_gets_one_copy_with_native_xdp<N: Network>() -> Result<()> {
    everyone_gets_one_copy::<N>(&["--xdp", "native"])
}

fn everyone_gets_one_copy_with_generic_xdp<N: Network>() -> Result<()> {
    everyone_gets_one_copy::<N>(&["--xdp", "generic"])
}

fn what_was_learned_is_flooded_no_more<N: Network>() -> Result<()> {
    let lab = lab::<N>()?;
    let site = Site::new(&lab, &[])?;
    let open = |netns: &NetNs| Wire::open(netns, Workload::DEVICE, Direction::In);
    let (one, two) = (open(&site.workloads[0].netns)?, open(&site.workloads[1].netns)?);
    let three = open(&site.workloads[2].netns)?;
    let neighbour = open(&site.neighbour.netns)?;
    let (here, there) = (site.workloads[0].mac, site.workloads[1].mac);
    let hello = frame(there, Mac::BROADCAST, b"hello");
    two.send(&hello)?;
    one.expect("the broadcast", |frame| frame.bytes == hello)?;
    let (answer, last) = (frame(here, there, b"answer"), frame(here, Mac::BROADCAST, b"last"));
    one.send(&answer)?;
    one.send(&last)?;
    two.expect("the answer", |frame| frame.bytes == answer)?;
    for other in [&three, &neighbour] {
        let seen = other.collect_to(|frame| frame.bytes == last, |frame| frame.bytes == answer)?;
        ensure!(seen.is_empty(), "an answer to a known address was flooded");
    }
    let fdb = lab.host(1).overlay_json(&["fdb", "show"])?;
    let entries = fdb.as_array().context("fdb show: no array")?;
    let learned = |mac: Mac| entries.iter().find(|entry| entry["mac"] == mac.to_string());
    let remote = learned(there).with_context(|| format!("{there} is not in {fdb}"))?;
    ensure!(remote["origin"] == "learned" && remote["remote"] == lab.host(2).vtep.to_string(), "{remote}");
    ensure!(remote["age_s"].as_u64().is_some_and(|age| age < 60), "{remote}");
    let local = learned(here).with_context(|| format!("{here} is not in {fdb}"))?;
    ensure!(local["origin"] == "learned" && local["port"] == site.workloads[0].port.as_str(), "{local}");
    Ok(())
}

fn a_segment_without_flooding_keeps_to_known_stations<N: Network>() -> Result<()> {
    let lab = lab::<N>()?;
    let site = Site::new(&lab, &[])?;
    let open = |netns: &NetNs| Wire::open(netns, Workload::DEVICE, Direction::In);
    let (one, two) = (open(&site.workloads[0].netns)?, open(&site.workloads[1].netns)?);
    let neighbour = open(&site.neighbour.netns)?;
    let (here, there) = (site.workloads[0].mac, site.workloads[1].mac);
    let hello = frame(there, Mac::BROADCAST, b"hello");
    two.send(&hello)?;
    one.expect("the broadcast", |received| received.bytes == hello)?;
    lab.host(1).overlay(&["vni", "set", "100", "--flood", "off"])?;
    let before = lab.host(1).drops()?;
    let silent = frame(here, UNKNOWN, b"silent");
    one.send(&silent)?;
    let known = frame(here, there, b"known");
    one.send(&known)?;
    // A broadcast is for everyone, and flooded all the same.
    let last = frame(here, Mac::BROADCAST, b"last");
    one.send(&last)?;
    two.expect("a frame to a known station", |received| received.bytes == known)?;
    for receiver in [&two, &neighbour] {
        let seen = receiver.collect_to(|frame| frame.bytes == last, |frame| frame.bytes == silent)?;
        ensure!(seen.is_empty(), "a frame to an unknown station was flooded");
    }
    let dropped = lab.host(1).drops_since(&before)?;
    ensure!(dropped.get(DropReason::UnknownUnicast.name()) == Some(&1), "{dropped:?}");
    Ok(())
}
