//! `overlay explain`: what it says is what the attached programs then do, and it changes nothing.

use anyhow::{Context as _, Result, ensure};
use insta::assert_snapshot;
use overlay_common::DropReason;
use overlay_tests::{
    bench::{
        Bench, Hook, NOBODY, OTHER_PORT, OTHER_VNI, PORT, REMOTE, SECOND_PORT, SECOND_STATION, STATION, VNI,
        lab, lab_over, udp_frame,
    },
    explain::{case, check, check_all, explained, question},
    frame::{Arp, ETHER_EXPERIMENT, ETHER_IPV4, Ethernet, Ipv4, Ipv6, Mac, Nd},
    neigh::{v4, v6},
    wire::{Direction, Wire},
};
use serde_json::Value;

const FROM_PORT: Hook<'_> = Hook::Port(PORT);
const UPLINK: Hook<'_> = Hook::Uplink("u1");

#[test]
fn frames_of_workloads_meet_what_was_said() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let tagged = Ethernet { tag: Some(7), ..Ethernet::new(STATION, REMOTE, ETHER_IPV4) }.frame(&[6; 60]);
    let of_nobody = Ethernet::new(STATION, REMOTE, ETHER_EXPERIMENT).frame(&[1; 1451]);
    let reserved = Mac([1, 0x80, 0xc2, 0, 0, 2]);
    check_all(
        &bench,
        &[
            case("to a remote station", FROM_PORT, udp_frame(STATION, REMOTE, 98), "redirected"),
            case("from a new station", FROM_PORT, udp_frame(NOBODY, REMOTE, 98), "redirected"),
            case("that is known by now", FROM_PORT, udp_frame(NOBODY, REMOTE, 98), "redirected"),
            case(
                "to the new station",
                Hook::Port(SECOND_PORT),
                udp_frame(SECOND_STATION, NOBODY, 98),
                "redirected",
            ),
            case(
                "from a static station elsewhere",
                FROM_PORT,
                udp_frame(SECOND_STATION, REMOTE, 98),
                "redirected",
            ),
            case("to another port", FROM_PORT, udp_frame(STATION, SECOND_STATION, 98), "redirected"),
            case("to a stranger", FROM_PORT, udp_frame(STATION, Mac([2, 0, 0, 0, 7, 7]), 98), "redirected"),
            case("to everyone", FROM_PORT, udp_frame(STATION, Mac::BROADCAST, 98), "redirected"),
            case("to the same port", FROM_PORT, udp_frame(SECOND_STATION, STATION, 98), "same-port"),
            case("from a group", FROM_PORT, udp_frame(Mac::BROADCAST, REMOTE, 98), "bad-source-mac"),
            case("to a link's group", FROM_PORT, udp_frame(STATION, reserved, 98), "reserved-mac"),
            case("with a tag", FROM_PORT, tagged, "inner-vlan"),
            case("too big, with nobody to tell", FROM_PORT, of_nobody, "too-big"),
            case("too big", FROM_PORT, udp_frame(STATION, REMOTE, 1600), "answered"),
            case(
                "to a next hop that is not resolved",
                Hook::Port(OTHER_PORT),
                udp_frame(STATION, REMOTE, 98),
                "redirected",
            ),
        ],
    )?;
    bench.set(&["--flood", "off", "--vlan", "keep"])?;
    let kept = Ethernet { tag: Some(7), ..Ethernet::new(STATION, REMOTE, ETHER_IPV4) }.frame(&[6; 60]);
    check_all(
        &bench,
        &[
            case(
                "a stranger, and no flooding",
                FROM_PORT,
                udp_frame(STATION, Mac([2, 0, 0, 0, 7, 7]), 98),
                "unknown-unicast",
            ),
            case("a tag that is kept", FROM_PORT, kept, "redirected"),
        ],
    )
}

#[test]
fn frames_on_a_trunk_port_meet_what_was_said() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.host().overlay(&["port", "del", SECOND_PORT])?;
    bench.host().overlay(&["port", "add", SECOND_PORT, "--vlan", &format!("10:{VNI},20:{OTHER_VNI}")])?;
    let tagged = |vlan, to| {
        Ethernet { tag: Some(vlan), ..Ethernet::new(SECOND_STATION, to, ETHER_IPV4) }.frame(&[6; 60])
    };
    let trunk = Hook::Port(SECOND_PORT);
    check_all(
        &bench,
        &[
            case("one VLAN", trunk, tagged(10, REMOTE), "redirected"),
            case("another", trunk, tagged(20, STATION), "redirected"),
            case("one that is no segment", trunk, tagged(30, REMOTE), "unmapped-vlan"),
            case("none", trunk, udp_frame(SECOND_STATION, REMOTE, 98), "untagged-frame"),
            case("back to the trunk", FROM_PORT, udp_frame(STATION, SECOND_STATION, 98), "redirected"),
            case("to everyone", FROM_PORT, udp_frame(STATION, Mac::BROADCAST, 98), "redirected"),
        ],
    )
}

