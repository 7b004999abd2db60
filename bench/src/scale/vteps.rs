//! Many remote VTEPs, with stations behind them.

use std::{
    fmt::Write as _,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    maps::{Array, HashMap, Map, MapData, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use overlay_common::{
    UnderlayAddr, Vni, VtepId,
    maps::{
        admitted::MAX_FREE,
        counters::{self, Counters, CountersKey},
        member::{self, MemberKey},
        vtep::{self, Vtep},
        vtep_ids,
    },
};
use overlay_tests::{
    bench::{self, Bench, Hook, PORT, STATION, VNI, udp_frame},
    overlay::Instance,
    process::wait_until,
};

use super::{
    ROOM, Scale,
    draw::Case,
    stations::{LENGTH, far, put},
};
use crate::programs::Programs;

/// What there are many of.
pub(super) const OF: &str = "remote VTEPs";

/// How many stations there are, on all of them.
const STATIONS: u32 = 100_000;

/// How long the kernel may take to have memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Those of [`Bench`] come first.
const FIRST: u64 = MAX_FREE as u64 + 100;

/// Names so many, puts stations behind them, and measures.
pub(super) fn measure(count: u32, times: usize, nothing: &mut Programs, scale: &mut Scale) -> Result<()> {
    let lab = bench::lab()?;
    let (room, vteps) = (ROOM.to_string(), (count + 200).to_string());
    let bench: Bench<'_> = Bench::new(&lab, &["--xdp", "off", "--fdb-size", &room, "--max-vteps", &vteps])?;
    let (host, vni) = (bench.host(), Vni::new(VNI).context("a VNI")?);
    host.netns.ip(&format!("route add 10.9.0.0/16 via {}", lab.host(2).vtep))?;
    let tables = Tables::open(&bench.instance)?;
    tables.name(count)?;
    Members::open(&bench.instance)?.add((0..count).map(|number| (vni, addr(number), id(number))))?;
    let mut text = String::new();
    for number in 0..STATIONS {
        writeln!(text, "{} {}", far(number), addr(number % count))?;
    }
    put(host, "add", &["--vni", &VNI.to_string()], &text)?;
    let case = |program, hook| Case { of: OF, count: STATIONS, program, hook };
    let port = case("from_port", Hook::Port(PORT));
    let sent = port.measure(&bench, nothing, times, |number| Ok(udp_frame(STATION, far(number), LENGTH)))?;
    let uplink = case("from_uplink", Hook::Uplink(&host.uplink));
    let packet = |number: u32| {
        let inner = udp_frame(far(number), STATION, LENGTH);
        bench.packet(&inner, |outer| outer.ip.source = addr(number % count))
    };
    let received = uplink.measure(&bench, nothing, times, packet)?;
    scale.packets.extend(sent.into_iter().chain(received).map(|packet| super::Packet { count, ..packet }));
    bench.instance.down()?;
    drop(bench.stations);
    Ok(())
}

/// The address of a VTEP, behind host 2.
fn addr(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 9, 0, 0).to_bits() + number)
}

/// Its id.
fn id(number: u32) -> VtepId {
    let id = u16::try_from(FIRST + u64::from(number)).ok().and_then(VtepId::new);
    id.unwrap_or(VtepId::FIRST)
}

/// A pinned map.
fn map(instance: &Instance<'_>, name: &str) -> Result<Map> {
    Ok(Map::from_map_data(MapData::from_pin(instance.pins().join("maps").join(name))?)?)
}

/// The tables of VTEPs. A command for each VTEP would take longer than all the measuring.
struct Tables {
    vteps: Array<MapData, Vtep>,
    ids: HashMap<MapData, UnderlayAddr, u32>,
}

impl Tables {
    fn open(instance: &Instance<'_>) -> Result<Self> {
        Ok(Self {
            vteps: map(instance, vtep::NAME)?.try_into()?,
            ids: map(instance, vtep_ids::NAME)?.try_into()?,
        })
    }

    /// Names so many VTEPs, all of which are like one that a command named.
    fn name(mut self, count: u32) -> Result<()> {
        let named = self.ids.iter().next().context("no VTEP is named")??.1;
        let like = self.vteps.get(&named, 0)?;
        for number in 0..count {
            let remote = UnderlayAddr::from(std::net::IpAddr::V4(addr(number)));
            self.vteps.set(id(number).index(), like.with_remote(remote), 0)?;
            self.ids.insert(remote, id(number).index(), 0)?;
        }
        Ok(())
    }
}

/// Who may send into which segment, and is counted there.
pub(super) struct Members {
    members: HashMap<MapData, MemberKey, u32>,
    counters: PerCpuHashMap<MapData, CountersKey, Counters>,
}

impl Members {
    pub(super) fn open(instance: &Instance<'_>) -> Result<Self> {
        Ok(Self {
            members: map(instance, member::NAME)?.try_into()?,
            counters: map(instance, counters::NAME)?.try_into()?,
        })
    }

    /// The id of the VTEP at that address in a segment.
    pub(super) fn id(&self, vni: Vni, remote: Ipv4Addr) -> Result<VtepId> {
        let id = self.members.get(&MemberKey::new(vni, std::net::IpAddr::V4(remote).into()), 0)?;
        member::id(id).context("no id")
    }

    /// Makes VTEPs members, as a command for each does.
    pub(super) fn add(mut self, members: impl Iterator<Item = (Vni, Ipv4Addr, VtepId)>) -> Result<()> {
        let cpus = nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
        for (vni, remote, id) in members {
            let zeros = || PerCpuValues::try_from(vec![Counters::default(); cpus]);
            let key = CountersKey::new(vni, Some(id));
            // The kernel has few elements for all CPUs at hand, and makes more in the background.
            wait_until(Instant::now() + PATIENCE, || Ok(self.counters.insert(key, zeros()?, 0).ok()))?;
            self.members.insert(MemberKey::new(vni, std::net::IpAddr::V4(remote).into()), id.index(), 0)?;
        }
        Ok(())
    }
}
