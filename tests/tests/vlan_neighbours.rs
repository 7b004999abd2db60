//! Frame tables of ARP and ND behind VLAN tags that are kept: an answer carries the tags of its question, and is right only
//! in the VLANs that the neighbour said it in. Workloads send on real devices, which take the outer tag beside the bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    bench::{Bench, Fate, Hook, PORT, REMOTE, SECOND_PORT, SECOND_STATION, STATION, VNI, lab, same},
    frame::{Arp, Ipv4, Mac, Nd, Outer},
    neigh::{self, claims, v4, v6},
    tags::{kept, with_tags},
    testrun::TC_REDIRECT,
    topology::Lab,
    trunk::{ETHER_SERVICE_TAG, Switch, Tag, tag},
    wire::{Direction, Wire},
};

const KEEP: [&str; 4] = ["--vlan", "keep", "--suppress", "on"];

/// A bench whose segment keeps tags, and was told, for both families: 2 is [`REMOTE`], 3 [`SECOND_STATION`].
fn bench(lab: &Lab) -> Result<Bench<'_>> {
    let bench = Bench::new(lab, &["--xdp", "off"])?;
    bench.set(&KEEP)?;
    for (last, mac) in [(2, REMOTE), (3, SECOND_STATION)] {
        for address in [IpAddr::from(v4(last)), v6(last.into()).into()] {
            let words = ["neigh", "add", "--vni", &VNI.to_string(), &address.to_string(), &mac.to_string()];
            bench.host().overlay(&words)?;
        }
    }
    Ok(bench)
}

fn solicitation(target: u16) -> Nd {
    Nd::solicitation((STATION, v6(1)), v6(target))
}

/// What [`STATION`] asks for an address, and the answers in the name of `mac`.
fn dialogues(mac: Mac, last: u8) -> [(Vec<u8>, Vec<u8>); 2] {
    neigh::dialogues((STATION, 1), (mac, last))
}

/// Whether a frame is for [`STATION`] alone. Hosts speak to all of a port by themselves.
fn is_answer(frame: &[u8]) -> bool {
    frame.starts_with(&STATION.0)
}

/// The first frame of the kind that comes to the station's port has to be `answer`.
fn answered(wire: &Wire, question: &[u8], answer: &[u8]) -> Result<()> {
    wire.send(question)?;
    same(&wire.expect("an answer", |seen| is_answer(&seen.bytes))?.bytes, answer)
}

/// Whether a packet of the underlay carries this frame.
fn carries(packet: &[u8], frame: &[u8]) -> bool {
    Outer::<Ipv4>::parse(packet).is_ok_and(|(_, inner)| inner == frame)
}

/// The frame has to reach everybody as it is, its outer tag beside the bytes or among them, and get no answer.
fn passes(bench: &Bench<'_>, frame: &[u8]) -> Result<()> {
    let (wire, second) = (bench.station(PORT)?, bench.station(SECOND_PORT)?);
    let underlay = Wire::open(&bench.lab.host(2).netns, "u2", Direction::In)?;
    wire.send(frame)?;
    second.expect("a copy", |seen| seen.bytes == frame)?;
    underlay.expect("a copy in the tunnel", |seen| carries(&seen.bytes, frame))?;
    let back = wire.collect(|seen| is_answer(&seen.bytes))?;
    ensure!(back.is_empty(), "{} came back, such as {:02x?}", back.len(), back[0].bytes);
    let (outcome, drops) = bench.run(Hook::Port(PORT), frame)?;
    ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{drops:?}");
    ensure!(carries(&outcome.frame, frame), "another frame in the tunnel");
    Ok(())
}

fn hears(bench: &Bench<'_>, hook: Hook<'_>, frame: &[u8]) -> Result<()> {
    let packet = match hook {
        Hook::Uplink(_) => bench.packet(frame, |_| {})?,
        _ => frame.to_vec(),
    };
    bench.run(hook, &packet).map(drop)
}

#[test]
fn an_answer_carries_the_tags_of_its_question_and_their_priorities() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    let wire = bench.station(PORT)?;
    let second = bench.station(SECOND_PORT)?;
    let underlay = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
    let mut count = 0;
    for tags in kept() {
        for (question, answer) in [dialogues(REMOTE, 2), dialogues(SECOND_STATION, 3)].concat() {
            let (question, answer) = (with_tags(&question, &tags), with_tags(&answer, &tags));
            answered(&wire, &question, &answer).with_context(|| format!("{tags:x?}"))?;
            let padded = [question, vec![0; 6]].concat();
            let answer = [answer, vec![0; 6]].concat();
            answered(&wire, &padded, &answer).with_context(|| format!("{tags:x?}"))?;
            // Among the bytes of the question; beside those of the answer is the outer one, which a test run does not show.
            let (outcome, drops) = bench.run(Hook::Port(PORT), &padded)?;
            ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{tags:x?}: {drops:?}");
            same(&outcome.frame, &[&answer[..12], &answer[16..]].concat())?;
            count += 3;
        }
    }
    for (elsewhere, what) in [(&second, "another port"), (&underlay, "the tunnel")] {
        let seen = elsewhere.collect(|seen| seen.bytes.windows(6).any(|bytes| bytes == STATION.0))?;
        ensure!(seen.is_empty(), "{what} had {} frames, such as {:02x?}", seen.len(), seen[0].bytes);
    }
    ensure!(neigh::requests(bench.host(), VNI)? == (count, count), "{}", neigh::stats(bench.host(), VNI)?);
    Ok(())
}

