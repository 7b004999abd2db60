//! `overlay explain` of packets in transit: what it says is what the attached programs then do.

use anyhow::{Context as _, Result, ensure};
use insta::assert_snapshot;
use overlay_common::Family;
use overlay_tests::{
    bench::{Bench, Hook, NOBODY, REMOTE, SECOND_STATION, lab_over, udp_frame},
    explain::{case, check_all, explained, question},
    frame::{ETHER_IPV4, Ethernet, IP_TCP, Ipv4, Ipv6, Network as _, Tcp},
    over_both_families,
    transit::{BEYOND, Fields, relay, second},
};
use serde_json::Value;

over_both_families! {
    packets_in_transit_meet_what_was_said,
    what_comes_out_of_its_tunnel_first_meets_what_was_said,
    to_the_other_family_too,
}

const UPLINK: Hook<'_> = Hook::Uplink("u1");

/// The first step of a kind.
fn step(said: &Value, name: &str) -> Result<Value> {
    let steps = said["steps"].as_array().context("no steps")?;
    let found = steps.iter().find(|step| step["step"] == name);
    found.cloned().with_context(|| format!("no {name}: {said:#}"))
}

fn packets_in_transit_meet_what_was_said<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "off", N::FAMILY)?;
    let inner = udp_frame(REMOTE, BEYOND, 98);
    let with = |ttl, tos| bench.packet(&inner, |outer| outer.ip.set(ttl, tos));
    let back = bench.packet(&udp_frame(SECOND_STATION, REMOTE, 98), |_| {})?;
    let learned = bench.packet(&udp_frame(NOBODY, BEYOND, 98), |_| {})?;
    check_all(
        &bench,
        &[
            case("to another VTEP", UPLINK, with(64, 0)?, "redirected"),
            case("from a new station", UPLINK, learned, "redirected"),
            case("with another DSCP", UPLINK, with(64, 0xb8)?, "redirected"),
            case("one hop left", UPLINK, with(2, 0)?, "redirected"),
            case("no hop left", UPLINK, with(1, 0)?, "ttl-expired"),
            case("back to where it came from", UPLINK, back, "same-vtep"),
        ],
    )?;
    let said = explained(&bench, UPLINK, &with(9, 0)?)?;
    let (from, to) = (lab.host(2).vtep.to_string(), second(N::FAMILY).to_string());
    let transit = step(&said, "transit")?;
    ensure!(transit["from"] == from && transit["to"] == to, "{said:#}");
    let journey = step(&said, "journey")?;
    ensure!(
        journey["ttl"] == 9 && journey["leaves_with"] == 8 && journey["source_port"] == 0xc001,
        "{said:#}"
    );
    ensure!(said["to"]["device"] == "u1" && step(&said, "anew").is_err(), "{said:#}");
    let outer = &said["packet"]["headers"][1]["fields"];
    ensure!(outer["destination"] == to && (outer["ttl"] == "8" || outer["hop limit"] == "8"), "{said:#}");
    bench.set(&["--transit", "off"])?;
    check_all(&bench, &[case("where that is off", UPLINK, with(64, 0)?, "tunnel-to-tunnel")])
}

fn what_comes_out_of_its_tunnel_first_meets_what_was_said<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let bench = relay::<N>(&lab, "off", N::FAMILY)?;
    let mut trailing = bench.packet(&udp_frame(REMOTE, BEYOND, 98), |_| {})?;
    trailing.extend([0; 7]);
    let tcp = |tos, flags: u16| {
        let ip = Ipv4 { tos, ..Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_TCP) };
        let mut tcp = Tcp::new(1, 2);
        tcp.offset_flags = 0x5000 | flags;
        Ethernet::new(REMOTE, BEYOND, ETHER_IPV4).frame(&ip.packet(&tcp.segment(ip.addresses(), b"data")))
    };
    let congested = bench.packet(&tcp(0b10, 0x10), |outer| outer.ip.set(64, 0b11))?;
    let refused = bench.packet(&tcp(0, 0x10), |outer| outer.ip.set(64, 0b11))?;
    let long = bench.packet(&udp_frame(REMOTE, BEYOND, 1465), |_| {})?;
    let cases = [
        (case("bytes behind it", UPLINK, trailing, "redirected"), "its outer headers cannot"),
        (case("congestion", UPLINK, congested, "redirected"), "it met congestion"),
        (case("too big", UPLINK, long, "answered"), "it does not fit"),
    ];
    for (case, because) in &cases {
        let said = explained(&bench, UPLINK, &case.frame)?;
        let why = step(&said, "anew")?["because"].to_string();
        ensure!(why.contains(because), "{}: {said:#}", case.what);
    }
    check_all(&bench, &cases.map(|(case, _)| case))?;
    check_all(&bench, &[case("congestion that nobody would hear of", UPLINK, refused, "ecn")])?;
    bench.set(&["--clamp-mss", "on"])?;
    let handshake = bench.packet(&tcp(0, 0x02), |_| {})?;
    let said = explained(&bench, UPLINK, &handshake)?;
    ensure!(
        step(&said, "anew")?["because"] == "the segment has such frames looked at more closely",
        "{said:#}"
    );
    check_all(&bench, &[case("a handshake", UPLINK, handshake, "redirected")])
}

fn to_the_other_family_too<N: Fields>() -> Result<()> {
    let lab = lab_over::<N>()?;
    let other = if N::FAMILY == Family::Ipv4 { Family::Ipv6 } else { Family::Ipv4 };
    let bench = relay::<N>(&lab, "off", other)?;
    let packet = bench.packet(&udp_frame(REMOTE, BEYOND, 98), |outer| outer.ip.set(7, 0))?;
    let said = explained(&bench, UPLINK, &packet)?;
    let anew = step(&said, "anew")?;
    ensure!(anew["because"] == "the other VTEP has an address of the other family", "{said:#}");
    check_all(&bench, &[case("the other family", UPLINK, packet, "redirected")])
}

#[test]
fn it_reads_like_this() -> Result<()> {
    let lab = lab_over::<Ipv4>()?;
    let bench: Bench<'_, Ipv4> = relay(&lab, "off", Family::Ipv4)?;
    let packet = bench.packet(&udp_frame(REMOTE, BEYOND, 60), |_| {})?;
    assert_snapshot!("transit", question(&bench, UPLINK, &packet, &[])?);
    assert_snapshot!("transit_as_json", question(&bench, UPLINK, &packet, &["-o", "json"])?);
    let spent = bench.packet(&udp_frame(REMOTE, BEYOND, 60), |outer| outer.ip.set(1, 0))?;
    assert_snapshot!("transit_spent", question(&bench, UPLINK, &spent, &[])?);
    let lab = lab_over::<Ipv6>()?;
    let bench: Bench<'_, Ipv6> = relay(&lab, "off", Family::Ipv4)?;
    let packet = bench.packet(&udp_frame(REMOTE, BEYOND, 60), |_| {})?;
    assert_snapshot!("transit_anew", question(&bench, UPLINK, &packet, &[])?);
    Ok(())
}
