//! Trunk ports: each of their VLANs is a segment, both ways, and no frame gets from one to another.

use anyhow::{Result, ensure};
use overlay_common::{DropReason, Family};
use overlay_tests::{
    frame::{ETHER_EXPERIMENT, Mac},
    mesh,
    overlay::Instance,
    peer::{Peer, Segment},
    topology::{Lab, Plan, Underlay, Workload},
    traffic,
    trunk::{BLUE, ETHER_SERVICE_TAG, NATIVE, RED, Switch, Tag, site, tag, tagged},
    wire::{Direction, Wire},
};

const TRANSFER: usize = 8 << 20;
/// Frames of at most one MTU with real checksums, as on a wire.
const WIRE: Underlay = Underlay { offloads: false, ..Underlay::over(Family::Ipv4) };
/// A station behind the trunk.
const STATION: Mac = Mac([2, 0, 0, 0, 8, 1]);

fn listen(workload: &Workload) -> Result<Wire> {
    Wire::open(&workload.netns, Workload::DEVICE, Direction::In)
}

fn trunk_to_access(underlay: Underlay, arguments: &[&str]) -> Result<()> {
    let lab = Lab::with(2, underlay)?;
    let instances = mesh::up(&lab, arguments)?;
    let site = site(&instances[0], 1)?;
    let mut others = vec![];
    for (vni, here) in [(RED, &site.red), (BLUE, &site.blue), (NATIVE, &site.native)] {
        mesh::connect(&instances, vni)?;
        let there = mesh::workload(&instances[1], vni, 2)?;
        mesh::exchange(here, &there, TRANSFER)?;
        others.push(there);
    }
    Ok(())
}

#[test]
fn vlans_of_a_trunk_reach_access_ports_with_offloads() -> Result<()> {
    trunk_to_access(Underlay::default(), &[])
}

#[test]
fn vlans_of_a_trunk_reach_access_ports_as_on_a_wire() -> Result<()> {
    trunk_to_access(WIRE, &["--xdp", "native"])
}

#[test]
fn vlans_of_two_trunks_are_one_segment_each() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let here = site(&instances[0], 1)?;
    let there = site(&instances[1], 2)?;
    for vni in [RED, BLUE, NATIVE] {
        mesh::connect(&instances, vni)?;
    }
    mesh::exchange(&here.red, &there.red, TRANSFER)?;
    mesh::exchange(&here.blue, &there.blue, TRANSFER)?;
    mesh::exchange(&here.native, &there.native, TRANSFER)
}

#[test]
fn a_trunk_and_an_access_port_of_one_host_talk() -> Result<()> {
    let lab = Lab::new(2)?;
    let instance = Instance::up(lab.host(1), &[])?;
    let site = site(&instance, 1)?;
    let mut others = vec![];
    for (vni, here) in [(RED, &site.red), (NATIVE, &site.native)] {
        let there = mesh::workload(&instance, vni, 2)?;
        mesh::exchange(here, &there, TRANSFER)?;
        others.push(there);
    }
    Ok(())
}

#[test]
fn vlans_of_a_trunk_reach_segments_of_the_kernel() -> Result<()> {
    let lab = Lab::new(2)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let instance = Instance::up(one, &[])?;
    let site = site(&instance, 1)?;
    let mut others = vec![];
    for (vni, here) in [(RED, &site.red), (BLUE, &site.blue)] {
        instance.reach(vni, two)?;
        let peer = Peer::join(two, &Segment::new(two, vni, &[one]))?;
        let there = two.workload(&Plan::new(vni, 2))?;
        peer.attach(&there)?;
        mesh::exchange(here, &there, TRANSFER)?;
        others.push(there);
    }
    Ok(())
}

