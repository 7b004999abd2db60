//! Limits of what is learned, and counts that stay right.

use std::{
    panic::resume_unwind,
    thread::ScopedJoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Map, MapData, Queue};
use overlay_common::maps::{ageing, fdb::FdbKey};
use overlay_tests::{
    bench::{
        Bench, Fate, Hook, OTHER_PORT, OTHER_VNI, PORT, REMOTE, SECOND_PORT, SECOND_STATION, STATION, VNI,
        lab, udp_frame,
    },
    fdb::{ages, counter, counts_are_right, entry, place},
    frame::Mac,
    process::wait_until,
    testrun::{self, TC_REDIRECT},
};

const UPLINK: Hook<'_> = Hook::Uplink("u1");
const VTEP: &str = "10.0.0.2";

const fn nth(number: u8) -> Mac {
    Mac([2, 0, 0, 0, 7, number])
}

fn from_port(bench: &Bench<'_>, port: &str, source: Mac) -> Result<()> {
    bench.run(Hook::Port(port), &udp_frame(source, REMOTE, 100)).map(drop)
}

/// A frame out of the tunnel, which is delivered whether it teaches anything or not.
fn from_tunnel(bench: &Bench<'_>, source: Mac) -> Result<()> {
    let inner = udp_frame(source, STATION, 100);
    bench.check(UPLINK, &bench.packet(&inner, |_| {})?, &Fate::Redirected(inner))
}

fn set(bench: &Bench<'_>, settings: &str) -> Result<()> {
    let vni = VNI.to_string();
    let words = ["vni", "set", &vni].into_iter().chain(settings.split_whitespace());
    bench.host().overlay(&words.collect::<Vec<_>>()).map(drop)
}

#[test]
fn a_segment_at_its_limit_learns_no_more_and_forwards_all_the_same() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    set(&bench, "--learn-limit 3")?;
    from_port(&bench, PORT, nth(1))?;
    from_port(&bench, SECOND_PORT, nth(2))?;
    for number in 3..=6 {
        from_tunnel(&bench, nth(number))?;
    }
    ensure!(counts_are_right(host, VNI)? == 3, "3 of 6");
    ensure!(counter(host, VNI, "not_learned")? == 3 && counter(host, VNI, "not_learned_limit")? == 3);
    // Those that are known may move; another segment has its own limit; a command is not held to it.
    from_tunnel(&bench, nth(1))?;
    ensure!(place(host, VNI, nth(1))?.as_deref() == Some(VTEP));
    bench.run(Hook::Port(OTHER_PORT), &udp_frame(nth(7), REMOTE, 100))?;
    ensure!(counts_are_right(host, OTHER_VNI)? == 1);
    bench.add_station(VNI, nth(8), ["--port", PORT])?;
    // What is removed makes room.
    host.overlay(&["fdb", "del", "--vni", &VNI.to_string(), &nth(2).to_string()])?;
    from_tunnel(&bench, nth(6))?;
    from_tunnel(&bench, nth(5))?;
    ensure!(counts_are_right(host, VNI)? == 3);
    ensure!(place(host, VNI, nth(6))?.is_some() && place(host, VNI, nth(5))?.is_none());
    set(&bench, "--learn-limit 0")?;
    from_tunnel(&bench, nth(5))?;
    ensure!(counts_are_right(host, VNI)? == 4);
    Ok(())
}

