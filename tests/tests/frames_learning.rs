//! What single frames teach, as `overlay fdb show` has it, and what they are counted as.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use overlay_common::DropReason;
use overlay_tests::{
    bench::{
        Bench, Fate, Hook, NOBODY, OTHER_PORT, OTHER_VNI, OTHER_VTEP, PORT, REMOTE, SECOND_PORT,
        SECOND_STATION, STATION, VNI, lab, udp_frame,
    },
    fdb,
    frame::Mac,
    process::wait_until,
    testrun::TC_REDIRECT,
};
use serde_json::{Value, json};

const UPLINK: Hook<'_> = Hook::Uplink("u1");
/// The address of host 2.
const VTEP: &str = "10.0.0.2";
/// A second VTEP that is a member of the segment.
const SECOND_VTEP: &str = "10.0.0.4";

/// What `overlay fdb show` says about a station.
fn entry(bench: &Bench<'_>, vni: u32, mac: Mac) -> Result<Option<Value>> {
    let all = bench.host().overlay_json(&["fdb", "show", "--vni", &vni.to_string()])?;
    let all = all.as_array().with_context(|| format!("no array: {all}"))?;
    let mut entries = all.iter().filter(|entry| entry["mac"] == mac.to_string()).cloned();
    let found = entries.next();
    ensure!(entries.next().is_none(), "{mac} is there twice");
    Ok(found.map(|mut entry| {
        if let Some(fields) = entry.as_object_mut() {
            for field in ["age_s", "moves", "flapping", "frozen", "frozen_s"] {
                fields.remove(field);
            }
        }
        entry
    }))
}

fn expect(bench: &Bench<'_>, mac: Mac, place: Option<(&str, &str, &str)>) -> Result<()> {
    let expected = place.map(
        |(kind, name, origin)| json!({"vni": VNI, "mac": mac.to_string(), kind: name, "origin": origin}),
    );
    let found = entry(bench, VNI, mac)?;
    ensure!(found == expected, "{found:?} instead of {expected:?}");
    Ok(())
}

/// A frame out of the tunnel from `vtep`, which has to be delivered to `destination`.
fn from_tunnel(bench: &Bench<'_>, vtep: &str, source: Mac, destination: Mac) -> Result<()> {
    let inner = udp_frame(source, destination, 100);
    let vtep = vtep.parse()?;
    let packet = bench.packet(&inner, |outer| outer.ip.source = vtep)?;
    bench.check(UPLINK, &packet, &Fate::Redirected(inner))
}

/// A frame from the station behind `port`, which has to be delivered to `destination` behind another.
fn from_port(bench: &Bench<'_>, port: &str, source: Mac, destination: Mac) -> Result<()> {
    let frame = udp_frame(source, destination, 100);
    bench.check(Hook::Port(port), &frame, &Fate::Redirected(frame.clone()))
}

#[test]
fn sources_are_learned_and_followed() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.add_tunnel(VNI, SECOND_VTEP)?;
    expect(&bench, NOBODY, None)?;
    from_tunnel(&bench, VTEP, NOBODY, STATION)?;
    expect(&bench, NOBODY, Some(("remote", VTEP, "learned")))?;
    ensure!(entry(&bench, OTHER_VNI, NOBODY)?.is_none(), "another segment learned it");
    from_tunnel(&bench, SECOND_VTEP, NOBODY, STATION)?;
    expect(&bench, NOBODY, Some(("remote", SECOND_VTEP, "learned")))?;
    from_port(&bench, SECOND_PORT, NOBODY, STATION)?;
    expect(&bench, NOBODY, Some(("port", SECOND_PORT, "learned")))?;
    from_port(&bench, PORT, NOBODY, SECOND_STATION)?;
    expect(&bench, NOBODY, Some(("port", PORT, "learned")))?;
    // What was learned counts: the station is reached where it was seen last.
    from_tunnel(&bench, VTEP, REMOTE, NOBODY)?;
    from_tunnel(&bench, VTEP, NOBODY, STATION)?;
    expect(&bench, NOBODY, Some(("remote", VTEP, "learned")))
}

#[test]
fn static_entries_stay() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.add_tunnel(VNI, SECOND_VTEP)?;
    from_tunnel(&bench, VTEP, SECOND_STATION, STATION)?;
    expect(&bench, SECOND_STATION, Some(("port", SECOND_PORT, "static")))?;
    from_port(&bench, PORT, SECOND_STATION, SECOND_STATION)?;
    expect(&bench, SECOND_STATION, Some(("port", SECOND_PORT, "static")))?;
    from_tunnel(&bench, SECOND_VTEP, REMOTE, STATION)?;
    from_port(&bench, PORT, REMOTE, SECOND_STATION)?;
    expect(&bench, REMOTE, Some(("remote", VTEP, "static")))
}

