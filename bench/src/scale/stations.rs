//! Many stations, half of them behind a port and half behind a remote VTEP.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use overlay_tests::{
    bench::{self, Bench, Hook, PORT, REMOTE, SECOND_PORT, STATION, VNI, udp_frame},
    frame::Mac,
    topology::Host,
};

use super::{Load, ROOM, Scale, changes, draw::Case, memory, way};
use crate::programs::Programs;

/// What there are many of.
pub(super) const OF: &str = "stations";

/// Bytes of a frame: a UDP datagram of 64 bytes.
pub(super) const LENGTH: usize = 14 + 20 + 8 + 64;

/// A station of those behind the remote VTEP.
pub(super) const fn far(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac([2, 1, a, b, c, d])
}

/// A station of those behind the port.
const fn near(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac([2, 2, a, b, c, d])
}

/// Loads so many, and measures.
pub(super) fn measure(count: u32, times: usize, nothing: &mut Programs, scale: &mut Scale) -> Result<()> {
    let lab = bench::lab()?;
    let bench: Bench<'_> = Bench::new(&lab, &["--xdp", "off", "--fdb-size", &ROOM.to_string()])?;
    let half = (count / 2).max(1);
    let remote = lab.host(2).vtep.to_string();
    let mut text = String::new();
    for number in 0..half {
        writeln!(text, "{} {remote}\n{} {SECOND_PORT}", far(number), near(number))?;
    }
    let before = memory::of_stations(&bench.instance)?;
    let seconds = put(bench.host(), "add", &["--vni", &VNI.to_string()], &text)?.as_secs_f64();
    let bytes = memory::of_stations(&bench.instance)?;
    let each = f64::from(half * 2);
    let bytes_each = (bytes - before) as f64 / each;
    scale.loads.push(Load { stations: count, seconds, bytes_each, bytes_in_all: bytes as f64 / each });
    let case = |program, hook| Case { of: OF, count: half, program, hook };
    let port = case("from_port", Hook::Port(PORT));
    let sent = port.measure(&bench, nothing, times, |number| Ok(udp_frame(STATION, far(number), LENGTH)))?;
    let uplink = case("from_uplink", Hook::Uplink(&bench.host().uplink));
    let packet = |number| bench.packet(&udp_frame(REMOTE, near(number), LENGTH), |_| ());
    let received = uplink.measure(&bench, nothing, times, packet)?;
    let whole = way::measure(&bench, half, times, |number| udp_frame(STATION, far(number), LENGTH))?;
    let packets = sent.into_iter().chain(received).chain(whole);
    scale.packets.extend(packets.map(|packet| super::Packet { count, ..packet }));
    scale.changes.extend(changes::measure(&bench, count)?);
    bench.instance.down()?;
    drop(bench.stations);
    Ok(())
}

/// Has `overlay fdb VERB` take a file of stations; how long that takes, from command to prompt.
pub(super) fn put(host: &Host, verb: &str, options: &[&str], text: &str) -> Result<Duration> {
    let file = File(std::env::temp_dir().join(format!("overlay-bench-{}-stations", std::process::id())));
    fs::write(&file.0, text).with_context(|| file.0.display().to_string())?;
    let path = file.0.to_str().context("a path")?;
    let begin = Instant::now();
    host.overlay(&[&["fdb", verb, "--from", path], options].concat())?;
    Ok(begin.elapsed())
}

/// A file that is removed when it is not needed any more.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
