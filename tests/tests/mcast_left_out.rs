//! With `--mcast-snooping on`, nobody is left out who could not say that he listens.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result, ensure};
use overlay_common::{DropReason, Family};
use overlay_tests::{
    bench::{
        Bench, Hook, OTHER_PORT, OTHER_VNI, PORT, REMOTE, SECOND_PORT, SECOND_STATION, STATION, VNI, lab,
    },
    frame::{ETHER_EXPERIMENT, ETHER_IPV4, Ethernet, IP_UDP, Ipv4, Mac, Network as _, Udp},
    group::{group, igmp, mld},
    process::wait_until,
    testrun::{TC_REDIRECT, tc_in_turn},
    topology::Lab,
    wire::{Direction, Wire},
};

const ALL: (Mac, Ipv4Addr) = (Mac([1, 0, 0x5e, 0, 0, 1]), Ipv4Addr::new(224, 0, 0, 1));
/// That of [`group`].
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 7, 7, 7);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const ALL_IPV6: (Mac, Ipv6Addr) = (Mac([0x33, 0x33, 0, 0, 0, 1]), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));

/// A query of IGMP.
const QUERY: [u8; 8] = [0x11, 0, 0, 0, 0, 0, 0, 0];
/// The same of version 3, in which 0 does not stand for ten seconds.
const QUERY_3: [u8; 12] = [0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn bench_with_snooping(lab: &Lab) -> Result<Bench<'_>> {
    let bench = Bench::new(lab, &["--xdp", "off"])?;
    bench.set(&["--mcast-snooping", "on"])?;
    Ok(bench)
}

fn has(bench: &Bench<'_>, kind: &str) -> Result<bool> {
    let mdb = bench.host().overlay_json(&["mdb", "show"])?;
    Ok(mdb.as_array().context("no array")?.iter().any(|row| row["kind"] == kind))
}

/// The same query in another IPv4 header.
fn in_header(change: impl FnOnce(&mut Ipv4)) -> Vec<u8> {
    let right = igmp(STATION, OWN, ALL, QUERY.to_vec());
    let mut ip = Ipv4::new(OWN, ALL.1, 2);
    (ip.ttl, ip.options) = (1, vec![0x94, 4, 0, 0]);
    change(&mut ip);
    Ethernet::new(STATION, ALL.0, ETHER_IPV4).frame(&ip.packet(&right[14 + 24..]))
}

#[test]
fn a_query_that_not_everybody_hears_counts_for_nothing() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with_snooping(&lab)?;
    let (group, mac) = (Ipv4Addr::new(239, 9, 9, 9), Mac([1, 0, 0x5e, 9, 9, 9]));
    let message = [&[130, 0, 0, 0, 0, 0, 0, 0][..], &[0; 16]].concat();
    let mld = |source: &str, to: (Mac, Ipv6Addr)| -> Result<Vec<u8>> {
        Ok(mld(STATION, source.parse()?, to, message.clone()))
    };
    let right_mld = mld("fe80::1", ALL_IPV6)?;
    let without_alert = [&right_mld[..14 + 40 + 2], &[1, 4, 0, 0, 0, 0], &right_mld[14 + 40 + 8..]].concat();
    for (what, frame) in [
        ("to another group", igmp(STATION, OWN, (mac, group), QUERY.to_vec())),
        ("to another MAC address", igmp(STATION, OWN, (mac, ALL.1), QUERY.to_vec())),
        ("to another IP address", igmp(STATION, OWN, (ALL.0, group), QUERY.to_vec())),
        ("from a group", igmp(STATION, group, ALL, QUERY.to_vec())),
        ("with a wrong header checksum", in_header(|ip| ip.checksum = Some(1))),
        ("from far away", in_header(|ip| ip.ttl = 64)),
        ("that routers need not look at", in_header(|ip| ip.options = vec![1, 1, 1, 0])),
        ("MLD, to another group", mld("fe80::1", (Mac([0x33, 0x33, 0, 0, 0, 2]), "ff02::2".parse()?))?),
        ("MLD, to another MAC address", mld("fe80::1", (Mac([0x33, 0x33, 0, 0, 0, 2]), ALL_IPV6.1))?),
        ("MLD, not from the link", mld("fd00::1", ALL_IPV6)?),
        ("MLD, from nobody", mld("::", ALL_IPV6)?),
        ("MLD, that routers need not look at", without_alert),
    ] {
        let drops = bench.run(Hook::Port(PORT), &frame)?.1;
        ensure!(drops.is_empty(), "{what}: {drops:?}");
        ensure!(!has(&bench, "querier")?, "{what}");
        ensure!(!has(&bench, "router")?, "{what}");
    }
    for right in [in_header(|_| ()), right_mld] {
        bench.run(Hook::Port(PORT), &right)?;
        ensure!(has(&bench, "querier")? && has(&bench, "router")?);
        bench.set(&["--mcast-snooping", "off"])?;
        bench.set(&["--mcast-snooping", "on"])?;
    }
    Ok(())
}

