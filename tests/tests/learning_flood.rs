//! Commands and the agent while stations are learned as fast as can be, and where the FDB is large or full.

use std::{
    collections::BTreeMap,
    fs,
    panic::resume_unwind,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    programs::ProgramInfo,
    sys::{Stats, enable_stats},
};
use overlay_tests::{
    bench::{Bench, Hook, OTHER_PORT, OTHER_VNI, PORT, REMOTE, SECOND_PORT, VNI, lab, udp_frame},
    fdb::{ages, counter, counts_are_right, entry, place},
    frame::Mac,
    mending::{status, warns},
    testrun,
    topology::cable,
};
use serde_json::json;

/// How long a command may take that is quick by itself, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(5);

const fn nth(number: u16) -> Mac {
    let [high, low] = number.to_be_bytes();
    Mac([2, 0, 0, 7, high, low])
}

#[test]
fn a_command_gets_its_place_in_a_full_fdb_however_fast_stations_are_learned() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off", "--fdb-size", "60000"])?;
    let (host, instance, is_over) = (bench.host(), &bench.instance, AtomicBool::new(false));
    let frames: Vec<_> = (0..=u16::MAX).map(|number| udp_frame(nth(number), REMOTE, 60)).collect();
    testrun::tc_each(instance, "from_port", PORT, frames.iter().cloned())?;
    // From now on, newcomers wait for a place, and those that commands put elsewhere speak again and again.
    let newcomers = frames.iter().rev().take(1000).enumerate();
    let order: Vec<_> = newcomers.flat_map(|(at, frame)| [frame.clone(), frames[at % 5].clone()]).collect();
    let flood = || -> Result<()> {
        while !is_over.load(Relaxed) {
            testrun::tc_each(instance, "from_port", PORT, order.iter().cloned())?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let floods = [(); 2].map(|()| scope.spawn(flood));
        let done = (|| {
            ensure!(counter(host, VNI, "not_learned")? > 0, "the FDB is not full");
            for number in (0..5).chain(65_000..65_005) {
                let start = Instant::now();
                bench.add_station(VNI, nth(number), ["--port", SECOND_PORT])?;
                ensure!(start.elapsed() < PATIENCE, "{number}: after {:?}", start.elapsed());
            }
            Ok(())
        })();
        is_over.store(true, Relaxed);
        let floods = floods.map(|flood| flood.join().unwrap_or_else(|panic| resume_unwind(panic)));
        floods.into_iter().fold(done, Result::and)
    })?;
    for number in (0..5).chain(65_000..65_005) {
        let entry = entry(host, VNI, nth(number))?.with_context(|| format!("{number} is not there"))?;
        ensure!(entry["origin"] == "static" && entry["port"] == SECOND_PORT, "{entry}");
    }
    counts_are_right(host, VNI).map(drop)
}

#[test]
fn a_full_fdb_of_what_commands_put_there_refuses_more_at_once() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off", "--fdb-size", "6"])?;
    bench.add_station(VNI, nth(1), ["--port", PORT])?;
    let (vni, mac) = (VNI.to_string(), nth(2).to_string());
    let failure = bench.host().overlay_fails(&["fdb", "add", "--vni", &vni, &mac, "--port", PORT])?;
    ensure!(failure.code == 1 && failure.stderr.contains("the FDB is full"), "{failure:?}");
    bench.add_station(VNI, nth(1), ["--port", PORT]).unwrap_err();
    ensure!(place(bench.host(), VNI, nth(1))?.as_deref() == Some(PORT));
    Ok(())
}

#[test]
fn stations_age_by_the_thousand_and_live_ones_stay() -> Result<()> {
    let lab = lab()?;
    let bench = Bench::new(&lab, &["--xdp", "off", "--fdb-size", "4096"])?;
    let host = bench.host();
    // Those of another segment stand between them, and do not age.
    let order = (0..2000).map(|number| (if number % 4 == 0 { OTHER_PORT } else { SECOND_PORT }, number));
    let frames: Vec<_> = order.map(|(port, number)| (port, udp_frame(nth(number), REMOTE, 60))).collect();
    testrun::tc_in_turn(&bench.instance, "from_port", &frames, frames.len())?;
    for _ in 0..2 {
        ensure!(counts_are_right(host, VNI)? == 1500 && counts_are_right(host, OTHER_VNI)? == 500);
    }
    bench.set(&["--flood", "off", "--ageing", "1"])?;
    ages(&bench, nth(1999))?;
    ensure!(counts_are_right(host, VNI)? == 0 && counts_are_right(host, OTHER_VNI)? == 500);
    ensure!(
        host.overlay_json(&["fdb", "show", "--origin", "learned"])?.as_array().map(Vec::len) == Some(500)
    );
    Ok(())
}