#[test]
fn questions_for_neighbours_meet_what_was_said() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.set(&["--suppress", "on", "--suppress-unknown", "drop"])?;
    for address in [v4(2).to_string(), v6(2).to_string()] {
        bench.host().overlay(&["neigh", "add", "--vni", &VNI.to_string(), &address, &REMOTE.to_string()])?;
    }
    let solicitation = Nd::solicitation((STATION, v6(1)), v6(2)).frame();
    check_all(
        &bench,
        &[
            case("ARP", FROM_PORT, Arp::request((STATION, v4(1)), v4(2)), "redirected"),
            case("ND", FROM_PORT, solicitation, "redirected"),
            case("ARP for a stranger", FROM_PORT, Arp::request((STATION, v4(1)), v4(9)), "neighbour-unknown"),
        ],
    )?;
    let said = explained(&bench, FROM_PORT, &Arp::request((NOBODY, v4(7)), v4(2)))?;
    ensure!(said["to"]["device"] == PORT, "the answer goes elsewhere: {said:#}");
    let shown = bench.host().overlay_json(&["neigh", "show"])?;
    ensure!(!shown.to_string().contains(&v4(7).to_string()), "who asked was learned: {shown}");
    Ok(())
}

#[test]
fn packets_from_the_underlay_meet_what_was_said() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 98);
    let packet = |change: fn(&mut overlay_tests::frame::Outer<Ipv4>)| bench.packet(&inner, change);
    let mut cut = packet(|_| {})?;
    cut.truncate(100);
    check_all(
        &bench,
        &[
            case("to a station", UPLINK, packet(|_| {})?, "redirected"),
            case(
                "from a new station",
                UPLINK,
                bench.packet(&udp_frame(NOBODY, STATION, 98), |_| {})?,
                "redirected",
            ),
            case(
                "to everyone",
                UPLINK,
                bench.packet(&udp_frame(REMOTE, Mac::BROADCAST, 98), |_| {})?,
                "copied",
            ),
            case(
                "to a station behind a tunnel",
                UPLINK,
                bench.packet(&udp_frame(NOBODY, REMOTE, 98), |_| {})?,
                "tunnel-to-tunnel",
            ),
            case("of no segment", UPLINK, packet(|outer| outer.vxlan.vni = 77)?, "unknown-vni"),
            case("without a segment", UPLINK, packet(|outer| outer.vxlan.flags = 0)?, "no-vni-flag"),
            case(
                "from a stranger",
                UPLINK,
                packet(|outer| outer.ip.source = [10, 0, 0, 9].into())?,
                "not-a-member",
            ),
            case("cut off", UPLINK, cut, "outer-truncated"),
            case("to another port", UPLINK, packet(|outer| outer.udp.destination = 53)?, "passed"),
            case(
                "from a group",
                UPLINK,
                bench.packet(&udp_frame(Mac::BROADCAST, STATION, 98), |_| {})?,
                "bad-source-mac",
            ),
        ],
    )
}

#[test]
fn over_ipv6_too() -> Result<()> {
    let lab = lab_over::<Ipv6>()?;
    let bench = Bench::<Ipv6>::over(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(REMOTE, STATION, 98);
    check_all(
        &bench,
        &[
            case("to a remote station", FROM_PORT, udp_frame(STATION, REMOTE, 98), "redirected"),
            case("to everyone", FROM_PORT, udp_frame(STATION, Mac::BROADCAST, 98), "redirected"),
            case("too big", FROM_PORT, udp_frame(STATION, REMOTE, 1600), "answered"),
            case(
                "to a next hop that is not resolved",
                Hook::Port(OTHER_PORT),
                udp_frame(STATION, REMOTE, 98),
                "redirected",
            ),
            case("from the underlay", UPLINK, bench.packet(&inner, |_| {})?, "redirected"),
            case("of no segment", UPLINK, bench.packet(&inner, |outer| outer.vxlan.vni = 77)?, "unknown-vni"),
        ],
    )
}

#[test]
fn copies_are_said_and_not_sent() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    // Nobody has that address: the frame itself goes there, once the kernel has found out.
    let other = "10.0.0.9";
    bench.add_tunnel(VNI, other)?;
    // Which there are: what becomes of those that the kernel is asked to resolve is its own.
    let neighbours = || -> Result<Vec<String>> {
        let shown = bench.host().netns.run(&["ip", "neigh", "show"])?;
        let mut all: Vec<_> =
            shown.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        all.sort();
        Ok(all)
    };
    let before = neighbours()?;
    let frame = udp_frame(STATION, Mac::BROADCAST, 98);
    let (port, uplink) = (bench.station(SECOND_PORT)?, Wire::open(&lab.host(2).netns, "u2", Direction::In)?);
    let said = explained(&bench, FROM_PORT, &frame)?;
    let copies = said["copies"].as_array().context("no copies")?;
    let remotes: Vec<_> =
        copies.iter().map(|copy| (copy["device"].as_str(), copy["remote"].as_str())).collect();
    ensure!(remotes == [(Some(SECOND_PORT), None), (Some("u1"), Some("10.0.0.2"))], "{said:#}");
    ensure!(
        said["to"]["device"] == "u1" && said["packet"]["headers"][1]["fields"]["destination"] == other,
        "{said:#}"
    );
    ensure!(said["to"]["how"] == "neighbour", "{said:#}");
    ensure!(neighbours()? == before, "the host knows other neighbours");
    // What the attached program sends is the first that comes.
    let marker = udp_frame(STATION, Mac::BROADCAST, 99);
    bench.run(FROM_PORT, &marker)?;
    let first = port.expect("a copy", |received| received.bytes == frame || received.bytes == marker)?;
    ensure!(first.bytes == marker, "what was only explained was sent to a port");
    let first = uplink.expect("a tunnel packet", |frame| frame.bytes.len() > 140)?;
    ensure!(first.bytes.ends_with(&marker), "what was only explained was sent into a tunnel");
    Ok(())
}

