//! Stations that move: followed, refused, flapping, frozen.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{HashMap, Map, MapData};
use nix::sys::signal::Signal;
use overlay_common::maps::fdb::{FdbEntry, FdbKey, NAME, Origin};
use overlay_tests::{
    bench::{Bench, Fate, Hook, PORT, REMOTE, SECOND_PORT, SECOND_STATION, STATION, VNI, lab, udp_frame},
    fdb::{ages, counter, counts_are_right, entry, place},
    frame::Mac,
    process::{Background, wait_until},
};
use serde_json::Value;

const UPLINK: Hook<'_> = Hook::Uplink("u1");
const VTEP: &str = "10.0.0.2";
/// A second VTEP that is a member of the segment.
const SECOND_VTEP: &str = "10.0.0.4";
const MOVER: Mac = Mac([2, 0, 0, 0, 9, 1]);

/// A bench whose segment has that second VTEP.
fn bench(lab: &overlay_tests::topology::Lab) -> Result<Bench<'_>> {
    let bench = Bench::new(lab, &["--xdp", "off"])?;
    bench.add_tunnel(VNI, SECOND_VTEP)?;
    Ok(bench)
}

/// A frame from `mac` at a place: a port, or a remote VTEP by its address.
fn seen_at(bench: &Bench<'_>, mac: Mac, place: &str) -> Result<()> {
    let Ok(vtep) = place.parse() else {
        return bench.run(Hook::Port(place), &udp_frame(mac, REMOTE, 100)).map(drop);
    };
    let inner = udp_frame(mac, STATION, 100);
    let packet = bench.packet(&inner, |outer| outer.ip.source = vtep)?;
    bench.check(UPLINK, &packet, &Fate::Redirected(inner))
}

fn set(bench: &Bench<'_>, settings: &str) -> Result<()> {
    let vni = VNI.to_string();
    let words = ["vni", "set", &vni].into_iter().chain(settings.split_whitespace());
    bench.host().overlay(&words.collect::<Vec<_>>()).map(drop)
}

fn mover(bench: &Bench<'_>) -> Result<Value> {
    entry(bench.host(), VNI, MOVER)?.context("the station is not known")
}

#[test]
fn every_move_is_followed_and_counted() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    let places = [PORT, SECOND_PORT, VTEP, SECOND_VTEP, PORT, VTEP, SECOND_PORT, SECOND_VTEP, VTEP, PORT];
    for (moves, at) in places.into_iter().enumerate() {
        seen_at(&bench, MOVER, at)?;
        seen_at(&bench, MOVER, at)?;
        ensure!(place(bench.host(), VNI, MOVER)?.as_deref() == Some(at), "not at {at}");
        ensure!(mover(&bench)?["moves"] == moves, "{}", mover(&bench)?);
        counts_are_right(bench.host(), VNI)?;
    }
    ensure!(counter(bench.host(), VNI, "not_moved")? == 0);
    Ok(())
}

#[test]
fn what_a_command_put_somewhere_is_not_moved_and_the_attempt_is_counted() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    let host = bench.host();
    // From where they are, they may send as much as they like.
    seen_at(&bench, SECOND_STATION, SECOND_PORT)?;
    seen_at(&bench, REMOTE, VTEP)?;
    ensure!(counter(host, VNI, "not_moved")? == 0);
    for (attempts, (mac, at)) in
        [(SECOND_STATION, PORT), (SECOND_STATION, VTEP), (REMOTE, SECOND_VTEP), (REMOTE, PORT)]
            .into_iter()
            .enumerate()
    {
        seen_at(&bench, mac, at)?;
        let counted = counter(host, VNI, "not_moved")?;
        ensure!(counted == attempts as u64 + 1, "{counted}");
    }
    ensure!(place(host, VNI, SECOND_STATION)?.as_deref() == Some(SECOND_PORT));
    ensure!(place(host, VNI, REMOTE)?.as_deref() == Some(VTEP));
    ensure!(counts_are_right(host, VNI)? == 0);
    Ok(())
}

/// Makes the entry of a station one of a control plane, as no command does.
fn give_to_control_plane(bench: &Bench<'_>, mac: Mac) -> Result<()> {
    const KEY: usize = size_of::<FdbKey>();
    const ENTRY: usize = size_of::<FdbEntry>();
    let path = bench.instance.pins().join("maps").join(NAME);
    let mut fdb = HashMap::<_, [u8; KEY], [u8; ENTRY]>::try_from(Map::HashMap(MapData::from_pin(path)?))?;
    let is_meant = |key: &[u8; KEY]| key.starts_with(&VNI.to_ne_bytes()) && key[4..].starts_with(&mac.0);
    let key = fdb.keys().filter_map(Result::ok).find(is_meant).context("no entry")?;
    let mut entry = fdb.get(&key, 0)?;
    // The origin is two bits above the flags of the place, in the fifth byte of a little-endian word.
    entry[4] = entry[4] & !0b1100 | (Origin::Control as u8) << 2;
    Ok(fdb.insert(key, entry, 0)?)
}

