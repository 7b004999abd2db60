//! Which ARP and ND requests of a port are answered, with which bytes, and which are left to others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    bench::{
        Bench, Fate, Hook, NOBODY, OTHER_PORT, OTHER_VNI, PORT, REMOTE, Row, SECOND_PORT, SECOND_STATION,
        STATION, VNI, lab, udp_frame,
    },
    frame::{Arp, ETHER_ARP, Ethernet, Mac, Nd, verify},
    neigh::{self, v4, v6},
    testrun::TC_REDIRECT,
};

const FROM_PORT: Hook<'_> = Hook::Port(PORT);
/// A segment that suppresses, whose learning does not come in the way.
const ON: [&str; 4] = ["--suppress", "on", "--learning", "off"];

/// What makes a message wrong.
type Change = fn(&mut Nd);

/// A bench whose segment knows, for both families: 1 is [`STATION`], 2 [`REMOTE`], 3 [`SECOND_STATION`], 4 [`NOBODY`], who
/// is nowhere, and 5 [`STATION`] too.
fn bench<'a>(lab: &'a overlay_tests::topology::Lab, settings: &[&str]) -> Result<Bench<'a>> {
    let bench = Bench::new(lab, &["--xdp", "off"])?;
    set(&bench, settings)?;
    for (last, mac) in [(1, STATION), (2, REMOTE), (3, SECOND_STATION), (4, NOBODY), (5, STATION)] {
        add(&bench, VNI, v4(last).into(), mac, &[])?;
        add(&bench, VNI, v6(last.into()).into(), mac, &[])?;
    }
    Ok(bench)
}

fn set(bench: &Bench<'_>, settings: &[&str]) -> Result<()> {
    bench.host().overlay(&[&["vni", "set", &VNI.to_string()], settings].concat()).map(drop)
}

fn add(bench: &Bench<'_>, vni: u32, address: IpAddr, mac: Mac, more: &[&str]) -> Result<()> {
    let (vni, address, mac) = (vni.to_string(), address.to_string(), mac.to_string());
    let words = ["neigh", "add", "--vni", &vni, &address, &mac];
    bench.host().overlay(&[&words, more].concat()).map(drop)
}

fn arp_request(wanted: Ipv4Addr) -> Vec<u8> {
    Arp::request((STATION, v4(1)), wanted)
}

fn arp_reply(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let reply = Arp { operation: 2, sender: (mac, address), target: (STATION, v4(1)) };
    Ethernet::new(mac, STATION, ETHER_ARP).frame(&reply.packet())
}

fn solicitation(target: u16) -> Nd {
    Nd::solicitation((STATION, v6(1)), v6(target))
}

fn advertisement(mac: Mac, target: u16, flags: u8) -> Vec<u8> {
    Nd::advertisement((mac, v6(target)), (STATION, v6(1)), flags).frame()
}

/// The frame has to go on its way untouched: the last copy is that of the only remote VTEP.
fn passes(bench: &Bench<'_>, what: &str, frame: &[u8]) -> Result<()> {
    let (outcome, drops) = bench.run(FROM_PORT, frame)?;
    let is_whole = outcome.frame.len() == frame.len() + 50 && outcome.frame.ends_with(frame);
    ensure!(
        outcome.verdict == TC_REDIRECT && is_whole && drops.is_empty(),
        "{what}: verdict {}, {} bytes, {drops:?}",
        outcome.verdict,
        outcome.frame.len()
    );
    Ok(())
}

#[test]
fn requests_for_stations_elsewhere_are_answered_with_right_bytes() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &ON)?;
    let mut padded = arp_request(v4(2));
    padded.resize(60, 0);
    let mut padded_reply = arp_reply(REMOTE, v4(2));
    padded_reply.resize(60, 0);
    let rows = [
        Row::new("ARP, remote", arp_request(v4(2)), Fate::Redirected(arp_reply(REMOTE, v4(2)))),
        Row::new("ARP, padded", padded, Fate::Redirected(padded_reply)),
        Row::new("ARP, other port", arp_request(v4(3)), Fate::Redirected(arp_reply(SECOND_STATION, v4(3)))),
        Row::new("ND, remote", solicitation(2).frame(), Fate::Redirected(advertisement(REMOTE, 2, 0x60))),
        Row::new(
            "ND, other port",
            solicitation(3).frame(),
            Fate::Redirected(advertisement(SECOND_STATION, 3, 0x60)),
        ),
    ];
    bench.table(FROM_PORT, &rows)?;
    for row in &rows {
        if let Fate::Redirected(answer) = &row.fate {
            verify(answer)?;
        }
    }
    ensure!(neigh::requests(bench.host(), VNI)? == (5, 5), "{}", neigh::stats(bench.host(), VNI)?);
    // The traffic class of the question is not that of the answer.
    let marked = solicitation(2).but(|nd| (nd.ip.traffic_class, nd.ip.flow_label) = (0xc0, 77));
    bench.check(FROM_PORT, &marked.frame(), &Fate::Redirected(advertisement(REMOTE, 2, 0x60)))
}

