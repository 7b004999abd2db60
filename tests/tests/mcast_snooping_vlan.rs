//! With `--mcast-snooping on`, listeners behind trunk ports get what is for them, with the tag of their VLAN. In
//! segments that keep tags, what has one is flooded.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use overlay_common::Family;
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Ethernet, Mac},
    group::{datagram, group, listen, query},
    mesh,
    overlay::MISSING,
    process::wait_until,
    topology::{Host, Lab, Underlay, Workload},
    trunk::{BLUE, RED, Switch, site, tag},
    wire::{Direction, Wire},
};

const SOON: Duration = Duration::from_secs(5);

/// The same frame with a tag.
fn with_tag(frame: &[u8], control: u16) -> Vec<u8> {
    let (protocol, control) = tag(control);
    let tag = [protocol.to_be_bytes(), control.to_be_bytes()].concat();
    [&frame[..12], &tag, &frame[12..]].concat()
}

fn wait_for_listener(host: &Host, vni: u32, family: Family, port: &str) -> Result<()> {
    let (group, vni) = (group(family).0.to_string(), vni.to_string());
    wait_until(Instant::now() + SOON, || {
        let mdb = host.overlay_json(&["mdb", "show", "--vni", &vni])?;
        let rows = mdb.as_array().context("no array")?;
        let is_listener = |row: &serde_json::Value| row["group"] == group && row["port"] == port;
        Ok(rows.iter().any(is_listener).then_some(()))
    })
    .with_context(|| format!("{port} does not listen to {group} in VNI {vni}"))
}

/// How many copies of a frame a wire sees until one comes of another frame, which everybody gets.
fn copies(wire: &Wire, wanted: &[u8], last: &[u8]) -> Result<usize> {
    Ok(wire.collect_to(|frame| frame.bytes == last, |frame| frame.bytes == wanted)?.len())
}

fn behind_a_trunk(family: Family) -> Result<()> {
    let lab = Lab::with(2, Underlay { static_neighbours: true, ..Underlay::default() })?;
    let instances = mesh::up(&lab, &[])?;
    for host in &lab.hosts {
        host.overlay(&["vni", "add", "1000", "--mcast-snooping", "on"])?;
    }
    let here = site(&instances[0], 1)?;
    mesh::connect(&instances, RED)?;
    let (beside, far) = (mesh::workload(&instances[0], RED, 3)?, mesh::workload(&instances[1], RED, 2)?);
    let socket = listen(&here.red, family)?;
    let sender = Wire::open(&far.netns, Workload::DEVICE, Direction::In)?;
    let trunk = Wire::open(&here.switch.netns, Switch::TRUNK, Direction::In)?;
    let silent = Wire::open(&beside.netns, Workload::DEVICE, Direction::In)?;
    sender.send(&query(family, &far))?;
    wait_for_listener(lab.host(1), RED, family, "t1")?;

    let mut number = 0;
    let mut send = || -> Result<[usize; 2]> {
        number += 1;
        let inner = datagram(family, &far, number);
        let last = Ethernet::new(far.mac, Mac::BROADCAST, ETHER_EXPERIMENT).frame(&[number; 60]);
        sender.send(&inner)?;
        sender.send(&last)?;
        Ok([copies(&trunk, &with_tag(&inner, 10), &with_tag(&last, 10))?, copies(&silent, &inner, &last)?])
    };
    // Those who have not said so yet have a tenth of a second.
    wait_until(Instant::now() + SOON, || Ok((send()? == [1, 0]).then_some(())))
        .context("the trunk alone gets it")?;
    ensure!(send()? == [1, 0]);
    let mut buffer = [0; 100];
    ensure!(socket.recv(&mut buffer)? == 64);
    // A listener that goes is asked for no more; nor is one whose VLAN goes.
    lab.host(1).overlay(&["port", "vlan", "del", "t1", "10:1000"])?;
    let mdb = lab.host(1).overlay_json(&["mdb", "show", "--vni", "1000"])?;
    ensure!(mdb.as_array().is_some_and(|rows| rows.iter().all(|row| row["port"] != "t1")), "{mdb}");
    Ok(())
}

#[test]
fn a_listener_behind_a_trunk_port_is_heard_by_igmp() -> Result<()> {
    behind_a_trunk(Family::Ipv4)
}

#[test]
fn a_listener_behind_a_trunk_port_is_heard_by_mld() -> Result<()> {
    behind_a_trunk(Family::Ipv6)
}

#[test]
fn a_trunk_port_can_be_named_in_its_segments_only() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let _site = site(&instances[0], 1)?;
    let (host, other) = (lab.host(1), (BLUE + 1).to_string());
    host.overlay(&["vni", "add", &other])?;
    host.overlay(&["mdb", "add", "--vni", "2000", "239.7.7.7", "--port", "t1"])?;
    wait_for_listener(host, BLUE, Family::Ipv4, "t1")?;
    let failure = host.overlay_fails(&["mdb", "add", "--vni", &other, "239.7.7.7", "--port", "t1"])?;
    ensure!(failure.code == MISSING && failure.stderr.contains("t1 is no port of VNI 2001"), "{failure:?}");
    Ok(())
}

#[test]
fn what_keeps_its_tag_is_flooded_whoever_listens_without_one() -> Result<()> {
    let lab = Lab::with(2, Underlay { static_neighbours: true, ..Underlay::default() })?;
    let instances = mesh::up(&lab, &[])?;
    for host in &lab.hosts {
        host.overlay(&["vni", "add", "100", "--mcast-snooping", "on", "--vlan", "keep"])?;
    }
    mesh::connect(&instances, 100)?;
    let (near, beside) = (mesh::workload(&instances[0], 100, 1)?, mesh::workload(&instances[0], 100, 4)?);
    let (listener, silent) = (mesh::workload(&instances[1], 100, 2)?, mesh::workload(&instances[1], 100, 3)?);
    let socket = listen(&listener, Family::Ipv4)?;
    let sender = Wire::open(&near.netns, Workload::DEVICE, Direction::In)?;
    let wire = |workload: &Workload| Wire::open(&workload.netns, Workload::DEVICE, Direction::In);
    let (listening, unheard, beside) = (wire(&listener)?, wire(&silent)?, wire(&beside)?);
    // In VLAN 7 somebody asks; in VLAN 9 nobody does.
    let ask = query(Family::Ipv4, &near);
    sender.send(&with_tag(&ask, 7))?;
    sender.send(&ask)?;
    wait_for_listener(lab.host(2), 100, Family::Ipv4, &listener.port)?;
    let mut number = 0;
    let mut send = |control: Option<u16>| -> Result<[usize; 3]> {
        number += 1;
        let inner = datagram(Family::Ipv4, &near, number);
        let inner = control.map_or_else(|| inner.clone(), |control| with_tag(&inner, control));
        let last = Ethernet::new(near.mac, Mac::BROADCAST, ETHER_EXPERIMENT).frame(&[number; 60]);
        sender.send(&inner)?;
        sender.send(&last)?;
        Ok([
            copies(&listening, &inner, &last)?,
            copies(&unheard, &inner, &last)?,
            copies(&beside, &inner, &last)?,
        ])
    };
    wait_until(Instant::now() + SOON, || Ok((send(None)? == [1, 0, 0]).then_some(())))
        .context("who does not listen gets it too")?;
    for control in [0x6007, 9] {
        ensure!(send(Some(control))? == [1, 1, 1], "{control:#x}");
    }
    ensure!(send(None)? == [1, 0, 0]);
    drop(socket);
    Ok(())
}