#[test]
fn what_a_control_plane_put_somewhere_is_not_moved_and_the_attempt_is_counted() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    let host = bench.host();
    give_to_control_plane(&bench, REMOTE)?;
    for at in [PORT, SECOND_VTEP, VTEP] {
        seen_at(&bench, REMOTE, at)?;
    }
    let entry = entry(host, VNI, REMOTE)?.context("the station is not known")?;
    ensure!(entry["origin"] == "control" && entry["remote"] == VTEP, "{entry}");
    ensure!(counter(host, VNI, "not_moved")? == 2);
    let vni = VNI.to_string();
    host.overlay(&["fdb", "flush", "--vni", &vni])?;
    ensure!(place(host, VNI, REMOTE)?.as_deref() == Some(VTEP), "flushed with what was learned");
    let flushed = host.overlay_json(&["fdb", "flush", "--vni", &vni, "--origin", "control"])?;
    ensure!(flushed["removed"] == 1 && place(host, VNI, REMOTE)?.is_none(), "{flushed}");
    ensure!(counts_are_right(host, VNI)? == 0);
    Ok(())
}

#[test]
fn a_station_that_comes_back_after_its_time_has_not_moved() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    set(&bench, "--flood off --ageing 1 --flap-moves 1 --flap-freeze 600")?;
    seen_at(&bench, MOVER, VTEP)?;
    seen_at(&bench, MOVER, PORT)?;
    ensure!(mover(&bench)?["frozen"] == true, "{}", mover(&bench)?);
    // It is forgotten, though no command has removed it; and what is forgotten is not frozen.
    ages(&bench, MOVER)?;
    seen_at(&bench, MOVER, SECOND_PORT)?;
    let now = mover(&bench)?;
    ensure!(now["port"] == SECOND_PORT && now["moves"] == 0 && now["frozen"] == false, "{now}");
    counts_are_right(bench.host(), VNI).map(drop)
}

#[test]
fn a_station_that_moves_too_often_flaps_and_goes_on_moving() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    let host = bench.host();
    let shown = host.overlay_json(&["vni", "show", &VNI.to_string()])?;
    let rule = ["flap_moves", "flap_window_s", "flap_freeze_s"].map(|key| shown[0][key].as_u64());
    ensure!(rule == [Some(5), Some(180), Some(0)], "the defaults of RFC 7432 and no freezing: {shown}");
    seen_at(&bench, MOVER, PORT)?;
    for at in [VTEP, PORT, SECOND_VTEP, PORT] {
        seen_at(&bench, MOVER, at)?;
        ensure!(mover(&bench)?["flapping"] == false, "too early: {}", mover(&bench)?);
    }
    for at in [VTEP, PORT, VTEP] {
        seen_at(&bench, MOVER, at)?;
        ensure!(mover(&bench)?["flapping"] == true, "{}", mover(&bench)?);
    }
    ensure!(place(host, VNI, MOVER)?.as_deref() == Some(VTEP), "it is not frozen by default");
    ensure!(counter(host, VNI, "flaps")? == 1 && counter(host, VNI, "not_moved")? == 0);
    ensure!(host.overlay(&["fdb", "show"])?.contains("flapping"), "the table does not mark it");
    set(&bench, "--flap-moves 0")?;
    ensure!(mover(&bench)?["flapping"] == false, "{}", mover(&bench)?);
    Ok(())
}

#[test]
fn moves_that_are_far_apart_are_no_flapping() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    set(&bench, "--flap-moves 2 --flap-window 1")?;
    seen_at(&bench, MOVER, PORT)?;
    for at in [VTEP, PORT] {
        seen_at(&bench, MOVER, at)?;
        let moved = Instant::now();
        // Nothing happens at the end of a window that could be awaited.
        std::thread::sleep(Duration::from_millis(1500).saturating_sub(moved.elapsed()));
    }
    ensure!(counter(bench.host(), VNI, "flaps")? == 0, "{}", mover(&bench)?);
    seen_at(&bench, MOVER, VTEP)?;
    seen_at(&bench, MOVER, PORT)?;
    ensure!(counter(bench.host(), VNI, "flaps")? == 1, "{}", mover(&bench)?);
    Ok(())
}