#[test]
fn what_is_learned_or_admitted_is_said_and_not_done() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let step = |said: &Value, name: &str| -> Result<Value> {
        let steps = said["steps"].as_array().context("no steps")?;
        steps
            .iter()
            .find(|step| step["step"] == name)
            .cloned()
            .with_context(|| format!("no {name}: {said:#}"))
    };
    let said = explained(&bench, FROM_PORT, &udp_frame(NOBODY, REMOTE, 98))?;
    ensure!(step(&said, "learning")?["outcome"] == "would be learned", "{said:#}");
    bench.run(FROM_PORT, &udp_frame(NOBODY, REMOTE, 98))?;
    let moved = udp_frame(NOBODY, REMOTE, 98);
    let said = explained(&bench, Hook::Port(SECOND_PORT), &moved)?;
    ensure!(step(&said, "learning")?["outcome"] == "would move here", "{said:#}");
    bench.host().overlay(&["vni", "set", &VNI.to_string(), "--learn-limit", "1"])?;
    let said = explained(&bench, FROM_PORT, &udp_frame(Mac([2, 0, 0, 0, 9, 8]), REMOTE, 98))?;
    ensure!(step(&said, "learning")?["because"] == "the segment or the port is at its limit", "{said:#}");
    bench.host().overlay(&[
        "tunnel",
        "add",
        "--vni",
        &VNI.to_string(),
        "--remote",
        "239.1.1.1",
        "--dev",
        "u1",
    ])?;
    let from_stranger =
        bench.packet(&udp_frame(REMOTE, STATION, 98), |outer| outer.ip.source = [10, 0, 0, 77].into())?;
    let case = case("a VTEP that comes by itself", UPLINK, from_stranger.clone(), "redirected");
    let said = explained(&bench, UPLINK, &from_stranger)?;
    ensure!(step(&said, "admit")?["source"] == "10.0.0.77", "{said:#}");
    check(&bench, &case)
}

#[test]
fn a_full_fdb_is_said() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off", "--fdb-size", "6"])?;
    bench.run(FROM_PORT, &udp_frame(NOBODY, REMOTE, 98))?;
    let said = explained(&bench, FROM_PORT, &udp_frame(Mac([2, 0, 0, 0, 9, 8]), REMOTE, 98))?;
    ensure!(said.to_string().contains("the FDB is full"), "{said:#}");
    Ok(())
}

#[test]
fn every_reason_has_advice() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let said = explained(&bench, FROM_PORT, &udp_frame(STATION, STATION, 98))?;
    ensure!(said["reason"]["name"] == DropReason::SamePort.name(), "{said:#}");
    let advice = said["reason"]["advice"].as_str().context("no advice")?;
    ensure!(!advice.is_empty() && !advice.contains('\n'), "{advice:?}");
    Ok(())
}

#[test]
fn it_reads_like_this() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.set(&["--source-ports", "50000-50000"])?;
    let frame = udp_frame(STATION, REMOTE, 60);
    assert_snapshot!("unicast", question(&bench, FROM_PORT, &frame, &[])?);
    assert_snapshot!("unicast_as_json", question(&bench, FROM_PORT, &frame, &["-o", "json"])?);
    assert_snapshot!("flooded", question(&bench, FROM_PORT, &udp_frame(STATION, Mac::BROADCAST, 60), &[])?);
    assert_snapshot!("too_big", question(&bench, FROM_PORT, &udp_frame(STATION, REMOTE, 1600), &[])?);
    let stranger =
        bench.packet(&udp_frame(REMOTE, STATION, 60), |outer| outer.ip.source = [10, 0, 0, 9].into())?;
    assert_snapshot!("stranger", question(&bench, UPLINK, &stranger, &[])?);
    let received = bench.packet(&udp_frame(REMOTE, STATION, 60), |_| {})?;
    assert_snapshot!("received", question(&bench, UPLINK, &received, &[])?);
    Ok(())
}
