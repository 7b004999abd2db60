//! What `overlay` says about stations and what is learned of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use overlay_common::DropReason;
use serde_json::Value;

use crate::{
    bench::{Bench, Fate, Hook, PORT, STATION, udp_frame},
    frame::Mac,
    process::wait_until,
    testrun::TC_REDIRECT,
    topology::Host,
};

/// The entry of a station, if there is one.
pub fn entry(host: &Host, vni: u32, mac: Mac) -> Result<Option<Value>> {
    let found = host.overlay_json(&["fdb", "show", "--vni", &vni.to_string(), &mac.to_string()])?;
    let found = found.as_array().with_context(|| format!("no array: {found}"))?;
    ensure!(found.len() < 2, "{mac} is there twice: {found:?}");
    Ok(found.first().cloned())
}

/// Where a station is: the name of a port or the address of a remote VTEP.
pub fn place(host: &Host, vni: u32, mac: Mac) -> Result<Option<String>> {
    let entry = entry(host, vni, mac)?;
    let name = |entry: &Value| entry["port"].as_str().or(entry["remote"].as_str()).map(str::to_owned);
    Ok(entry.as_ref().and_then(name))
}

/// A counter of a segment as a whole, by its name in `overlay stats`. Does not remove what has aged.
pub fn counter(host: &Host, vni: u32, name: &str) -> Result<u64> {
    let stats = host.overlay_json(&["stats", "--vni", &vni.to_string()])?;
    let rows = stats["segments"].as_array().with_context(|| format!("{stats}"))?;
    let whole = rows.iter().find(|row| row["remote"].is_null());
    whole.and_then(|row| row[name].as_u64()).with_context(|| format!("no {name}: {stats}"))
}

/// Fails unless the counts of learned stations, of every segment and port, are those of the entries that there are.
/// Returns how many there are in segment `vni`. What is learned between two commands is looked at again.
pub fn counts_are_right(host: &Host, vni: u32) -> Result<usize> {
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        match compare_counts(host, vni) {
            Err(_) if Instant::now() < deadline => {}
            outcome => return outcome,
        }
    }
}

fn compare_counts(host: &Host, vni: u32) -> Result<usize> {
    let shown = |arguments: &[&str]| -> Result<Vec<Value>> {
        let all = host.overlay_json(arguments)?;
        all.as_array().cloned().with_context(|| format!("no array: {all}"))
    };
    let stations = shown(&["fdb", "show", "--origin", "learned"])?;
    let count = |key: &str, value: &Value| stations.iter().filter(|station| station[key] == *value).count();
    for (noun, key, name) in [("vni", "vni", "vni"), ("port", "port", "port")] {
        for row in shown(&[noun, "show"])? {
            let there = count(key, &row[name]);
            ensure!(row["learned"] == there, "{there} are there: {row}");
        }
    }
    Ok(count("vni", &vni.into()))
}

/// Waits until a station of [`crate::bench::VNI`] is unknown to the programs, which must not flood. No command is run, so its entry is
/// still there.
pub fn ages(bench: &Bench<'_>, mac: Mac) -> Result<()> {
    let to = udp_frame(STATION, mac, 100);
    wait_until(Instant::now() + Duration::from_secs(5), || {
        let (outcome, _) = bench.run(Hook::Port(PORT), &to)?;
        Ok((outcome.verdict != TC_REDIRECT).then_some(()))
    })?;
    bench.check(Hook::Port(PORT), &to, &Fate::Dropped(DropReason::UnknownUnicast))
}