#[test]
fn a_query_beyond_what_a_port_may_have_flooded_counts_for_nothing() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with_snooping(&lab)?;
    bench.host().overlay(&["port", "set", PORT, "--bum-rate", "1"])?;
    let other = Ethernet::new(STATION, Mac::BROADCAST, ETHER_EXPERIMENT).frame(&[1; 50]);
    for _ in 0..16 {
        ensure!(bench.run(Hook::Port(PORT), &other)?.1.is_empty());
    }
    let query = igmp(STATION, OWN, ALL, QUERY.to_vec());
    let drops = bench.run(Hook::Port(PORT), &query)?.1;
    ensure!(drops == [(DropReason::BumRate, 1)], "{drops:?}");
    ensure!(!has(&bench, "querier")?);
    // What passes costs no more than anything else.
    bench.host().overlay(&["port", "set", SECOND_PORT, "--bum-rate", "1"])?;
    let query = igmp(SECOND_STATION, OWN, ALL, QUERY.to_vec());
    for _ in 0..16 {
        ensure!(bench.run(Hook::Port(SECOND_PORT), &query)?.1.is_empty());
    }
    ensure!(has(&bench, "querier")?);
    Ok(())
}

/// A datagram to the group.
fn datagram_from(from: Mac) -> Vec<u8> {
    let ip = Ipv4::new(OWN, GROUP, IP_UDP);
    let bytes = Udp::new(5999, 5999).datagram(ip.addresses(), &[1; 64]);
    Ethernet::new(from, group(Family::Ipv4).1, ETHER_IPV4).frame(&ip.packet(&bytes))
}

fn join(from: Mac) -> Vec<u8> {
    igmp(from, OWN, (group(Family::Ipv4).1, GROUP), [&[0x16, 0, 0, 0], &GROUP.octets()[..]].concat())
}

/// Whether those behind the tunnel get what is sent to the group.
fn is_served(bench: &Bench<'_>) -> Result<bool> {
    let (outcome, drops) = bench.run(Hook::Port(PORT), &datagram_from(STATION))?;
    ensure!(drops.is_empty(), "{drops:?}");
    Ok(outcome.verdict == TC_REDIRECT)
}

/// Waits as long as those have who do not answer.
fn wait_for_answers() {
    sleep(Duration::from_millis(2100));
}

