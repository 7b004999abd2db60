//! Segments share the room for neighbours: what one takes of it, and what the others and commands have all the same.

use std::{
    net::Ipv4Addr,
    panic::resume_unwind,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread::ScopedJoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use overlay_common::{DropReason, maps::neighbour};
use overlay_tests::{
    bench::{Bench, Fate, Hook, NOBODY, OTHER_PORT, OTHER_VNI, PORT, REMOTE, STATION, VNI, lab},
    frame::{Arp, Mac},
    neigh::{self, Neighbour},
    testrun,
    topology::Lab,
};

const FROM_PORT: Hook<'_> = Hook::Port(PORT);

fn bench<'a>(lab: &'a Lab, settings: &[&str]) -> Result<Bench<'a>> {
    let bench = Bench::new(lab, &["--xdp", "off"])?;
    for vni in [VNI, OTHER_VNI] {
        bench.host().overlay(&[&["vni", "set", &vni.to_string(), "--suppress", "on"], settings].concat())?;
    }
    Ok(bench)
}

/// So many announcements of `mac`, each of another address.
fn announcements(mac: Mac, count: usize) -> impl Iterator<Item = Vec<u8>> {
    let first = u32::from(Ipv4Addr::new(10, 128, 0, 0));
    (first..).take(count).map(move |address| Arp::request((mac, address.into()), address.into()))
}

fn announcement(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    Arp::request((mac, address), address)
}

const fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, last)
}

#[test]
fn one_segment_takes_its_share_and_no_more() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &["--suppress-unknown", "drop"])?;
    testrun::tc_each(
        &bench.instance,
        "from_port",
        OTHER_PORT,
        announcements(STATION, neighbour::MAX_ENTRIES + 100),
    )?;
    // The other segment learns and answers as ever.
    bench.run(Hook::Uplink("u1"), &bench.packet(&announcement(REMOTE, v4(5)), |_| {})?)?;
    neigh::expect(bench.host(), VNI, v4(5).into(), Some(&Neighbour::new(REMOTE, "learned")))?;
    let (outcome, _) = bench.run(FROM_PORT, &Arp::request((STATION, v4(1)), v4(5)))?;
    ensure!(outcome.frame.starts_with(&STATION.0), "not answered");
    let not_learned = neigh::stats(bench.host(), OTHER_VNI)?["not_learned"].as_u64();
    let share = u64::from(neighbour::OF_ONE);
    ensure!(not_learned == Some(neighbour::MAX_ENTRIES as u64 + 100 - share), "{not_learned:?}");
    neigh::count_is_right(&bench.instance, VNI)?;
    // What is removed makes room.
    let flushed = bench.host().overlay_json(&["neigh", "flush", "--vni", &OTHER_VNI.to_string()])?;
    ensure!(flushed["removed"] == share, "{flushed}");
    bench.run(Hook::Port(OTHER_PORT), &announcement(STATION, v4(7)))?;
    ensure!(neigh::count_is_right(&bench.instance, OTHER_VNI)? == 1);
    Ok(())
}

#[test]
fn where_there_is_no_room_for_neighbours_unknown_ones_are_asked_for() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &["--suppress-unknown", "drop", "--ageing", "0"])?;
    let request = Arp::request((STATION, v4(1)), v4(99));
    bench.run(FROM_PORT, &announcement(STATION, v4(1)))?;
    bench.check(FROM_PORT, &request, &Fate::Dropped(DropReason::NeighbourUnknown))?;
    bench.host().overlay(&["neigh", "flush", "--vni", &VNI.to_string()])?;
    neigh::fill(&bench.instance, VNI)?;
    // A station that could not be learned may be asked for from now on.
    bench.run(Hook::Uplink("u1"), &bench.packet(&announcement(REMOTE, v4(99)), |_| {})?)?;
    neigh::expect(bench.host(), VNI, v4(99).into(), None)?;
    let (outcome, drops) = bench.run(FROM_PORT, &request)?;
    ensure!(outcome.frame.ends_with(&request) && drops.is_empty(), "not flooded: {drops:?}");
    Ok(())
}

#[test]
fn commands_have_their_places_however_fast_neighbours_are_learned() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab, &[])?;
    let (host, is_over) = (bench.host(), AtomicBool::new(false));
    // Among the addresses are, again and again, those that commands give to others.
    let frames: Vec<_> = announcements(STATION, neighbour::MAX_ENTRIES)
        .enumerate()
        .flat_map(|(at, frame)| {
            let last = u8::try_from(at % 8).unwrap_or_default();
            [Some(frame), (at % 5 == 0).then(|| announcement(NOBODY, v4(last)))]
        })
        .flatten()
        .collect();
    testrun::tc_each(&bench.instance, "from_port", OTHER_PORT, frames.iter().cloned())?;
    let flood = || -> Result<()> {
        while !is_over.load(Relaxed) {
            let some = frames.iter().rev().take(20_000).cloned();
            testrun::tc_each(&bench.instance, "from_port", OTHER_PORT, some)?;
        }
        Ok(())
    };
    let number = |last: u8| -> [String; 3] {
        let vni = if last.is_multiple_of(2) { OTHER_VNI } else { VNI };
        [vni.to_string(), v4(last).to_string(), REMOTE.to_string()]
    };
    std::thread::scope(|scope| {
        let floods = [(); 2].map(|()| scope.spawn(flood));
        let done = (0..12).try_for_each(|last| -> Result<()> {
            let [vni, address, mac] = number(last);
            let start = Instant::now();
            if last % 3 == 0 {
                host.overlay(&["neigh", "add", "--vni", &vni, &address, &mac])?;
                host.overlay(&["neigh", "del", "--vni", &vni, &address])?;
            }
            host.overlay(&["neigh", "add", "--vni", &vni, &address, &mac])?;
            ensure!(start.elapsed() < Duration::from_secs(10), "{address}: after {:?}", start.elapsed());
            Ok(())
        });
        is_over.store(true, Relaxed);
        let join = |flood: ScopedJoinHandle<'_, Result<()>>| {
            flood.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        floods.map(join).into_iter().fold(done, Result::and)
    })?;
    for last in 0..12_u8 {
        let vni = if last.is_multiple_of(2) { OTHER_VNI } else { VNI };
        neigh::expect(host, vni, v4(last).into(), Some(&Neighbour::new(REMOTE, "static")))?;
    }
    neigh::count_is_right(&bench.instance, OTHER_VNI)?;
    neigh::count_is_right(&bench.instance, VNI).map(drop)
}
