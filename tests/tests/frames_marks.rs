//! Marks in the metadata of a packet: only those of our own XDP program count, and none leaves the host.

use anyhow::{Result, ensure};
use aya::maps::{Array, Map, MapData};
use overlay_common::{DropReason, maps::config};
use overlay_tests::{
    bench::{Bench, NOBODY, PORT, STATION, VNI, lab, udp_frame},
    foreign::Foreign,
    frame::{ETHER_IPV4, Ethernet},
    testrun,
};

/// The id of the first remote VTEP, host 2: 1024 before it are for VTEPs that come by groups.
const VTEP: u32 = 1025;
/// Where the secret stands in `CONFIG`: behind the cookie of the network namespace.
const SECRET: std::ops::Range<usize> = 8..16;

/// What the XDP program of an instance signs with.
fn secret(bench: &Bench<'_>) -> Result<u64> {
    let data = MapData::from_pin(bench.instance.pins().join("maps").join(config::NAME))?;
    let map: Array<MapData, [u8; size_of::<config::Config>()]> = Array::try_from(Map::Array(data))?;
    Ok(u64::from_ne_bytes(map.get(&config::INDEX, 0)?[SECRET].try_into()?))
}

/// A mark as `from_uplink_xdp` leaves it.
fn mark(signature: u64, vni: u32) -> Vec<u8> {
    [&signature.to_ne_bytes()[..], &vni.to_ne_bytes(), &VTEP.to_ne_bytes()].concat()
}

#[test]
fn only_a_mark_with_our_signature_counts() -> Result<()> {
    let lab = lab()?;
    for xdp in ["off", "native"] {
        let bench = Bench::new(&lab, &["--xdp", xdp])?;
        // The device's receive queue knows XDP even where no program is attached.
        bench.host().netns.run(&["ethtool", "-K", "u1", "gro", "on"])?;
        let station = bench.station(PORT)?;
        let secret = secret(&bench)?;
        let (ours, last) = (udp_frame(NOBODY, STATION, 90), udp_frame(NOBODY, STATION, 91));
        let forged = udp_frame(NOBODY, STATION, 92);
        for signature in [0, 1, !0, secret ^ 1, secret.swap_bytes()] {
            testrun::receive(&bench.instance, "u1", &mark(signature, VNI), &forged)?;
        }
        testrun::receive(&bench.instance, "u1", &mark(secret, 0), &forged)?;
        testrun::receive(&bench.instance, "u1", &[], &forged)?;
        testrun::receive(&bench.instance, "u1", &mark(secret, VNI), &ours)?;
        testrun::receive(&bench.instance, "u1", &mark(secret, VNI), &last)?;
        let seen = station.collect(|frame| [&ours, &last, &forged].contains(&&frame.bytes))?;
        let expected: &[&Vec<u8>] = if xdp == "off" { &[] } else { &[&ours, &last] };
        let seen: Vec<_> = seen.iter().map(|frame| &frame.bytes).collect();
        ensure!(seen == expected, "with {xdp} XDP {} frames arrived", seen.len());
        bench.instance.down()?;
    }
    Ok(())
}

#[test]
fn the_secret_does_not_leave_with_the_frame() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "native"])?;
    let (secret, station) = (secret(&bench)?, bench.station(PORT)?);
    let behind_us = Foreign::metadata(&bench.host().netns, "u1")?;
    let behind_port = Foreign::metadata(&bench.stations, PORT)?;
    let frame = udp_frame(NOBODY, STATION, 90);
    testrun::receive(&bench.instance, "u1", &mark(!secret, VNI), &frame)?;
    ensure!(behind_us.seen()? == 1, "what is not ours keeps its metadata");
    testrun::receive(&bench.instance, "u1", &mark(secret, VNI), &frame)?;
    station.expect("the frame", |received| received.bytes == frame)?;
    ensure!(behind_us.seen()? == 1 && behind_port.seen()? == 0, "the workload can read the secret");
    Ok(())
}

#[test]
fn a_marked_frame_in_a_vlan_is_dropped() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "native"])?;
    let (secret, station) = (secret(&bench)?, bench.station(PORT)?);
    let before = bench.host().drops()?;
    let header = Ethernet { tag: Some(7), ..Ethernet::new(NOBODY, STATION, ETHER_IPV4) };
    testrun::receive(&bench.instance, "u1", &mark(secret, VNI), &header.frame(&[6; 60]))?;
    let dropped = bench.host().drops_since(&before)?;
    ensure!(dropped == [(DropReason::OuterVlan.name().to_owned(), 1)].into(), "{dropped:?}");
    let seen = station.collect(|frame| frame.bytes.ends_with(&[6; 60]))?;
    ensure!(seen.is_empty(), "it was delivered");
    Ok(())
}

#[test]
fn a_marked_frame_with_a_tag_that_names_no_vlan_is_one_without() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "native"])?;
    let (secret, station) = (secret(&bench)?, bench.station(PORT)?);
    let header = Ethernet::new(NOBODY, STATION, ETHER_IPV4);
    let tagged = Ethernet { tag: Some(0xe000), ..header.clone() };
    testrun::receive(&bench.instance, "u1", &mark(secret, VNI), &tagged.frame(&[6; 60]))?;
    station.expect("the frame", |received| received.bytes == header.frame(&[6; 60]))?;
    Ok(())
}

#[test]
fn what_xdp_took_in_before_its_tunnel_was_removed_is_dropped() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "native"])?;
    let (secret, station) = (secret(&bench)?, bench.station(PORT)?);
    let frame = udp_frame(NOBODY, STATION, 90);
    testrun::receive(&bench.instance, "u1", &mark(secret, VNI), &frame)?;
    station.expect("the frame", |received| received.bytes == frame)?;
    let (vni, remote) = (VNI.to_string(), lab.host(2).v4.to_string());
    bench.host().overlay(&["tunnel", "del", "--vni", &vni, "--remote", &remote])?;
    let before = bench.host().drops()?;
    testrun::receive(&bench.instance, "u1", &mark(secret, VNI), &frame)?;
    ensure!(station.collect(|received| received.bytes == frame)?.is_empty(), "it was delivered");
    let dropped = bench.host().drops_since(&before)?;
    ensure!(dropped == [(DropReason::NotAMember.name().to_owned(), 1)].into(), "{dropped:?}");
    let stations = bench.host().overlay(&["fdb", "show", "--vni", &vni])?;
    ensure!(!stations.contains(&NOBODY.to_string()), "{stations}");
    Ok(())
}