#[test]
fn a_frozen_station_stays_until_its_time_is_over() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    let host = bench.host();
    set(&bench, "--flap-moves 3 --flap-window 60 --flap-freeze 3")?;
    seen_at(&bench, MOVER, SECOND_VTEP)?;
    for at in [VTEP, SECOND_VTEP] {
        seen_at(&bench, MOVER, at)?;
        ensure!(place(host, VNI, MOVER)?.as_deref() == Some(at), "not at {at}");
    }
    let frozen = Instant::now();
    // The move that is one too many is not made: the newcomer does not get the address.
    for at in [VTEP, PORT, SECOND_PORT] {
        seen_at(&bench, MOVER, at)?;
        seen_at(&bench, MOVER, SECOND_VTEP)?;
    }
    let entry = mover(&bench)?;
    ensure!(entry["remote"] == SECOND_VTEP && entry["moves"] == 2, "{entry}");
    ensure!(entry["frozen"] == true && entry["flapping"] == true, "{entry}");
    ensure!((1..=4).contains(&entry["frozen_s"].as_u64().context("no frozen_s")?), "{entry}");
    ensure!(counter(host, VNI, "not_moved")? == 3 && counter(host, VNI, "flaps")? == 1);
    ensure!(host.overlay(&["fdb", "show"])?.contains("frozen"), "the table does not mark it");
    wait_until(Instant::now() + Duration::from_secs(5), || {
        seen_at(&bench, MOVER, PORT)?;
        Ok((place(host, VNI, MOVER)?.as_deref() == Some(PORT)).then_some(()))
    })?;
    let thawed = frozen.elapsed();
    ensure!(thawed >= Duration::from_millis(2900), "after {thawed:?}");
    ensure!(mover(&bench)?["frozen"] == false, "{}", mover(&bench)?);
    // It is not spared for having been frozen, though the window is not over.
    for at in [VTEP, PORT, VTEP, PORT] {
        seen_at(&bench, MOVER, at)?;
    }
    let entry = mover(&bench)?;
    ensure!(entry["remote"] == VTEP && entry["frozen"] == true, "{entry}");
    ensure!(counter(host, VNI, "flaps")? == 2);
    Ok(())
}

#[test]
fn freezing_ends_when_it_is_turned_off() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    set(&bench, "--flap-moves 1 --flap-freeze 600")?;
    seen_at(&bench, MOVER, PORT)?;
    seen_at(&bench, MOVER, VTEP)?;
    seen_at(&bench, MOVER, PORT)?;
    seen_at(&bench, MOVER, VTEP)?;
    ensure!(place(bench.host(), VNI, MOVER)?.as_deref() == Some(PORT));
    set(&bench, "--flap-freeze 0")?;
    seen_at(&bench, MOVER, VTEP)?;
    ensure!(place(bench.host(), VNI, MOVER)?.as_deref() == Some(VTEP));
    Ok(())
}

#[test]
fn a_command_moves_what_is_frozen() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    set(&bench, "--flap-moves 1 --flap-freeze 600")?;
    seen_at(&bench, MOVER, PORT)?;
    seen_at(&bench, MOVER, VTEP)?;
    bench.add_station(VNI, MOVER, ["--port", SECOND_PORT])?;
    let entry = mover(&bench)?;
    ensure!(
        entry["port"] == SECOND_PORT && entry["origin"] == "static" && entry["frozen"] == false,
        "{entry}"
    );
    Ok(())
}

#[test]
fn run_warns_of_a_station_that_flaps() -> Result<()> {
    let lab = lab()?;
    let bench = bench(&lab)?;
    let host = bench.host();
    let local = host.v4.to_string();
    let mut command = host.overlay_command(&["run", "--uplink", &host.uplink, "--local", &local])?;
    let mut run = Background::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let mut first = String::new();
    BufReader::new(run.child().stdout.take().context("no stdout")?).read_line(&mut first)?;
    ensure!(first.contains("was up"), "{first}");
    let stderr = BufReader::new(run.child().stderr.take().context("no stderr")?);
    let (lines, heard) = mpsc::channel();
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    set(&bench, "--flap-moves 2")?;
    for at in [PORT, VTEP, PORT, VTEP] {
        seen_at(&bench, MOVER, at)?;
    }
    let line = heard.recv_timeout(Duration::from_secs(5)).context("no warning")?;
    ensure!(line.contains(&MOVER.to_string()) && line.contains("flaps"), "{line}");
    ensure!(line.contains(&VNI.to_string()), "{line}");
    run.signal(Signal::SIGTERM).map(drop)
}