#[test]
fn nothing_is_learned_where_learning_is_off() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.host().overlay(&["vni", "set", &VNI.to_string(), "--learning", "off"])?;
    from_tunnel(&bench, VTEP, NOBODY, STATION)?;
    from_port(&bench, PORT, NOBODY, SECOND_STATION)?;
    expect(&bench, NOBODY, None)?;
    // The other segment still learns.
    let frame = udp_frame(NOBODY, REMOTE, 100);
    bench.run(Hook::Port(OTHER_PORT), &frame)?;
    ensure!(entry(&bench, OTHER_VNI, NOBODY)?.is_some(), "the other segment learned nothing");
    expect(&bench, NOBODY, None)
}

#[test]
fn nothing_is_learned_from_what_is_not_believed() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let inner = udp_frame(NOBODY, STATION, 100);
    let stranger = bench.packet(&inner, |outer| outer.ip.source = [10, 0, 0, 77].into())?;
    let other_member: std::net::Ipv4Addr = OTHER_VTEP.parse()?;
    let elsewhere = bench.packet(&inner, |outer| outer.ip.source = other_member)?;
    let no_flag = bench.packet(&inner, |outer| outer.vxlan.flags = 0)?;
    let wrong_sum = bench.packet(&inner, |outer| outer.ip.checksum = Some(1))?;
    let short = bench.packet(&inner, |outer| outer.udp.length = Some(9000))?;
    let foreign = bench.packet(&inner, |outer| outer.udp.destination = 4790)?;
    let mut tagged = inner.clone();
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    let tagged_packet = bench.packet(&tagged, |_| {})?;
    let packets = [stranger, elsewhere, no_flag, wrong_sum, short, foreign, tagged_packet];
    for packet in &packets {
        bench.run(UPLINK, packet)?;
        expect(&bench, NOBODY, None)?;
    }
    bench.run(Hook::Port(PORT), &tagged)?;
    expect(&bench, NOBODY, None)?;
    for group in [Mac::BROADCAST, Mac([3, 0, 0, 0, 0, 1]), Mac([0; 6])] {
        bench.run(UPLINK, &bench.packet(&udp_frame(group, STATION, 100), |_| {})?)?;
        bench.run(Hook::Port(PORT), &udp_frame(group, SECOND_STATION, 100))?;
        expect(&bench, group, None)?;
    }
    Ok(())
}

#[test]
fn inner_frames_are_counted_by_segment_and_vtep() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    bench.add_tunnel(VNI, SECOND_VTEP)?;
    let mac = lab.host(2).mac;
    bench.host().netns.ip(&format!("neigh replace {SECOND_VTEP} lladdr {mac} dev u1 nud permanent"))?;
    let counts = || -> Result<Vec<Value>> {
        let stats = bench.host().overlay_json(&["stats"])?;
        stats["segments"].as_array().cloned().with_context(|| format!("{stats}"))
    };
    let nothing: Vec<_> =
        counts()?.into_iter().filter(|row| row["rx_packets"] != 0 || row["tx_packets"] != 0).collect();
    ensure!(nothing.is_empty(), "before the first frame: {nothing:?}");
    let inner = udp_frame(REMOTE, STATION, 100);
    for trailing in [0, 30] {
        let packet = [bench.packet(&inner, |_| {})?, vec![0; trailing]].concat();
        bench.check(UPLINK, &packet, &Fate::Redirected(inner.clone()))?;
    }
    bench.check(UPLINK, &bench.packet(&udp_frame(REMOTE, Mac::BROADCAST, 70), |_| {})?, &Fate::Copied)?;
    bench.run(Hook::Port(PORT), &udp_frame(STATION, REMOTE, 200))?;
    from_port(&bench, PORT, STATION, SECOND_STATION)?;
    bench.run(Hook::Port(PORT), &udp_frame(STATION, Mac::BROADCAST, 60))?;
    // What is dropped or not ours counts nowhere.
    bench.run(UPLINK, &bench.packet(&inner, |outer| outer.vxlan.vni = OTHER_VNI)?)?;
    bench.run(Hook::Port(PORT), &udp_frame(Mac::BROADCAST, REMOTE, 200))?;
    let row = |vni: u32, remote: Option<&str>, tx: (u64, u64), rx: (u64, u64)| {
        json!({
            "vni": vni,
            "remote": remote,
            "tx_packets": tx.0,
            "tx_bytes": tx.1,
            "rx_packets": rx.0,
            "rx_bytes": rx.1,
            "not_learned": 0,
            "not_learned_limit": 0,
            "not_moved": 0,
            "flaps": 0,
            "neigh_requests": 0,
            "neigh_answered": 0
        })
    };
    let all = counts()?;
    let expected = [
        row(VNI, None, (2, 160), (0, 0)),
        row(VNI, Some(VTEP), (2, 260), (3, 270)),
        row(VNI, Some(SECOND_VTEP), (1, 60), (0, 0)),
        row(OTHER_VNI, None, (0, 0), (0, 0)),
        row(OTHER_VNI, Some(OTHER_VTEP), (0, 0), (0, 0)),
    ];
    ensure!(
        all.len() == expected.len() && expected.iter().all(|row| all.contains(row)),
        "{all:?} instead of {expected:?}"
    );
    Ok(())
}

