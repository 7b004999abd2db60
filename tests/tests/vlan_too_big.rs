//! Packets behind VLAN tags that are kept, and too big for the tunnel: what a workload is told, byte for byte, tags included.

use anyhow::{Context as _, Result, ensure};
use overlay_common::{DropReason, Notice};
use overlay_tests::{
    bench::{Bench, Fate, Hook, PORT, STATION, VNI, lab, same},
    frame::{Ipv4, Outer, verify},
    tags::{kept, with_tags, without_tags},
    testrun::TC_REDIRECT,
    too_big::{ROOM, answer4, answer6, frame4, frame6},
    topology::Lab,
    trunk::{Switch, Tag, tag},
    wire::{Direction, Wire},
};

fn keeping(lab: &Lab) -> Result<Bench<'_>> {
    let bench = Bench::new(lab, &["--xdp", "off"])?;
    bench.set(&["--vlan", "keep"])?;
    Ok(bench)
}

/// What fits behind tags that are kept.
fn room(tags: &[Tag]) -> usize {
    ROOM as usize - 4 * tags.len()
}

/// A packet of `len` bytes over each family, and what is said where `room` bytes fit.
fn dialogues(len: usize, room: usize) -> Result<[(Vec<u8>, Vec<u8>); 2]> {
    let (frame4, frame6, room) = (frame4(len), frame6(len), u32::try_from(room)?);
    let (answer4, answer6) = (answer4(&frame4, room)?, answer6(&frame6, room)?);
    Ok([(frame4, answer4), (frame6, answer6)])
}

/// What does not fit has to be answered on the wire that it came by, with the tags it has there, and counted.
fn told(bench: &Bench<'_>, wire: &Wire, tags: &[Tag], room: usize) -> Result<()> {
    // The last is what the workload's device takes at most.
    for len in [room + 1, room + 2, room + 3, 1500 - 4 * tags.len()] {
        for (frame, answer) in dialogues(len, room)? {
            let (drops, notices) = (bench.host().drops()?, bench.host().noticed(Notice::TooBigAnswered)?);
            wire.send(&with_tags(&frame, tags))?;
            let seen = wire.expect("an answer", |seen| seen.bytes.starts_with(&STATION.0))?;
            verify(&without_tags(&seen.bytes))?;
            same(&seen.bytes, &with_tags(&answer, tags)).with_context(|| format!("{len} bytes"))?;
            ensure!(!seen.checksum_pending, "its checksum is still to be filled in");
            let counted = bench.host().drops_since(&drops)?;
            ensure!(counted.get(DropReason::TooBig.name()) == Some(&1), "{counted:?}");
            ensure!(bench.host().noticed(Notice::TooBigAnswered)? == notices + 1, "not noticed");
        }
    }
    Ok(())
}

/// What fits goes into the tunnel as it is, with the tags that are kept.
fn fits(bench: &Bench<'_>, wire: &Wire, tags: (&[Tag], &[Tag]), room: usize) -> Result<()> {
    let far = Wire::open(&bench.lab.host(2).netns, "u2", Direction::In)?;
    for frame in [frame4(room), frame6(room)] {
        wire.send(&with_tags(&frame, tags.0))?;
        let inside = with_tags(&frame, tags.1);
        far.expect("it in the tunnel", |seen| {
            Outer::<Ipv4>::parse(&seen.bytes).is_ok_and(|(_, inner)| inner == inside)
        })?;
    }
    Ok(())
}

#[test]
fn an_answer_carries_the_tags_and_counts_them() -> Result<()> {
    let lab = lab()?;
    let bench = keeping(&lab)?;
    let wire = bench.station(PORT)?;
    for tags in kept() {
        told(&bench, &wire, &tags, room(&tags)).with_context(|| format!("{tags:x?}"))?;
        fits(&bench, &wire, (&tags, &tags), room(&tags)).with_context(|| format!("{tags:x?}"))?;
    }
    Ok(())
}

#[test]
fn tags_among_the_bytes_are_answered_alike() -> Result<()> {
    let lab = lab()?;
    let bench = keeping(&lab)?;
    for tags in kept() {
        for len in [room(&tags) + 1, 1600] {
            for (frame, answer) in dialogues(len, room(&tags))? {
                let (outcome, drops) = bench.run(Hook::Port(PORT), &with_tags(&frame, &tags))?;
                let is_answer = outcome.verdict == TC_REDIRECT && drops == [(DropReason::TooBig, 1)];
                ensure!(is_answer, "{tags:x?}: {}, {drops:?}", outcome.verdict);
                // The outer tag is beside the bytes by now, which a test run does not show.
                same(&outcome.frame, &with_tags(&answer, &tags[1..]))
                    .with_context(|| format!("{tags:x?}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_trunk_port_is_answered_with_its_tag() -> Result<()> {
    let lab = lab()?;
    let bench = keeping(&lab)?;
    let switch = Switch::new(bench.host(), "t1")?;
    bench.host().overlay(&["port", "add", "t1", "--vlan", &format!("10:{VNI}")])?;
    let wire = Wire::open(&switch.netns, Switch::TRUNK, Direction::In)?;
    for kept in [vec![], vec![tag(0x6007)]] {
        let tags = [&[tag(10)], &kept[..]].concat();
        told(&bench, &wire, &tags, room(&kept)).with_context(|| format!("{kept:x?}"))?;
        fits(&bench, &wire, (&tags, &kept), room(&kept)).with_context(|| format!("{kept:x?}"))?;
    }
    Ok(())
}

#[test]
fn the_mtu_of_the_segment_is_that_of_ip_whatever_the_tags() -> Result<()> {
    let lab = lab()?;
    let bench = keeping(&lab)?;
    bench.set(&["--mtu", "1400"])?;
    let wire = bench.station(PORT)?;
    for tags in kept() {
        told(&bench, &wire, &tags, 1400).with_context(|| format!("{tags:x?}"))?;
        fits(&bench, &wire, (&tags, &tags), 1400).with_context(|| format!("{tags:x?}"))?;
    }
    Ok(())
}

#[test]
fn what_fits_no_ipv6_behind_its_tags_is_dropped_silently() -> Result<()> {
    let lab = lab()?;
    let bench = keeping(&lab)?;
    // 1280 bytes fit behind one tag, not behind two.
    bench.host().netns.ip("route replace 10.0.0.2/32 dev u1 src 10.0.0.1 mtu lock 1334")?;
    std::thread::sleep(std::time::Duration::from_millis(120));
    let frame = frame6(1300);
    let (outcome, drops) = bench.run(Hook::Port(PORT), &with_tags(&frame, &[tag(10)]))?;
    ensure!(outcome.verdict == TC_REDIRECT && drops == [(DropReason::TooBig, 1)], "{drops:?}");
    same(&outcome.frame, &answer6(&frame, 1280)?)?;
    let two = with_tags(&frame, &[tag(5), tag(10)]);
    bench.check(Hook::Port(PORT), &two, &Fate::Dropped(DropReason::TooBig))
}