#[test]
fn who_listens_beside_one_that_leaves_goes_on_getting_the_group() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with_snooping(&lab)?;
    // A kernel bridge asks without an address.
    let query = igmp(SECOND_STATION, Ipv4Addr::UNSPECIFIED, ALL, QUERY_3.to_vec());
    bench.run(Hook::Port(SECOND_PORT), &query)?;
    let (one, other) = (REMOTE, Mac([2, 0, 0, 0, 2, 7]));
    for from in [one, other] {
        bench.run(Hook::Uplink("u1"), &bench.packet(&join(from), |_| ())?)?;
    }
    ensure!(is_served(&bench)?);
    let routers = (Mac([1, 0, 0x5e, 0, 0, 2]), [224, 0, 0, 2].into());
    let leave = igmp(one, OWN, routers, [&[0x17, 0, 0, 0], &GROUP.octets()[..]].concat());
    let querier = bench.station(SECOND_PORT)?;
    let leave_packet = bench.packet(&leave, |_| ())?;
    bench.run(Hook::Uplink("u1"), &leave_packet)?;
    ensure!(querier.collect(|frame| frame.bytes == leave)?.len() == 1, "the querier hears of it");
    let ask = |message: &[u8], to: (Mac, Ipv4Addr)| -> Result<()> {
        let message = [&[0x11, 10, 0, 0], &GROUP.octets()[..], message].concat();
        bench.run(Hook::Port(SECOND_PORT), &igmp(SECOND_STATION, OWN, to, message)).map(drop)
    };
    let to = (group(Family::Ipv4).1, GROUP);
    ask(&[2, 0, 0, 0], to)?;
    bench.run(Hook::Uplink("u1"), &bench.packet(&join(other), |_| ())?)?;
    bench.run(Hook::Uplink("u1"), &leave_packet)?;
    // Queries that not all who listen hear, that are not for all of them, and that are not to cut them short.
    ask(&[], (to.0, Ipv4Addr::new(239, 9, 9, 9)))?;
    ask(&[], (SECOND_STATION, GROUP))?;
    ask(&[0, 0, 0, 1, 10, 1, 0, 9], to)?;
    ask(&[0, 0, 0, 1], to)?;
    ask(&[8, 0, 0, 0], to)?;
    wait_for_answers();
    ensure!(is_served(&bench)?, "the other one has answered");
    ask(&[2, 0, 0, 0], to)?;
    wait_for_answers();
    ensure!(!is_served(&bench)?, "nobody has answered");
    Ok(())
}

/// A querier behind the tunnel, and somebody who listens behind [`PORT`].
fn ask_and_join(bench: &Bench<'_>) -> Result<()> {
    let query = igmp(REMOTE, OWN, ALL, QUERY_3.to_vec());
    bench.run(Hook::Uplink("u1"), &bench.packet(&query, |_| ())?)?;
    bench.run(Hook::Port(PORT), &join(STATION)).map(drop)
}

/// Whether a copy of what comes out of the tunnel for the group goes to each of two ports.
fn has_copy(bench: &Bench<'_>, ports: [&str; 2]) -> Result<[bool; 2]> {
    let (one, two) = (bench.station(ports[0])?, bench.station(ports[1])?);
    let data = datagram_from(REMOTE);
    bench.run(Hook::Uplink("u1"), &bench.packet(&data, |_| ())?)?;
    let has_copy = |wire: &Wire| Ok::<_, Error>(wire.collect(|frame| frame.bytes == data)?.len() == 1);
    Ok([has_copy(&one)?, has_copy(&two)?])
}

#[test]
fn who_joined_while_snooping_was_off_gets_the_group_when_it_is_on_again() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with_snooping(&lab)?;
    bench.host().overlay(&["mdb", "add", "--vni", &VNI.to_string(), "239.8.8.8", "--port", PORT])?;
    ask_and_join(&bench)?;
    ensure!(has_copy(&bench, [PORT, SECOND_PORT])? == [true, false]);
    bench.set(&["--mcast-snooping", "off"])?;
    bench.run(Hook::Port(SECOND_PORT), &join(SECOND_STATION))?;
    bench.set(&["--mcast-snooping", "on"])?;
    ensure!(has_copy(&bench, [PORT, SECOND_PORT])? == [true, true]);
    let mdb = bench.host().overlay_json(&["mdb", "show"])?;
    let rows = mdb.as_array().context("no array")?;
    ensure!(rows.iter().all(|row| row["origin"] == "static") && !rows.is_empty(), "{mdb}");
    Ok(())
}