#[test]
fn a_port_at_its_limit_learns_no_more_and_takes_no_movers() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    host.overlay(&["port", "set", PORT, "--learn-limit", "2"])?;
    for number in 1..=4 {
        from_port(&bench, PORT, nth(number))?;
    }
    from_port(&bench, SECOND_PORT, nth(5))?;
    from_tunnel(&bench, nth(6))?;
    ensure!(counts_are_right(host, VNI)? == 4, "two here, one each elsewhere");
    ensure!(counter(host, VNI, "not_learned_limit")? == 2 && counter(host, VNI, "not_moved")? == 0);
    // A mover is refused like a newcomer, and stays where it was.
    from_port(&bench, PORT, nth(5))?;
    from_port(&bench, PORT, nth(6))?;
    ensure!(place(host, VNI, nth(5))?.as_deref() == Some(SECOND_PORT));
    ensure!(place(host, VNI, nth(6))?.as_deref() == Some(VTEP));
    ensure!(counter(host, VNI, "not_moved")? == 2);
    // One leaves, one may come.
    from_port(&bench, SECOND_PORT, nth(1))?;
    from_port(&bench, PORT, nth(6))?;
    from_port(&bench, PORT, nth(5))?;
    ensure!(place(host, VNI, nth(1))?.as_deref() == Some(SECOND_PORT));
    ensure!(place(host, VNI, nth(6))?.as_deref() == Some(PORT));
    ensure!(place(host, VNI, nth(5))?.as_deref() == Some(SECOND_PORT));
    ensure!(counts_are_right(host, VNI)? == 4);
    let ports = host.overlay_json(&["port", "show"])?;
    let limits: Vec<_> =
        ports.as_array().context("no array")?.iter().map(|row| &row["learn_limit"]).collect();
    ensure!(limits == [2, 0, 0], "{ports}");
    Ok(())
}

#[test]
fn a_port_is_added_with_its_limit() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    host.overlay(&["port", "del", PORT])?;
    host.overlay(&["port", "add", PORT, "--vni", &VNI.to_string(), "--learn-limit", "1"])?;
    from_port(&bench, PORT, nth(1))?;
    from_port(&bench, PORT, nth(2))?;
    ensure!(counts_are_right(host, VNI)? == 1);
    Ok(())
}

#[test]
fn a_static_entry_counts_no_more_as_learned() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    set(&bench, "--learn-limit 1")?;
    from_port(&bench, PORT, nth(1))?;
    bench.add_station(VNI, nth(1), ["--port", PORT])?;
    ensure!(counts_are_right(host, VNI)? == 0);
    from_port(&bench, PORT, nth(2))?;
    ensure!(counts_are_right(host, VNI)? == 1);
    Ok(())
}

#[test]
fn counts_stay_right_whoever_removes_entries() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    let vni = VNI.to_string();
    let fill = || -> Result<()> {
        for number in 0..10 {
            from_port(&bench, PORT, nth(number))?;
            from_port(&bench, SECOND_PORT, nth(10 + number))?;
            from_tunnel(&bench, nth(20 + number))?;
            bench.run(Hook::Port(OTHER_PORT), &udp_frame(nth(number), REMOTE, 100))?;
        }
        Ok(())
    };
    let steps: [(&[&str], usize); 8] = [
        (&["fdb", "del", "--vni", &vni, "02:00:00:00:07:00"], 29),
        (&["fdb", "flush", "--port", SECOND_PORT], 20),
        (&["fdb", "flush", "--remote", VTEP], 20),
        (&["fdb", "replace", "--vni", &vni, "02:00:00:00:07:01", "--port", SECOND_PORT], 29),
        (&["fdb", "flush", "--origin", "static", "--vni", &vni], 29),
        (&["port", "del", SECOND_PORT], 20),
        (&["tunnel", "del", "--vni", &vni, "--remote", VTEP], 10),
        (&["fdb", "flush", "--vni", &vni], 0),
    ];
    for (command, left) in steps {
        bench.run(Hook::Port(PORT), &udp_frame(nth(1), REMOTE, 100))?;
        if !matches!(command, ["tunnel", ..] | ["fdb", "flush", "--vni", _]) {
            for station in [STATION, SECOND_STATION, REMOTE] {
                let _ = host.overlay(&["fdb", "del", "--vni", &vni, &station.to_string()]);
            }
            bench.add_station(VNI, STATION, ["--port", PORT])?;
            fill()?;
        }
        host.overlay(command)?;
        let found = counts_are_right(host, VNI)?;
        ensure!(found == left, "{found} instead of {left} after {command:?}");
    }
    ensure!(counts_are_right(host, OTHER_VNI)? == 10, "another segment lost some");
    Ok(())
}