#[test]
fn a_silent_station_is_forgotten_with_no_agent() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let silent = Mac([2, 0, 0, 0, 0, 0x77]);
    bench.host().overlay(&["vni", "set", &VNI.to_string(), "--flood", "off", "--ageing", "1"])?;
    from_tunnel(&bench, VTEP, silent, STATION)?;
    let to = |destination| udp_frame(STATION, destination, 100);
    let verdict =
        |destination| Ok::<_, anyhow::Error>(bench.run(Hook::Port(PORT), &to(destination))?.0.verdict);
    ensure!(verdict(silent)? == TC_REDIRECT, "learned just now");
    wait_until(Instant::now() + Duration::from_secs(5), || {
        Ok((verdict(silent)? != TC_REDIRECT).then_some(()))
    })?;
    bench.check(Hook::Port(PORT), &to(silent), &Fate::Dropped(DropReason::UnknownUnicast))?;
    ensure!(verdict(REMOTE)? == TC_REDIRECT, "what a command put there does not age");
    expect(&bench, silent, None)?;

    bench.host().overlay(&["vni", "set", &VNI.to_string(), "--ageing", "0"])?;
    from_tunnel(&bench, VTEP, silent, STATION)?;
    let shown = bench.host().overlay_json(&["vni", "show", &VNI.to_string()])?;
    ensure!(shown[0]["ageing_s"] == 0, "{shown}");
    expect(&bench, silent, Some(("remote", VTEP, "learned")))
}

#[test]
fn a_station_that_is_heard_again_is_young_again() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let age = || -> Result<u64> {
        let all = bench.host().overlay_json(&["fdb", "show"])?;
        let entries = all.as_array().context("no array")?;
        let found = entries.iter().find(|entry| entry["mac"] == NOBODY.to_string());
        found.and_then(|entry| entry["age_s"].as_u64()).with_context(|| format!("{NOBODY}: {all}"))
    };
    from_port(&bench, PORT, NOBODY, SECOND_STATION)?;
    wait_until(Instant::now() + Duration::from_secs(10), || Ok((age()? >= 2).then_some(())))?;
    from_port(&bench, PORT, NOBODY, SECOND_STATION)?;
    ensure!(age()? < 2, "{} seconds old", age()?);
    Ok(())
}

#[test]
fn a_full_fdb_learns_no_more_and_prefers_what_it_is_told() -> Result<()> {
    let lab = lab()?;
    // The stations that the bench knows from the start, and two more.
    let bench = Bench::new(&lab, &["--xdp", "off", "--fdb-size", "7"])?;
    let stations = [1, 2, 3, 4].map(|number| Mac([2, 0, 0, 0, 8, number]));
    for station in &stations[..2] {
        from_port(&bench, PORT, *station, SECOND_STATION)?;
        expect(&bench, *station, Some(("port", PORT, "learned")))?;
        // Ages are told in ticks of a seventh of a second: the next one shall be younger.
        wait_until(Instant::now() + Duration::from_secs(10), || {
            let entry = fdb::entry(bench.host(), VNI, *station)?.context("not learned")?;
            Ok((entry["age_s"] != 0).then_some(()))
        })?;
    }
    for _ in 0..3 {
        from_port(&bench, PORT, stations[2], SECOND_STATION)?;
    }
    expect(&bench, stations[2], None)?;
    let stats = bench.host().overlay_json(&["stats", "--vni", &VNI.to_string()])?;
    let rows = stats["segments"].as_array().context("no array")?;
    let not_learned: Vec<_> = rows.iter().filter(|row| row["not_learned"] != 0).collect();
    ensure!(not_learned.len() == 1 && not_learned[0]["not_learned"] == 3, "{stats}");
    bench.add_station(VNI, stations[3], ["--port", PORT])?;
    expect(&bench, stations[3], Some(("port", PORT, "static")))?;
    expect(&bench, stations[0], None)?;
    expect(&bench, stations[1], Some(("port", PORT, "learned")))
}

#[test]
fn a_flush_takes_what_one_segment_has_learned() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    from_tunnel(&bench, VTEP, NOBODY, STATION)?;
    bench.run(Hook::Port(OTHER_PORT), &udp_frame(NOBODY, REMOTE, 100))?;
    bench.host().overlay(&["fdb", "flush", "--vni", &VNI.to_string()])?;
    expect(&bench, NOBODY, None)?;
    expect(&bench, STATION, Some(("port", PORT, "static")))?;
    ensure!(entry(&bench, OTHER_VNI, NOBODY)?.is_some(), "the other segment was flushed");
    Ok(())
}