#[test]
fn probes_and_announcements_pass_with_their_tags() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    let probe = solicitation(2).but(|nd| {
        nd.ip.source = Ipv6Addr::UNSPECIFIED;
        nd.options.clear();
    });
    let mut frames = vec![
        Arp::request((STATION, Ipv4Addr::UNSPECIFIED), v4(2)),
        probe.frame(),
        probe.but(|nd| nd.options = vec![14, 1, 1, 2, 3, 4, 5, 6]).frame(),
        // Whom nobody knows.
        Arp::request((STATION, v4(1)), v4(99)),
        solicitation(99).frame(),
        // Where tags hide what is not right.
        solicitation(2).but(|nd| nd.checksum = Some(1)).frame(),
    ];
    frames.extend(claims((STATION, 1)));
    for tags in [vec![tag(0x600a)], vec![(ETHER_SERVICE_TAG, 0xb064), tag(0x700a)]] {
        for (number, frame) in frames.iter().enumerate() {
            passes(&bench, &with_tags(frame, &tags)).with_context(|| format!("{number}, {tags:x?}"))?;
        }
    }
    bench.set(&["--suppress-unknown", "drop"])?;
    let unknown = with_tags(&Arp::request((STATION, v4(1)), v4(99)), &[tag(10)]);
    bench.check(Hook::Port(PORT), &unknown, &Fate::Dropped(DropReason::NeighbourUnknown))
}

#[test]
fn what_is_said_behind_tags_is_heard_from_ports_and_tunnels() -> Result<()> {
    for arguments in [&["--xdp", "off"], &["--xdp", "native"]] {
        let lab = lab()?;
        let bench = Bench::new(&lab, arguments)?;
        bench.set(&KEEP)?;
        let wire = bench.station(PORT)?;
        let second = bench.station(SECOND_PORT)?;
        let underlay = Wire::open(&lab.host(2).netns, "u2", Direction::In)?;
        let mut last = 10;
        for tags in kept() {
            for (from_tunnel, mac) in [(true, REMOTE), (false, SECOND_STATION)] {
                for claim in claims((mac, last)) {
                    let claim = with_tags(&claim, &tags);
                    if from_tunnel {
                        underlay.send(&bench.packet(&claim, |_| {})?)?;
                    } else {
                        second.send(&claim)?;
                    }
                    wire.expect("the claim", |seen| seen.bytes.starts_with(&claim))?;
                }
                for (question, answer) in dialogues(mac, last) {
                    let (question, answer) = (with_tags(&question, &tags), with_tags(&answer, &tags));
                    answered(&wire, &question, &answer).with_context(|| format!("{last}, {tags:x?}"))?;
                }
                last += 1;
            }
        }
        // Of itself, each asker.
        neigh::expect(bench.host(), VNI, v4(1).into(), Some(&neigh::Neighbour::new(STATION, "learned")))?;
        neigh::expect(bench.host(), VNI, v6(1).into(), Some(&neigh::Neighbour::new(STATION, "learned")))?;
    }
    Ok(())
}

/// Two VLANs of a segment can use the same addresses.
#[test]
fn what_a_station_said_holds_in_its_vlans_alone() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.set(&KEEP)?;
    let wire = bench.station(PORT)?;
    let (said, priority) = (vec![tag(10)], vec![tag(0xe00a)]);
    let double = [(ETHER_SERVICE_TAG, 10), tag(20)];
    let others: [&[Tag]; 6] =
        [&[], &[tag(11)], &[tag(0)], &[(ETHER_SERVICE_TAG, 10)], &[tag(10), tag(20)], &[tag(20), tag(10)]];
    for claim in claims((REMOTE, 7)) {
        hears(&bench, Hook::Uplink("u1"), &with_tags(&claim, &said))?;
    }
    for (question, answer) in dialogues(REMOTE, 7) {
        for tags in [&said, &priority] {
            answered(&wire, &with_tags(&question, tags), &with_tags(&answer, tags))?;
        }
        for tags in others {
            passes(&bench, &with_tags(&question, tags)).with_context(|| format!("{tags:x?}"))?;
        }
    }
    // Known, though not here: not for nobody to have.
    bench.set(&["--suppress-unknown", "drop"])?;
    for (question, _) in dialogues(REMOTE, 7) {
        passes(&bench, &with_tags(&question, &[tag(11)]))?;
    }
    // Who says it in another VLAN last is known there, and a priority names no VLAN.
    for (tags, same_vlans) in
        [(&double[..], &[(ETHER_SERVICE_TAG, 0x700a), tag(0x3014)][..]), (&[], &[tag(0x6000)])]
    {
        for claim in claims((SECOND_STATION, 7)) {
            hears(&bench, Hook::Port(SECOND_PORT), &with_tags(&claim, tags))?;
        }
        for (question, answer) in dialogues(SECOND_STATION, 7) {
            for tags in [tags, same_vlans] {
                answered(&wire, &with_tags(&question, tags), &with_tags(&answer, tags))
                    .with_context(|| format!("{tags:x?}"))?;
            }
            passes(&bench, &with_tags(&question, &said))?;
        }
    }
    Ok(())
}