#[test]
fn a_frame_never_goes_from_one_vlan_to_another() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let here = site(&instances[0], 1)?;
    let mut far = vec![];
    for vni in [RED, BLUE, NATIVE] {
        mesh::connect(&instances, vni)?;
        far.push(mesh::workload(&instances[1], vni, 2)?);
    }
    // All have the same addresses in all segments, and talk.
    for (workload, other) in [&here.red, &here.blue, &here.native].into_iter().zip(&far) {
        traffic::ping(&workload.netns, other.v4.into(), 3)?;
    }
    let near = [listen(&here.red)?, listen(&here.blue)?, listen(&here.native)?];
    let trunk = Wire::open(&here.switch.netns, Switch::TRUNK, Direction::In)?;
    let far_wires = [listen(&far[0])?, listen(&far[1])?, listen(&far[2])?];
    for (index, tags) in [&[tag(10)][..], &[tag(20)], &[]].into_iter().enumerate() {
        for (number, destination) in
            [far[0].mac, Mac::BROADCAST, Mac([2, 0xee, 0, 0, 0, 1])].into_iter().enumerate()
        {
            let text = [u8::try_from(index * 16 + number)?; 50];
            trunk.send(&tagged(STATION, destination, tags, ETHER_EXPERIMENT, &text))?;
            let plain = tagged(STATION, destination, &[], ETHER_EXPERIMENT, &text);
            far_wires[index].expect("a frame of its own segment", |frame| frame.bytes == plain)?;
            for (_, other) in far_wires.iter().enumerate().filter(|(other, _)| *other != index) {
                ensure!(other.collect(|frame| frame.bytes.ends_with(&text))?.is_empty(), "{index} crossed");
            }
            // Nor does it turn round.
            let back = trunk.collect(|frame| frame.bytes.ends_with(&text))?;
            ensure!(back.is_empty(), "{index} came back");
            // And from afar to where its VLAN is, with just one tag.
            let answer = [u8::try_from(0x80 + index * 16 + number)?; 50];
            let station = Mac([2, 0, 0, 0, 9, u8::try_from(index)?]);
            let target = if number == 0 { here.red.mac } else { destination };
            far_wires[index].send(&tagged(station, target, &[], ETHER_EXPERIMENT, &answer))?;
            let expected = tagged(station, target, tags, ETHER_EXPERIMENT, &answer);
            trunk.expect("a frame of the VLAN", |frame| frame.bytes == expected)?;
            ensure!(
                trunk.collect(|frame| frame.bytes.ends_with(&answer))?.is_empty(),
                "{index}: another copy"
            );
            for (_, other) in near.iter().enumerate().filter(|(other, _)| *other != index) {
                ensure!(other.collect(|frame| frame.bytes.ends_with(&answer))?.is_empty(), "{index} crossed");
            }
        }
    }
    Ok(())
}

#[test]
fn a_trunk_gets_one_copy_of_what_is_flooded_in_each_of_its_segments() -> Result<()> {
    let lab = Lab::new(2)?;
    let instances = mesh::up(&lab, &[])?;
    let here = site(&instances[0], 1)?;
    mesh::connect(&instances, RED)?;
    let (near, far) = (mesh::workload(&instances[0], RED, 3)?, mesh::workload(&instances[1], RED, 2)?);
    let trunk = Wire::open(&here.switch.netns, Switch::TRUNK, Direction::In)?;
    let (near, far) = (listen(&near)?, listen(&far)?);
    for (number, sender, others) in
        [(1, &near, [&far, &trunk]), (2, &far, [&near, &trunk]), (3, &trunk, [&near, &far])]
    {
        let text = [number; 60];
        let plain = tagged(STATION, Mac::BROADCAST, &[], ETHER_EXPERIMENT, &text);
        let with_tag = tagged(STATION, Mac::BROADCAST, &[tag(10)], ETHER_EXPERIMENT, &text);
        sender.send(if number == 3 { &with_tag } else { &plain })?;
        for other in others {
            let expected = if std::ptr::eq(other, &raw const trunk) { &with_tag } else { &plain };
            let is_copy = |bytes: &[u8]| bytes.ends_with(&text);
            let copies = other.collect_to(|frame| is_copy(&frame.bytes), |frame| is_copy(&frame.bytes))?;
            ensure!(copies.len() == 1 && copies[0].bytes == *expected, "{number}: {copies:02x?}");
        }
    }
    Ok(())
}

/// Sends frames with these tags into the trunk; they have to be dropped for the reason, and counted.
fn dropped(switch: &Switch, host: &Instance<'_>, tags: &[Tag], reason: DropReason) -> Result<()> {
    let trunk = Wire::open(&switch.netns, Switch::TRUNK, Direction::In)?;
    let before = host.host.drops()?;
    for _ in 0..3 {
        trunk.send(&tagged(STATION, Mac::BROADCAST, tags, ETHER_EXPERIMENT, &[1; 60]))?;
    }
    let mut drops = host.host.drops_since(&before)?;
    // What workloads say by themselves may reach nobody.
    drops.remove(DropReason::NoReceivers.name());
    ensure!(drops.len() == 1 && drops.get(reason.name()) == Some(&3), "{tags:x?}: {drops:?}");
    Ok(())
}

