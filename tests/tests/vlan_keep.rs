//! Segments that keep VLAN tags: they go through the tunnel inside the frame, both ways, as they are.

use std::slice::from_ref;

use anyhow::{Context as _, Result, ensure};
use overlay_common::{DropReason, Family};
use overlay_tests::{
    bench::{
        Bench, Fate, Hook, PORT, REMOTE, Row, SECOND_PORT, SECOND_STATION, STATION, VNI, lab, same, udp_frame,
    },
    frame::{ETHER_EXPERIMENT, ETHER_IPV4, Ipv4, Mac, Outer},
    mesh,
    overlay::Instance,
    peer::{Peer, Segment},
    tags::{self, kept, with_tags},
    testrun::TC_REDIRECT,
    topology::{Lab, Plan, Underlay},
    trunk::{ETHER_SERVICE_TAG, Switch, Tag, tag, tagged},
    wire::{Direction, Wire},
};

const SEGMENT: u32 = 100;
const TRANSFER: usize = 8 << 20;
const WIRE: Underlay = Underlay { offloads: false, ..Underlay::over(Family::Ipv4) };

/// Frames of several kinds and lengths.
fn frames(source: Mac, destination: Mac) -> Vec<Vec<u8>> {
    let of = |ether_type, payload: &[u8]| tagged(source, destination, &[], ether_type, payload);
    vec![
        udp_frame(source, destination, 98),
        udp_frame(source, destination, 1400),
        of(0x0806, &[1; 46]),
        of(ETHER_EXPERIMENT, &[2; 60]),
        of(ETHER_EXPERIMENT, &[3; 1]),
        of(ETHER_IPV4, &[0xff; 30]),
        of(40, &[0x42; 40]),
    ]
}

fn keeping(bench: &Bench<'_>) -> Result<()> {
    bench.host().overlay(&["vni", "set", &VNI.to_string(), "--vlan", "keep"]).map(drop)
}

#[test]
fn tags_are_encapsulated_byte_for_byte() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    keeping(&bench)?;
    let (from, to) = (bench.host(), lab.host(2));
    for tags in kept() {
        for frame in frames(STATION, REMOTE) {
            let frame = with_tags(&frame, &tags);
            let what = || format!("{tags:x?}, {} bytes", frame.len());
            let (outcome, drops) = bench.run(Hook::Port(PORT), &frame)?;
            ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{}: {drops:?}", what());
            let mut outer = Outer::<Ipv4>::new((from.mac, from.v4), (to.mac, to.v4), VNI)?;
            outer.udp.source = u16::from_be_bytes([outcome.frame[34], outcome.frame[35]]);
            same(&outcome.frame, &outer.frame(&frame)).with_context(what)?;
        }
    }
    Ok(())
}

#[test]
fn the_mtu_counts_tags() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    keeping(&bench)?;
    for tags in kept() {
        // What fits an uplink with an MTU of 1500, outer headers of 36 bytes and the inner Ethernet header apart.
        let largest = 1500 - 36 - 14 - tags.len() * 4;
        let of = |len| tagged(STATION, REMOTE, &tags, ETHER_EXPERIMENT, &vec![7; len]);
        let (outcome, drops) = bench.run(Hook::Port(PORT), &of(largest))?;
        ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{tags:x?}: {drops:?}");
        bench.check(Hook::Port(PORT), &of(largest + 1), &Fate::Dropped(DropReason::TooBig))?;
    }
    Ok(())
}

#[test]
fn what_is_not_kept_is_dropped_with_its_reason() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let of = |tags: &[Tag]| with_tags(&udp_frame(STATION, REMOTE, 98), tags);
    let from_afar = |tags: &[Tag]| bench.packet(&with_tags(&udp_frame(REMOTE, STATION, 98), tags), |_| {});
    let row = |what: &str, frame| Row::new(what, frame, Fate::Dropped(DropReason::InnerVlan));
    for tags in kept() {
        // One that says a priority and no VLAN is none on a port.
        if !matches!(tags[..], [(_, control)] if control.is_multiple_of(1 << 12)) {
            bench.table(Hook::Port(PORT), &[row("by default", of(&tags))])?;
        }
        bench.table(Hook::Uplink("u1"), &[row("by default", from_afar(&tags)?)])?;
    }
    keeping(&bench)?;
    let three = [tag(1), tag(2), tag(3)];
    let cut = |frame: Vec<u8>, len| frame[..len].to_vec();
    bench.table(Hook::Port(PORT), &[row("three tags", of(&three)), row("four", of(&[tag(1); 4]))])?;
    bench.table(
        Hook::Uplink("u1"),
        &[row("three tags", from_afar(&three)?), row("four", from_afar(&[tag(1); 4])?)],
    )?;
    let truncated = |frame| Row::new("cut off", frame, Fate::Dropped(DropReason::InnerTruncated));
    for len in [14, 16, 17] {
        bench.table(Hook::Port(PORT), &[truncated(cut(of(&[tag(1)]), len))])?;
        let inner = cut(with_tags(&udp_frame(REMOTE, STATION, 98), &[tag(1)]), len);
        bench.table(Hook::Uplink("u1"), &[truncated(bench.packet(&inner, |_| {})?)])?;
    }
    let group = with_tags(&udp_frame(Mac::BROADCAST, REMOTE, 98), &[tag(1)]);
    let bad = [Row::new("from everyone", group.clone(), Fate::Dropped(DropReason::BadSourceMac))];
    bench.table(Hook::Port(PORT), &bad)?;
    let bad =
        [Row::new("from everyone", bench.packet(&group, |_| {})?, Fate::Dropped(DropReason::BadSourceMac))];
    bench.table(Hook::Uplink("u1"), &bad)
}