/// How often each program ran, and for how long in all.
fn runs(bench: &Bench<'_>) -> Result<BTreeMap<String, (u64, Duration)>> {
    let mut runs = BTreeMap::new();
    for entry in fs::read_dir(bench.instance.pins().join("programs"))? {
        let entry = entry?;
        let info = ProgramInfo::from_pin(entry.path())?;
        runs.insert(entry.file_name().to_string_lossy().into_owned(), (info.run_count(), info.run_time()));
    }
    Ok(runs)
}

#[test]
fn no_command_that_only_looks_keeps_a_cpu_from_its_packets() -> Result<()> {
    let lab = lab()?;
    let _stats = enable_stats(Stats::RunTime)?;
    // A walk through so large a map takes tens of milliseconds, however empty it is.
    let bench = Bench::new(&lab, &["--xdp", "off", "--fdb-size", "4194304"])?;
    for number in 0..300 {
        bench.run(Hook::Port(PORT), &udp_frame(nth(number), REMOTE, 60))?;
    }
    let mut longest = Duration::MAX;
    // The machine may have had something else to do meanwhile, but not each time.
    for _ in 0..5 {
        let before = runs(&bench)?;
        bench.host().overlay(&["status"])?;
        let one = |(name, (count, time)): (String, (u64, Duration))| {
            let (count_before, time_before) = before.get(&name).copied().unwrap_or_default();
            let count = u32::try_from(count - count_before).unwrap_or(u32::MAX);
            time.saturating_sub(time_before).checked_div(count).unwrap_or_default()
        };
        longest = longest.min(runs(&bench)?.into_iter().map(one).max().unwrap_or_default());
    }
    ensure!(longest > Duration::ZERO, "no program ran");
    ensure!(longest < Duration::from_millis(2), "{longest:?}");
    Ok(())
}

#[test]
fn stations_of_a_port_that_returned_wait_until_there_is_room() -> Result<()> {
    let lab = lab()?;
    // The five that the bench knows, and three behind a port.
    let bench = Bench::new(&lab, &["--xdp", "off", "--fdb-size", "8"])?;
    let (host, vni) = (bench.host(), VNI.to_string());
    bench.add_port("p3", VNI)?;
    for number in 1..=3 {
        bench.add_station(VNI, nth(number), ["--port", "p3"])?;
    }
    host.netns.ip("link del p3")?;
    warns(host, "port p3 is gone")?;
    for number in 11..=13 {
        bench.add_station(VNI, nth(number), ["--port", PORT])?;
    }
    // A command that fails takes nothing away from what waits.
    let failure = host.overlay_fails(&["fdb", "add", "--vni", &vni, &nth(1).to_string(), "--port", PORT])?;
    ensure!(failure.stderr.contains("the FDB is full"), "{failure:?}");
    host.overlay(&["fdb", "del", "--vni", &vni, &nth(11).to_string()])?;

    cable(&host.netns, ("p3", None), &bench.stations, ("p3", None))?;
    host.netns.ip("link set p3 up")?;
    bench.stations.ip("link set p3 up")?;
    let (now, _) = status(host)?;
    ensure!(now["warnings"].to_string().contains("2 stations behind port p3 wait"), "{now}");
    ensure!(host.overlay_json(&["port", "show"])?.to_string().contains("\"p3\""));
    for number in 12..=13 {
        host.overlay(&["fdb", "del", "--vni", &vni, &nth(number).to_string()])?;
    }
    let (now, _) = status(host)?;
    ensure!(now["warnings"] == json!([]), "{now}");
    for number in 1..=3 {
        ensure!(place(host, VNI, nth(number))?.as_deref() == Some("p3"), "{number} was lost");
    }
    Ok(())
}