#[test]
fn what_a_trunk_has_no_segment_for_is_dropped_with_its_reason() -> Result<()> {
    let lab = Lab::new(2)?;
    let instance = Instance::up(lab.host(1), &[])?;
    let switch = Switch::new(instance.host, "t1")?;
    instance.host.overlay(&["port", "add", "t1", "--vlan", "10:1000,20:2000", "--vni", "3000"])?;
    let _other = [mesh::workload(&instance, NATIVE, 5)?, mesh::workload(&instance, RED, 5)?];
    dropped(&switch, &instance, &[tag(30)], DropReason::UnmappedVlan)?;
    dropped(&switch, &instance, &[tag(0), tag(20)], DropReason::UnmappedVlan)?;
    dropped(&switch, &instance, &[(ETHER_SERVICE_TAG, 10)], DropReason::UnmappedVlan)?;
    dropped(&switch, &instance, &[tag(10), tag(20)], DropReason::InnerVlan)?;
    instance.host.overlay(&["port", "del", "t1"])?;
    instance.host.overlay(&["port", "add", "t1", "--vlan", "10:1000"])?;
    dropped(&switch, &instance, &[], DropReason::UntaggedFrame)?;
    dropped(&switch, &instance, &[tag(0)], DropReason::UntaggedFrame)?;
    dropped(&switch, &instance, &[tag(20)], DropReason::UnmappedVlan)
}

#[test]
fn a_native_segment_keeps_other_tags_but_none_of_another_segment() -> Result<()> {
    let lab = Lab::new(2)?;
    let instance = Instance::up(lab.host(1), &[])?;
    let site = site(&instance, 1)?;
    let access = mesh::workload(&instance, NATIVE, 5)?;
    for vni in ["3000", "1000"] {
        instance.host.overlay(&["vni", "set", vni, "--vlan", "keep"])?;
    }
    let red_access = mesh::workload(&instance, RED, 5)?;
    let trunk = Wire::open(&site.switch.netns, Switch::TRUNK, Direction::In)?;
    let (native, red) = (listen(&access)?, listen(&red_access)?);
    let through = |from: &Wire, sent: &[Tag], to: &Wire, seen: &[Tag]| {
        let frame = |tags| tagged(STATION, Mac::BROADCAST, tags, ETHER_EXPERIMENT, &[0x17; 60]);
        from.send(&frame(sent))?;
        to.expect("a frame with its tags", |received| received.bytes == frame(seen)).map(drop)
    };
    for tags in [&[tag(0x6030)][..], &[(ETHER_SERVICE_TAG, 10), tag(0xb020)], &[tag(0xe000)]] {
        through(&trunk, tags, &native, tags)?;
        through(&native, tags, &trunk, tags)?;
    }
    // On a trunk the outer tag is the VLAN's, and the others stay.
    through(&trunk, &[tag(0xa00a), tag(0x7fff)], &red, &[tag(0x7fff)])?;
    through(&red, &[tag(0x7fff)], &trunk, &[tag(10), tag(0x7fff)])?;
    let qinq = [(ETHER_SERVICE_TAG, 5), tag(6)];
    through(&red, &qinq, &trunk, &[&[tag(10)], &qinq[..]].concat())?;
    through(&trunk, &[&[tag(10)], &qinq[..]].concat(), &red, &qinq)?;
    through(&trunk, &[], &native, &[])?;
    // A tag of the native segment that would be another VLAN on the trunk does not get there, whatever is in front of it.
    for tags in [&[tag(10)][..], &[tag(0), tag(20)], &[tag(0xe014), tag(30)]] {
        let before = instance.host.drops()?;
        native.send(&tagged(access.mac, Mac::BROADCAST, tags, ETHER_EXPERIMENT, &[0x18; 60]))?;
        native.send(&tagged(access.mac, STATION, tags, ETHER_EXPERIMENT, &[0x18; 60]))?;
        ensure!(trunk.collect(|frame| frame.bytes.ends_with(&[0x18; 60]))?.is_empty(), "{tags:x?} crossed");
        let drops = instance.host.drops_since(&before)?;
        ensure!(drops.get(DropReason::VlanClash.name()) == Some(&2), "{tags:x?}: {drops:?}");
    }
    Ok(())
}