#[test]
fn who_joined_before_he_was_in_the_segment_gets_the_group() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with_snooping(&lab)?;
    ask_and_join(&bench)?;
    bench.add_port("p3", VNI)?;
    ensure!(has_copy(&bench, [PORT, "p3"])? == [true, true], "behind a new port");
    // He does not answer.
    ask_and_join(&bench)?;
    ensure!(has_copy(&bench, [PORT, "p3"])? == [true, false]);
    bench.host().overlay(&["port", "del", "p3"])?;
    let vlan = format!("10:{VNI}");
    bench.host().overlay(&["port", "add", "p3", "--vlan", "20:20"])?;
    bench.host().overlay(&["port", "vlan", "add", "p3", &vlan])?;
    ensure!(has(&bench, "router")? && !has(&bench, "querier")?, "behind a new VLAN");
    ask_and_join(&bench)?;
    ensure!(has(&bench, "querier")?);
    bench.add_tunnel(VNI, "10.0.0.9")?;
    ensure!(has(&bench, "router")? && !has(&bench, "querier")?, "behind a new tunnel");
    Ok(())
}

/// A report of `IGMPv3` of so many groups, and those after them.
fn report(from: Mac, groups: Range<u32>, last: &[Ipv4Addr]) -> Result<Vec<u8>> {
    let groups: Vec<Ipv4Addr> =
        groups.map(|group| Ipv4Addr::from(0xe800_0000 + group)).chain(last.to_vec()).collect();
    let mut message = vec![0x22, 0, 0, 0, 0, 0];
    message.extend(u16::try_from(groups.len())?.to_be_bytes());
    for group in groups {
        message.extend([4, 0, 0, 0]);
        message.extend(group.octets());
    }
    Ok(igmp(from, OWN, (Mac([1, 0, 0x5e, 0, 0, 22]), [224, 0, 0, 22].into()), message))
}

#[test]
fn a_router_that_there_is_no_room_to_note_gets_all_multicast() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with_snooping(&lab)?;
    bench.host().overlay(&["vni", "set", &OTHER_VNI.to_string(), "--mcast-snooping", "on"])?;
    ask_and_join(&bench)?;
    ensure!(has_copy(&bench, [PORT, SECOND_PORT])? == [true, false]);
    let reports = (0..60)
        .map(|at| Ok((OTHER_PORT, report(STATION, at * 150..(at + 1) * 150, &[])?)))
        .collect::<Result<Vec<_>>>()?;
    tc_in_turn(&bench.instance, "from_port", &reports, reports.len())?;
    bench.run(Hook::Port(SECOND_PORT), &igmp(SECOND_STATION, OWN, ALL, QUERY_3.to_vec()))?;
    ensure!(has_copy(&bench, [PORT, SECOND_PORT])? == [true, true]);
    Ok(())
}

#[test]
fn who_names_the_group_late_in_a_long_report_gets_it() -> Result<()> {
    let lab = lab()?;
    let bench = bench_with_snooping(&lab)?;
    for netns in [&bench.host().netns, &bench.stations] {
        netns.ip(&format!("link set {SECOND_PORT} mtu 9000"))?;
    }
    let long = Wire::open(&bench.stations, SECOND_PORT, Direction::In)?;
    ask_and_join(&bench)?;
    long.send(&report(SECOND_STATION, 0..512, &[])?)?;
    wait_until(Instant::now() + Duration::from_secs(5), || {
        let mdb = bench.host().overlay_json(&["mdb", "show"])?;
        Ok(mdb.as_array().context("no array")?.iter().any(|row| row["group"] == "232.0.1.255").then_some(()))
    })?;
    ensure!(has_copy(&bench, [PORT, SECOND_PORT])? == [true, false], "all of it was read");
    long.send(&report(SECOND_STATION, 0..512, &[GROUP])?)?;
    wait_until(Instant::now() + Duration::from_secs(5), || {
        Ok((has_copy(&bench, [PORT, SECOND_PORT])? == [true, true]).then_some(()))
    })
}
