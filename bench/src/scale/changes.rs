//! Changes of what was loaded, as commands make them.

use std::time::Instant;

use anyhow::{Result, ensure};
use overlay_tests::{
    bench::{Bench, SECOND_PORT, VNI},
    declared::TempFile,
};
use serde::Serialize;

use super::stations::far;

/// Where the VTEP is that all move to.
const ELSEWHERE: &str = "10.0.0.77";

/// A change, and how long its command takes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Change {
    /// What is changed.
    pub(crate) what: &'static str,
    /// How many stations there are.
    pub(crate) stations: u32,
    /// From command to prompt.
    pub(crate) seconds: f64,
}

/// Changes one station of all, by a command of its own and by a file that has all of them, and the path to the VTEP that half
/// of them are behind.
pub(super) fn measure(bench: &Bench<'_>, stations: u32) -> Result<[Change; 3]> {
    let (host, vni) = (bench.host(), VNI.to_string());
    let timed = |what, arguments: &[&str]| -> Result<Change> {
        let begin = Instant::now();
        host.overlay(arguments)?;
        Ok(Change { what, stations, seconds: begin.elapsed().as_secs_f64() })
    };
    let one = far(0).to_string();
    let remote = bench.lab.host(2).vtep.to_string();
    let last = far((stations / 2).max(1) - 1).to_string();
    let file = TempFile::new(&with_elsewhere(&host.overlay(&["export"])?, &last, &remote)?)?;
    Ok([
        timed("another elsewhere, in a file of all", &["apply", "-f", file.name()])?,
        timed("one station elsewhere", &["fdb", "replace", "--vni", &vni, &one, "--port", SECOND_PORT])?,
        timed("the VTEP of half of them elsewhere", &["tunnel", "replace", &remote, "--remote", ELSEWHERE])?,
    ])
}

/// An exported file in which the station `mac` that is behind a remote VTEP is behind a port.
fn with_elsewhere(exported: &str, mac: &str, remote: &str) -> Result<String> {
    let there = |place: &str| format!("mac = \"{mac}\"\n{place}\n");
    let (before, after) =
        (there(&format!("remote = \"{remote}\"")), there(&format!("port = \"{SECOND_PORT}\"")));
    let changed = exported.replacen(&before, &after, 1);
    ensure!(changed != exported, "`overlay export` has no station {mac} behind {remote}");
    Ok(changed)
}
