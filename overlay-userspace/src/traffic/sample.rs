//! What was counted at one moment.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    time::{Instant, SystemTime},
};

use overlay_common::{
    DropReason, IfIndex, Notice, UnderlayAddr, Vni,
    maps::{counters::Counters, learned::LearnedKey},
};

use super::rate::Traffic;
use crate::{
    devices,
    error::Result,
    instance::Instance,
    maps::{self, counters, drops, notices, port_counters, vteps::Vteps},
};

/// Who is at the other end of what was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Other ports of this host.
    Local,
    /// A remote VTEP.
    Remote(UnderlayAddr),
    /// A remote VTEP that was removed meanwhile.
    Unknown,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Remote(remote) => remote.fmt(f),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// What was counted for each segment: to and from each remote VTEP, and between ports of this host.
pub type Tunnels = BTreeMap<(Vni, Peer), Counters>;

/// Reads what was counted for segments and remote VTEPs.
///
/// # Errors
///
/// Fails if a map is gone.
pub fn tunnels(instance: &Instance) -> Result<Tunnels> {
    let counted = counters::read(instance)?;
    let remotes: HashMap<_, _> =
        Vteps::open(instance)?.all()?.into_iter().map(|(id, vtep)| (id, vtep.remote())).collect();
    let mut tunnels = Tunnels::new();
    for ((vni, vtep), counters) in counted {
        let peer = match vtep {
            None => Peer::Local,
            Some(id) => remotes.get(&id).map_or(Peer::Unknown, |remote| Peer::Remote(*remote)),
        };
        *tunnels.entry((vni, peer)).or_default() += counters;
    }
    Ok(tunnels)
}

/// A port, and what went through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its device; `None`: it is gone, and the port waits for one of its name.
    pub device: Option<IfIndex>,
    /// Its segment; of a trunk port, that of frames without a VLAN tag, if there is one.
    pub vni: Option<Vni>,
    /// Whether VLANs of it are segments of their own.
    pub is_trunk: bool,
    /// What it counted; nothing while its device is gone.
    pub traffic: Option<Traffic>,
}

/// What a segment counted, all remote VTEPs together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment {
    /// Into tunnels, and out of them.
    pub tunnels: Traffic,
    /// Between ports of this host: what was sent is what was received.
    pub local: Traffic,
    /// Remote VTEPs that it reaches.
    pub remotes: usize,
    /// What else is counted for it.
    pub counters: Counters,
}

/// What went to a remote VTEP and came from it, in all segments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vtep {
    /// So much.
    pub traffic: Traffic,
    /// Segments that reach it.
    pub segments: usize,
}

/// All that was counted until some moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// That moment,
    pub at: Instant,
    /// by the clock.
    pub time: SystemTime,
    /// Of segments and remote VTEPs.
    pub tunnels: Tunnels,
    /// Of ports, by name.
    pub ports: BTreeMap<String, Port>,
    /// Segments that are VLANs of trunk ports.
    pub trunks: BTreeSet<(IfIndex, Vni)>,
    /// Stations that are learned, by segment.
    pub learned: BTreeMap<Vni, u64>,
    /// Of each reason.
    pub drops: Vec<(DropReason, u64)>,
    /// Of each notice.
    pub notices: Vec<(Notice, u64)>,
}

impl Sample {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// Fails if a map is gone.
    pub fn read(instance: &Instance) -> Result<Self> {
        let tunnels = tunnels(instance)?;
        let (at, time) = (Instant::now(), SystemTime::now());
        let learned = learned(instance, &tunnels)?;
        Ok(Self {
            at,
            time,
            tunnels,
            ports: ports(instance)?,
            trunks: trunks(instance)?,
            learned,
            drops: drops::read(instance)?,
            notices: notices::read(instance)?,
        })
    }