#[test]
fn the_router_flag_is_kept() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &ON)?;
    add(&bench, VNI, v6(9).into(), REMOTE, &["--router"])?;
    bench.check(FROM_PORT, &solicitation(9).frame(), &Fate::Redirected(advertisement(REMOTE, 9, 0xe0)))
}

#[test]
fn probes_announcements_and_questions_to_one_station_pass() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &ON)?;
    let arp = |sender, wanted| Arp::request(sender, wanted);
    passes(&bench, "ARP probe", &arp((STATION, Ipv4Addr::UNSPECIFIED), v4(2)))?;
    passes(&bench, "ARP announcement", &arp((STATION, v4(1)), v4(1)))?;
    passes(&bench, "ARP announcement of another's address", &arp((STATION, v4(2)), v4(2)))?;
    let gratuitous = Arp { operation: 2, sender: (STATION, v4(1)), target: (Mac::BROADCAST, v4(1)) };
    let gratuitous = Ethernet::new(STATION, Mac::BROADCAST, ETHER_ARP).frame(&gratuitous.packet());
    passes(&bench, "gratuitous ARP reply", &gratuitous)?;
    let mut to_one = arp_request(v4(2));
    to_one[..6].copy_from_slice(&REMOTE.0);
    passes(&bench, "ARP to one station", &to_one)?;

    let probe = solicitation(2).but(|nd| {
        nd.ip.source = Ipv6Addr::UNSPECIFIED;
        nd.options.clear();
    });
    passes(&bench, "ND probe", &probe.frame())?;
    // With a nonce, as RFC 7527 has it.
    passes(&bench, "ND probe", &probe.but(|nd| nd.options = vec![14, 1, 1, 2, 3, 4, 5, 6]).frame())?;
    let all = (Mac([0x33, 0x33, 0, 0, 0, 1]), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
    passes(&bench, "unsolicited ND", &Nd::advertisement((STATION, v6(1)), all, 0x20).frame())?;
    let to_one = solicitation(2).but(|nd| {
        nd.ethernet.destination = REMOTE;
        nd.ip.destination = v6(2);
    });
    passes(&bench, "ND to one station", &to_one.frame())?;
    ensure!(neigh::requests(bench.host(), VNI)? == (0, 0), "{}", neigh::stats(bench.host(), VNI)?);
    Ok(())
}

#[test]
fn what_only_the_station_itself_can_answer_passes() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &ON)?;
    for (what, last) in [("nobody's", 77), ("a station's that is nowhere", 4), ("the asker's own", 5)] {
        passes(&bench, what, &arp_request(v4(last)))?;
        passes(&bench, what, &solicitation(last.into()).frame())?;
    }
    bench.add_station(VNI, Mac([2, 0, 0, 0, 1, 7]), ["--port", PORT])?;
    add(&bench, VNI, v4(7).into(), Mac([2, 0, 0, 0, 1, 7]), &[])?;
    passes(&bench, "a station's behind the same port", &arp_request(v4(7)))?;
    // The FDB may have the asker elsewhere.
    passes(&bench, "the asker's own", &Arp::request((SECOND_STATION, v4(8)), v4(3)))?;
    ensure!(neigh::requests(bench.host(), VNI)? == (8, 0), "{}", neigh::stats(bench.host(), VNI)?);
    Ok(())
}

#[test]
fn arp_that_is_not_right_is_not_answered() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &ON)?;
    let request = arp_request(v4(2));
    for (what, at, value) in [
        ("hardware type", 15, 6),
        ("protocol type", 16, 0x86),
        ("hardware length", 18, 8),
        ("protocol length", 19, 16),
        ("operation", 21, 3),
        ("operation", 20, 1),
        ("sender's MAC", 27, 9),
        ("sender's IP", 28, 224),
        ("target's IP", 38, 224),
    ] {
        let mut wrong = request.clone();
        wrong[at] = value;
        passes(&bench, what, &wrong)?;
    }
    passes(&bench, "cut short", &request[..41])?;
    ensure!(neigh::requests(bench.host(), VNI)?.1 == 0, "{}", neigh::stats(bench.host(), VNI)?);
    Ok(())
}