#[test]
fn tags_out_of_a_tunnel_reach_a_station_and_everyone_as_they_are() -> Result<()> {
    for arguments in [&["--xdp", "off"], &["--xdp", "native"], &["--xdp", "generic"]] {
        let lab = lab()?;
        let bench = Bench::new(&lab, arguments)?;
        keeping(&bench)?;
        let underlay = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
        let stations = [bench.station(PORT)?, bench.station(SECOND_PORT)?];
        for tags in kept() {
            for (destination, receivers) in
                [(STATION, from_ref(&stations[0])), (Mac::BROADCAST, &stations[..])]
            {
                for frame in frames(REMOTE, destination) {
                    let frame = with_tags(&frame, &tags);
                    underlay.send(&bench.packet(&frame, |_| {})?)?;
                    for station in receivers {
                        let what = format!("{tags:x?}, {} bytes", frame.len());
                        // Behind a tunnel a frame is padded to what IP needs at least.
                        let is_it = |bytes: &[u8]| bytes.starts_with(&frame);
                        station.expect(&what, |seen| is_it(&seen.bytes))?;
                    }
                }
            }
        }
        let drops = bench.host().drops()?;
        ensure!(drops.values().all(|count| *count == 0), "{drops:?}");
    }
    Ok(())
}

#[test]
fn tags_reach_another_port_of_the_host_as_they_are() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    keeping(&bench)?;
    let (from, to) = (bench.station(PORT)?, bench.station(SECOND_PORT)?);
    for tags in kept() {
        for destination in [SECOND_STATION, Mac::BROADCAST] {
            // The kernel receives nothing that ends right behind a tag's next byte (`skb_vlan_untag`).
            for frame in frames(STATION, destination).into_iter().filter(|frame| frame.len() > 15) {
                let frame = with_tags(&frame, &tags);
                from.send(&frame)?;
                to.expect(&format!("{tags:x?}, {} bytes", frame.len()), |seen| seen.bytes == frame)?;
            }
        }
    }
    Ok(())
}

fn ours_to_ours(underlay: Underlay, arguments: &[&str], tags: &[Tag]) -> Result<()> {
    let lab = Lab::with(2, underlay)?;
    let instances = mesh::up(&lab, arguments)?;
    mesh::connect(&instances, SEGMENT)?;
    let (_here, one) = tags::workload(&instances[0], SEGMENT, 1, tags)?;
    let (_there, two) = tags::workload(&instances[1], SEGMENT, 2, tags)?;
    mesh::exchange(&one, &two, TRANSFER)
}

#[test]
fn flows_with_a_tag_pass_with_offloads() -> Result<()> {
    ours_to_ours(Underlay::default(), &[], &[tag(0x200a)])
}

#[test]
fn flows_with_a_tag_pass_as_on_a_wire() -> Result<()> {
    ours_to_ours(WIRE, &["--xdp", "native"], &[tag(10)])
}

#[test]
fn flows_with_two_tags_pass_with_offloads() -> Result<()> {
    ours_to_ours(Underlay::default(), &[], &[(ETHER_SERVICE_TAG, 5), tag(10)])
}

#[test]
fn flows_with_two_tags_pass_as_on_a_wire() -> Result<()> {
    ours_to_ours(WIRE, &[], &[(ETHER_SERVICE_TAG, 5), tag(10)])
}

/// The kernel's `vxlan` device and bridge pass inner tags.
fn ours_to_kernel(underlay: Underlay, tags: &[Tag]) -> Result<()> {
    let lab = Lab::with(2, underlay)?;
    let (one, two) = (lab.host(1), lab.host(2));
    let instance = Instance::up(one, &[])?;
    instance.reach(SEGMENT, two)?;
    let (_here, ours) = tags::workload(&instance, SEGMENT, 1, tags)?;
    let peer = Peer::join(two, &Segment::new(two, SEGMENT, &[one]))?;
    let mut switch = Switch::new(two, "t1")?;
    let theirs = switch.workload(&Plan { mtu: Some(1442), ..Plan::new(SEGMENT, 2) }, tags)?;
    switch.start()?;
    two.netns.ip(&format!("link set t1 master {}", peer.bridge))?;
    mesh::exchange(&ours, &theirs, TRANSFER)
}

#[test]
fn flows_with_a_tag_reach_the_kernel_with_offloads() -> Result<()> {
    ours_to_kernel(Underlay::default(), &[tag(10)])
}

#[test]
fn flows_with_a_tag_reach_the_kernel_as_on_a_wire() -> Result<()> {
    ours_to_kernel(WIRE, &[tag(10)])
}

#[test]
fn flows_with_two_tags_reach_the_kernel() -> Result<()> {
    ours_to_kernel(WIRE, &[(ETHER_SERVICE_TAG, 5), tag(10)])
}