    /// Nothing was counted until now.
    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        Self {
            at: Instant::now(),
            time: SystemTime::UNIX_EPOCH,
            tunnels: Tunnels::new(),
            ports: BTreeMap::new(),
            trunks: BTreeSet::new(),
            learned: BTreeMap::new(),
            drops: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// By segment.
    #[must_use]
    pub fn segments(&self) -> BTreeMap<Vni, Segment> {
        let mut segments: BTreeMap<Vni, Segment> = BTreeMap::new();
        for ((vni, peer), counters) in &self.tunnels {
            let segment = segments.entry(*vni).or_default();
            segment.counters += *counters;
            match peer {
                Peer::Local => segment.local += Traffic::from(*counters),
                Peer::Remote(_) => segment.remotes += 1,
                Peer::Unknown => {}
            }
            if *peer != Peer::Local {
                segment.tunnels += Traffic::from(*counters);
            }
        }
        segments
    }

    /// By remote VTEP, of all segments or one.
    #[must_use]
    pub fn vteps(&self, only: Option<Vni>) -> BTreeMap<UnderlayAddr, Vtep> {
        let mut vteps: BTreeMap<UnderlayAddr, Vtep> = BTreeMap::new();
        for ((vni, peer), counters) in &self.tunnels {
            if let Peer::Remote(remote) = peer
                && only.is_none_or(|only| only == *vni)
            {
                let vtep = vteps.entry(*remote).or_default();
                vtep.segments += 1;
                vtep.traffic += Traffic::from(*counters);
            }
        }
        vteps
    }

    /// Into tunnels and out of them, all together.
    #[must_use]
    pub fn total(&self) -> Traffic {
        let mut total = Traffic::default();
        for ((_, peer), counters) in &self.tunnels {
            if *peer != Peer::Local {
                total += Traffic::from(*counters);
            }
        }
        total
    }

    /// Whether a port has that segment, as its own or as a VLAN.
    #[must_use]
    pub fn serves(&self, port: &Port, vni: Vni) -> bool {
        port.vni == Some(vni) || port.device.is_some_and(|device| self.trunks.contains(&(device, vni)))
    }

    /// Dropped packets, for whatever reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.drops.iter().map(|(_, packets)| packets).sum()
    }
}

/// Ports that are wanted, and what those counted that are there.
fn ports(instance: &Instance) -> Result<BTreeMap<String, Port>> {
    let counted = port_counters::by_port(instance)?;
    let ports = devices::ports(instance)?.into_iter().map(|(name, device, port)| {
        let traffic = device.index().and_then(|index| counted.get(&index).copied());
        let (vni, is_trunk) = (port.vni(), port.is_trunk());
        (name.as_str().to_owned(), Port { device: device.index(), vni, is_trunk, traffic })
    });
    Ok(ports.collect())
}

/// The segments of trunk ports.
fn trunks(instance: &Instance) -> Result<BTreeSet<(IfIndex, Vni)>> {
    let mut trunks = BTreeSet::new();
    maps::tags(instance)?.for_each(|key, _| trunks.extend(key.device().zip(key.vni())))?;
    Ok(trunks)
}

fn learned(instance: &Instance, tunnels: &Tunnels) -> Result<BTreeMap<Vni, u64>> {
    let counts = maps::learned::all(instance)?;
    let segments = tunnels.keys().filter(|(_, peer)| *peer == Peer::Local).map(|(vni, _)| *vni);
    let count = |vni| counts.get(&LearnedKey::segment(vni)).copied().unwrap_or_default();
    Ok(segments.map(|vni| (vni, count(vni))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_and_vteps_are_summed_up() {
        let vni = |number| Vni::new(number).expect("1 and more");
        let remote = |last| Peer::Remote(UnderlayAddr::from_ipv4([10, 0, 0, last]));
        let counters = |tx_packets, rx_packets| Counters {
            tx_packets,
            rx_packets,
            tx_bytes: tx_packets * 100,
            flaps: 1,
            ..Counters::default()
        };
        let sample = Sample {
            tunnels: Tunnels::from([
                ((vni(1), Peer::Local), counters(5, 0)),
                ((vni(1), remote(2)), counters(10, 20)),
                ((vni(1), remote(3)), counters(1, 2)),
                ((vni(1), Peer::Unknown), counters(100, 200)),
                ((vni(2), remote(2)), counters(1000, 2000)),
            ]),
            drops: vec![(DropReason::NoRoute, 3), (DropReason::Ecn, 4)],
            ..Sample::empty()
        };
        let segments = sample.segments();
        let first = segments[&vni(1)];
        assert_eq!((first.local.tx_packets, first.remotes, first.counters.flaps), (5, 2, 4));
        assert_eq!((first.tunnels.tx_packets, first.tunnels.rx_packets), (111, 222));
        assert_eq!(segments[&vni(2)].tunnels.tx_bytes, 100_000);
        let vteps = sample.vteps(None);
        let second = vteps[&UnderlayAddr::from_ipv4([10, 0, 0, 2])];
        assert_eq!((vteps.len(), second.segments), (2, 2));
        assert_eq!((second.traffic.tx_packets, second.traffic.rx_packets), (1010, 2020));
        let of_first = sample.vteps(Some(vni(1)));
        assert_eq!(of_first[&UnderlayAddr::from_ipv4([10, 0, 0, 2])].traffic.tx_packets, 10);
        assert_eq!(sample.total().rx_packets, 2222);
        assert_eq!(sample.dropped(), 7);
    }
}