#[test]
fn solicitations_that_are_not_right_are_not_answered() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &ON)?;
    let changes: [(&str, Change); 12] = [
        ("hop limit", |nd| nd.ip.hop_limit = 254),
        ("code", |nd| nd.code = 1),
        ("checksum", |nd| nd.checksum = Some(0x1234)),
        ("no option", |nd| nd.options.clear()),
        ("an option of no length", |nd| nd.options[1] = 0),
        ("an option too long", |nd| nd.options[1] = 2),
        ("another option", |nd| nd.options[0] = 2),
        ("another's link-layer address", |nd| nd.options[7] ^= 1),
        ("one more option", |nd| nd.options.extend([14, 1, 0, 0, 0, 0, 0, 0])),
        ("a payload too long", |nd| nd.ip.payload_length = Some(40)),
        ("a group's address", |nd| nd.ip.source = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5)),
        ("to all nodes", |nd| nd.ip.destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)),
    ];
    for (what, change) in changes {
        passes(&bench, what, &solicitation(2).but(change).frame())?;
    }
    let short = solicitation(2).frame();
    passes(&bench, "cut short", &short[..short.len() - 1])?;
    passes(&bench, "the header alone", &short[..54])?;
    ensure!(neigh::requests(bench.host(), VNI)?.1 == 0, "{}", neigh::stats(bench.host(), VNI)?);
    Ok(())
}

#[test]
fn unknown_targets_can_be_dropped() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &[&ON[..], &["--suppress-unknown", "drop"]].concat())?;
    let dropped = Fate::Dropped(DropReason::NeighbourUnknown);
    bench.check(FROM_PORT, &arp_request(v4(77)), &dropped)?;
    bench.check(FROM_PORT, &solicitation(77).frame(), &dropped)?;
    bench.check(FROM_PORT, &arp_request(v4(2)), &Fate::Redirected(arp_reply(REMOTE, v4(2))))?;
    passes(&bench, "known, but nowhere", &arp_request(v4(4)))?;
    passes(&bench, "a probe", &Arp::request((STATION, Ipv4Addr::UNSPECIFIED), v4(77)))?;
    passes(&bench, "an announcement", &Arp::request((STATION, v4(77)), v4(77)))?;
    set(&bench, &["--suppress-unknown", "flood"])?;
    passes(&bench, "flooded again", &arp_request(v4(77)))
}

#[test]
fn nothing_is_answered_where_it_is_off_or_in_another_segment() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &["--learning", "off"])?;
    passes(&bench, "off", &arp_request(v4(2)))?;
    passes(&bench, "off", &solicitation(2).frame())?;
    set(&bench, &ON)?;
    bench.check(FROM_PORT, &arp_request(v4(2)), &Fate::Redirected(arp_reply(REMOTE, v4(2))))?;
    bench.host().overlay(&["vni", "set", &OTHER_VNI.to_string(), "--suppress", "on"])?;
    let (outcome, _) = bench.run(Hook::Port(OTHER_PORT), &arp_request(v4(2)))?;
    ensure!(outcome.frame != arp_reply(REMOTE, v4(2)), "answered by another segment's neighbour");
    set(&bench, &["--suppress", "off"])?;
    passes(&bench, "off again", &arp_request(v4(2)))
}

#[test]
fn other_traffic_is_not_touched() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &ON)?;
    let to_port = udp_frame(STATION, SECOND_STATION, 100);
    bench.check(FROM_PORT, &to_port, &Fate::Redirected(to_port.clone()))?;
    let echo = solicitation(2).but(|nd| nd.kind = 128);
    passes(&bench, "echo", &echo.frame())?;
    let reply = Arp { operation: 2, sender: (STATION, v4(1)), target: (SECOND_STATION, v4(3)) };
    let reply = Ethernet::new(STATION, SECOND_STATION, ETHER_ARP).frame(&reply.packet());
    bench.check(FROM_PORT, &reply, &Fate::Redirected(reply.clone()))?;
    bench.check(Hook::Port(SECOND_PORT), &to_port, &Fate::Dropped(DropReason::SamePort))
}
