//! Packets that are known again are counted at places of an array, of which there are few: that makes no difference to anybody.

use anyhow::{Context as _, Result, ensure};
use overlay_common::{
    Vni, VtepId,
    maps::{
        counters::CountersKey,
        tally::{PROBES, Tally},
    },
};
use overlay_tests::{
    bench::{Bench, Hook, REMOTE, STATION, lab},
    frame::{ETHER_IPV4, Ethernet, IP_UDP, Ipv4, Network as _, Udp},
    process,
    testrun::TC_REDIRECT,
    topology::Lab,
};

const UPLINK: Hook<'_> = Hook::Uplink("u1");

/// Where in a tunnel packet over IPv4 the VNI is.
const VNI_AT: usize = 46;

/// Where in a frame its source's address ends.
const SOURCE_END: usize = 11;

/// How often each packet comes.
const TIMES: u64 = 5;

/// Segments whose packets from `vtep` would all be counted at one place: two more than places are tried.
fn at_one_place(vtep: VtepId) -> Result<Vec<Vni>> {
    let place = |vni: &Vni| Tally::place(CountersKey::new(*vni, Some(vtep)), 0);
    let all: Vec<Vni> = (1..40_000).filter_map(Vni::new).collect();
    let first = place(all.first().context("no VNI")?);
    let count = usize::try_from(PROBES)? + 2;
    let segments: Vec<Vni> = all.into_iter().filter(|vni| place(vni) == first).take(count).collect();
    ensure!(segments.len() == count, "only {segments:?}");
    Ok(segments)
}

struct Counted<'a> {
    bench: Bench<'a>,
    remote: String,
    segments: Vec<Vni>,
    inner: Vec<u8>,
}

impl<'a> Counted<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        process::stay_on_one_cpu()?;
        let bench = Bench::new(lab, &["--xdp", "off"])?;
        let remote = lab.host(2).vtep.to_string();
        let ip = Ipv4::new([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), IP_UDP);
        let udp = Udp::new(1000, 2000).datagram(ip.addresses(), &[7; 70]);
        let inner = Ethernet::new(REMOTE, STATION, ETHER_IPV4).frame(&ip.packet(&udp));
        let first = VtepId::new(FIRST_NAMED).context("no VTEP")?;
        let counted = Self { bench, remote, segments: at_one_place(first)?, inner };
        for (number, vni) in counted.segments.iter().enumerate() {
            let port = format!("r{number}");
            counted.bench.add_port(&port, vni.get())?;
            counted.bench.add_tunnel(vni.get(), &counted.remote)?;
            counted.bench.add_station(vni.get(), STATION, ["--port", &port])?;
        }
        Ok(counted)
    }

    /// Has packets of all segments come, in turn.
    fn receive(&self) -> Result<()> {
        for _ in 0..TIMES {
            for (number, vni) in self.segments.iter().enumerate() {
                let mut inner = self.inner.clone();
                // Others are known by other patterns.
                inner[SOURCE_END] = 0x10 + u8::try_from(number)?;
                let mut packet = self.bench.packet(&inner, |_| {})?;
                packet[VNI_AT..VNI_AT + 3].copy_from_slice(&vni.get().to_be_bytes()[1..]);
                let (outcome, drops) = self.bench.run(UPLINK, &packet)?;
                ensure!(outcome.verdict == TC_REDIRECT && drops.is_empty(), "{outcome:?}, {drops:?}");
            }
        }
        Ok(())
    }

    /// Packets and bytes that are counted for a segment.
    fn stats(&self, vni: Vni) -> Result<[u64; 2]> {
        let stats = self.bench.host().overlay_json(&["stats", "--vni", &vni.to_string()])?;
        let rows = stats["segments"].as_array().context("no segments")?;
        let row = rows.iter().find(|row| row["remote"] == self.remote.as_str()).context("no row")?;
        let [packets, bytes] = ["rx_packets", "rx_bytes"].map(|field| row[field].as_u64());
        Ok([packets.context("no packets")?, bytes.context("no bytes")?])
    }

    fn ensure_counted(&self, times: impl Fn(usize) -> u64) -> Result<()> {
        let len = u64::try_from(self.inner.len())?;
        for (number, vni) in self.segments.iter().enumerate() {
            let (stats, times) = (self.stats(*vni)?, times(number) * TIMES);
            ensure!(stats == [times, times * len], "segment {number}: {stats:?}, not {times} packets");
        }
        Ok(())
    }
}

/// The id of the first VTEP that a command names.
const FIRST_NAMED: u16 = 1025;

#[test]
fn where_places_are_taken_others_are_counted_all_the_same() -> Result<()> {
    let lab = lab()?;
    let counted = Counted::new(&lab)?;
    counted.receive()?;
    counted.ensure_counted(|_| 1)?;
    counted.receive()?;
    counted.ensure_counted(|_| 2)
}

#[test]
fn a_tunnel_that_comes_again_starts_from_nothing_and_takes_nothing_from_others() -> Result<()> {
    let lab = lab()?;
    let counted = Counted::new(&lab)?;
    counted.receive()?;
    for again in [0, 2] {
        let vni = counted.segments[again].to_string();
        let tunnel = ["--vni", &vni, "--remote", &counted.remote];
        counted.bench.host().overlay(&[&["tunnel", "del"], &tunnel[..]].concat())?;
        counted.bench.host().overlay(&[&["tunnel", "add"], &tunnel[..]].concat())?;
    }
    counted.ensure_counted(|number| u64::from(![0, 2].contains(&number)))?;
    counted.receive()?;
    counted.ensure_counted(|number| if [0, 2].contains(&number) { 1 } else { 2 })
}