#[test]
fn counts_stay_right_when_cpus_race() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let (host, instance) = (bench.host(), &bench.instance);
    bench.add_port("p3", VNI)?;
    // Two CPUs move the same station from port to port, in opposite orders, while a third party removes it.
    let mut ports = [PORT, SECOND_PORT, "p3"];
    for round in 0..3 {
        let orders = [0, 1].map(|_| {
            ports.reverse();
            ports.map(|port| (port, udp_frame(nth(round), REMOTE, 100)))
        });
        std::thread::scope(|scope| {
            let racers = orders.map(|order| {
                scope.spawn(move || testrun::tc_in_turn(instance, "from_port", &order, 100_000))
            });
            while !racers.iter().all(ScopedJoinHandle::is_finished) {
                host.overlay(&["fdb", "flush", "--vni", &VNI.to_string()])?;
            }
            racers.into_iter().try_for_each(|racer| racer.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })?;
        counts_are_right(host, VNI).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

/// Only frames here, until a station is known: no command that would remove what has aged.
fn is_learned_without_a_command(bench: &Bench<'_>, mac: Mac) -> Result<()> {
    wait_until(Instant::now() + Duration::from_secs(5), || {
        from_tunnel(bench, mac)?;
        let (outcome, _) = bench.run(Hook::Port(PORT), &udp_frame(STATION, mac, 100))?;
        Ok((outcome.verdict == TC_REDIRECT).then_some(()))
    })
}

#[test]
fn a_full_fdb_of_dead_stations_recovers_with_no_process() -> Result<()> {
    let lab = lab()?;
    // Five stations that the bench knows from the start, and 100 more.
    let bench = Bench::new(&lab, &["--xdp", "off", "--fdb-size", "105"])?;
    let host = bench.host();
    set(&bench, "--flood off --ageing 1")?;
    for number in 0..=100 {
        from_tunnel(&bench, nth(number))?;
    }
    ensure!(counter(host, VNI, "not_learned")? == 1 && counter(host, VNI, "not_learned_limit")? == 0);
    // They were looked at while they lived, and will be again.
    ages(&bench, nth(99))?;
    is_learned_without_a_command(&bench, nth(101))?;
    // One go made room for more than one.
    let before = counter(host, VNI, "not_learned")?;
    for number in 102..=150 {
        from_tunnel(&bench, nth(number))?;
    }
    ensure!(counter(host, VNI, "not_learned")? == before, "stations were refused again");
    counts_are_right(host, VNI).map(drop)
}

#[test]
fn dead_stations_make_way_below_a_limit_with_no_process() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off"])?;
    let host = bench.host();
    set(&bench, "--flood off --ageing 1 --learn-limit 3")?;
    // Those of another segment do not age, and are passed over.
    for number in 0..200 {
        bench.run(Hook::Port(OTHER_PORT), &udp_frame(nth(number), REMOTE, 100))?;
    }
    for number in 1..=3 {
        from_tunnel(&bench, nth(number))?;
    }
    ages(&bench, nth(3))?;
    is_learned_without_a_command(&bench, nth(4))?;
    ensure!(counts_are_right(host, OTHER_VNI)? == 200);
    counts_are_right(host, VNI).map(drop)
}

#[test]
fn live_stations_do_not_make_way() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off", "--fdb-size", "15"])?;
    let host = bench.host();
    for number in 0..30 {
        from_tunnel(&bench, nth(number))?;
    }
    for number in 0..10 {
        ensure!(entry(host, VNI, nth(number))?.is_some(), "station {number} is gone");
    }
    ensure!(counter(host, VNI, "not_learned")? == 20);
    Ok(())
}

#[test]
fn what_was_forgotten_is_not_looked_for_for_ever() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off", "--fdb-size", "15"])?;
    // A station that comes and goes once more often than there is room in the queue.
    for _ in 0..16 {
        bench.host().overlay(&["fdb", "flush", "--vni", &VNI.to_string()])?;
        from_tunnel(&bench, nth(1))?;
    }
    ensure!(counts_are_right(bench.host(), VNI)? == 1);
    let path = bench.instance.pins().join("maps").join(ageing::NAME);
    let mut queue = Queue::<_, [u8; size_of::<FdbKey>()]>::try_from(Map::Queue(MapData::from_pin(path)?))?;
    let mut waiting = Vec::new();
    while let Ok(station) = queue.pop(0) {
        waiting.push(station);
    }
    ensure!(waiting.len() == 1 && waiting[0][4..10] == nth(1).0, "{waiting:02x?}");
    Ok(())
}