#[test]
fn the_vlans_that_a_neighbour_was_heard_in_are_shown() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    let mut expected = vec![];
    for (last, tags, vlans) in [
        (5, vec![tag(0x600a)], serde_json::json!([10])),
        (6, vec![(ETHER_SERVICE_TAG, 5), tag(20)], serde_json::json!([5, 20])),
        (7, vec![tag(0xe000)], serde_json::json!([])),
    ] {
        hears(&bench, Hook::Uplink("u1"), &with_tags(&claims((REMOTE, last))[0], &tags))?;
        expected.push((v4(last), vlans));
    }
    expected.push((v4(2), serde_json::json!([])));
    let all = bench.host().overlay_json(&["neigh", "show", "--vni", &VNI.to_string()])?;
    for (address, vlans) in expected {
        let row = all.as_array().and_then(|rows| rows.iter().find(|row| row["ip"] == address.to_string()));
        ensure!(row.is_some_and(|row| row["vlans"] == vlans), "{address} not in {vlans}: {all}");
    }
    let table = bench.host().overlay(&["neigh", "show"])?;
    ensure!(table.contains(" 5/20 "), "{table}");
    Ok(())
}

/// Makes [`STATION`] one behind a trunk port whose VLAN 10 is the segment, and which has no other unless `native`.
fn trunk(bench: &Bench<'_>, native: bool) -> Result<(Switch, Wire)> {
    let switch = Switch::new(bench.host(), "t1")?;
    let (vni, map) = (VNI.to_string(), format!("10:{}", if native { VNI + 1 } else { VNI }));
    let words = ["port", "add", "t1", "--vlan", &map];
    let more: &[&str] = if native { &["--vni", &vni] } else { &[] };
    bench.host().overlay(&[&words, more].concat())?;
    let wire = Wire::open(&switch.netns, Switch::TRUNK, Direction::In)?;
    Ok((switch, wire))
}

/// The tag of a trunk port is no part of a frame in its segment; others are.
#[test]
fn an_answer_to_a_trunk_port_has_the_tag_of_the_port_and_those_that_are_kept() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    let access = bench.station(SECOND_PORT)?;
    let (_switch, wire) = trunk(&bench, false)?;
    for kept in [&[][..], &[tag(0x6007)], &[(ETHER_SERVICE_TAG, 0xb064), tag(0x700a)]] {
        let on_trunk = [&[tag(10)], kept].concat();
        let marked = [&[tag(0xe00a)], kept].concat();
        for (question, answer) in dialogues(REMOTE, 2) {
            let (question, answer) = (with_tags(&question, &marked), with_tags(&answer, &on_trunk));
            answered(&wire, &question, &answer).with_context(|| format!("{kept:x?}"))?;
        }
        // What is said on the trunk holds behind access ports, and the other way round.
        for (claim, at_access) in claims((STATION, 1)).into_iter().zip(claims((STATION, 1))) {
            wire.send(&with_tags(&claim, &on_trunk))?;
            access.expect("the claim", |seen| seen.bytes == with_tags(&at_access, kept))?;
        }
        for (question, answer) in neigh::dialogues((SECOND_STATION, 3), (STATION, 1)) {
            access.send(&with_tags(&question, kept))?;
            let answer = with_tags(&answer, kept);
            access.expect("an answer", |seen| seen.bytes == answer).with_context(|| format!("{kept:x?}"))?;
        }
    }
    Ok(())
}

#[test]
fn an_answer_to_the_native_segment_of_a_trunk_port_has_what_tags_there_were() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    let (_switch, wire) = trunk(&bench, true)?;
    for tags in [&[][..], &[tag(0x6007)], &[(ETHER_SERVICE_TAG, 0xb064), tag(0x700a)]] {
        for (question, answer) in dialogues(REMOTE, 2) {
            let (question, answer) = (with_tags(&question, tags), with_tags(&answer, tags));
            answered(&wire, &question, &answer).with_context(|| format!("{tags:x?}"))?;
        }
    }
    Ok(())
}
