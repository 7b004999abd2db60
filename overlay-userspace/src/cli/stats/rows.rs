//! What `overlay stats` shows of what was counted.

use overlay_common::{DropReason, IfIndex, Notice, UnderlayAddr, Vni, maps::counters::Counters};
use serde::Serialize;

use crate::traffic::{self, Peer, Rates, Span, Traffic};

/// Rows of one kind.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Rows {
    Segments(Vec<Tunnel>),
    Vnis(Vec<Segment>),
    Vteps(Vec<Vtep>),
    Ports(Vec<Port>),
    Drops(Vec<Event>),
    Notices(Vec<Event>),
}

/// What a segment exchanged with one remote VTEP.
#[derive(Serialize)]
pub(super) struct Tunnel {
    pub(super) vni: u32,
    /// The remote VTEP; none: between ports of this host.
    pub(super) remote: Option<String>,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    pub(super) not_learned: u64,
    /// Those of them because of a limit; the others because the FDB is full.
    pub(super) not_learned_limit: u64,
    pub(super) not_moved: u64,
    pub(super) flaps: u64,
    pub(super) neigh_requests: u64,
    pub(super) neigh_answered: u64,
    #[serde(flatten)]
    pub(super) rates: Option<Rates>,
}

/// What a segment exchanged with all remote VTEPs.
#[derive(Serialize)]
pub(super) struct Segment {
    pub(super) vni: u32,
    /// Remote VTEPs that it reaches.
    pub(super) remotes: usize,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    /// Between ports of this host.
    pub(super) local_packets: u64,
    pub(super) local_bytes: u64,
    /// Stations that are learned.
    pub(super) learned: u64,
    #[serde(flatten)]
    pub(super) rates: Option<Rates>,
    #[serde(flatten)]
    pub(super) local_rates: Option<LocalRates>,
}

#[derive(Serialize)]
pub(super) struct LocalRates {
    pub(super) local_packets_per_second: f64,
    pub(super) local_bits_per_second: f64,
}

/// What all segments exchanged with a remote VTEP.
#[derive(Serialize)]
pub(super) struct Vtep {
    pub(super) remote: String,
    /// Segments that reach it.
    pub(super) segments: usize,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    #[serde(flatten)]
    pub(super) rates: Option<Rates>,
}

/// What went through a port; none while its device is gone.
#[derive(Serialize)]
pub(super) struct Port {
    #[serde(rename = "port")]
    pub(super) name: String,
    /// 0: the device is gone.
    pub(super) ifindex: u32,
    pub(super) vni: Option<u32>,
    pub(super) present: bool,
    #[serde(flatten)]
    pub(super) traffic: Option<Traffic>,
    #[serde(flatten)]
    pub(super) rates: Option<Rates>,
}

/// How often something happened: a drop, or what a notice is about.
#[derive(Serialize)]
pub(super) struct Event {
    #[serde(flatten)]
    pub(super) what: What,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per_second: Option<f64>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum What {
    Drop { reason: &'static str, packets: u64 },
    Notice { notice: &'static str, count: u64 },
}

impl What {
    pub(super) const fn parts(&self) -> (&'static str, u64) {
        match self {
            Self::Drop { reason: name, packets: count } | Self::Notice { notice: name, count } => {
                (*name, *count)
            }
        }
    }
}

impl Tunnel {
    /// Those of all segments, or one.
    pub(super) fn all(span: Span<'_>, only: Option<Vni>) -> Vec<Self> {
        let tunnels = span.tunnels().filter(|(vni, ..)| only.is_none_or(|only| only == *vni));
        let row = |(vni, peer, counters, rates): (Vni, Peer, &Counters, _)| Self {
            vni: vni.get(),
            remote: if let Peer::Remote(remote) = peer { Some(remote.to_string()) } else { None },
            traffic: Traffic::from(*counters),
            not_learned: counters.not_learned,
            not_learned_limit: counters.not_learned_limit,
            not_moved: counters.not_moved,
            flaps: counters.flaps,
            neigh_requests: counters.neigh_requests,
            neigh_answered: counters.neigh_answered,
            rates,
        };
        tunnels.map(row).collect()
    }
}

impl Segment {
    /// All of them, or one.
    pub(super) fn all(span: Span<'_>, only: Option<Vni>) -> Vec<Self> {
        let segments = span.segments().filter(|(vni, ..)| only.is_none_or(|only| only == *vni));
        let row = |(vni, segment, [rates, local]): (Vni, traffic::Segment, [Option<Rates>; 2])| Self {
            vni: vni.get(),
            remotes: segment.remotes,
            traffic: segment.tunnels,
            local_packets: segment.local.tx_packets,
            local_bytes: segment.local.tx_bytes,
            learned: span.now.learned.get(&vni).copied().unwrap_or_default(),
            rates,
            local_rates: local.map(|rates| LocalRates {
                local_packets_per_second: rates.tx_packets,
                local_bits_per_second: rates.tx_bits,
            }),
        };
        segments.map(row).collect()
    }
}

impl Vtep {
    /// Those of all segments, or one.
    pub(super) fn all(span: Span<'_>, only: Option<Vni>) -> Vec<Self> {
        let row = |(remote, vtep, rates): (UnderlayAddr, traffic::Vtep, _)| Self {
            remote: remote.to_string(),
            segments: vtep.segments,
            traffic: vtep.traffic,
            rates,
        };
        span.vteps(only).map(row).collect()
    }
}

impl Port {
    /// Those of all segments, or one; all that went through them.
    pub(super) fn all(span: Span<'_>, only: Option<Vni>) -> Vec<Self> {
        let ports = span.ports().filter(|(_, port, _)| only.is_none_or(|vni| span.now.serves(port, vni)));
        let row = |(name, port, rates): (&str, &traffic::Port, _)| Self {
            name: name.to_owned(),
            ifindex: port.device.map_or(0, IfIndex::get),
            vni: port.vni.map(Vni::get),
            present: port.device.is_some(),
            traffic: port.traffic,
            rates,
        };
        ports.map(row).collect()
    }
}

impl Event {
    pub(super) fn drops(counts: impl Iterator<Item = (DropReason, u64, Option<f64>)>) -> Vec<Self> {
        let row = |(reason, packets, per_second): (DropReason, _, _)| Self {
            what: What::Drop { reason: reason.name(), packets },
            per_second,
        };
        counts.map(row).collect()
    }

    pub(super) fn notices(counts: impl Iterator<Item = (Notice, u64, Option<f64>)>) -> Vec<Self> {
        let row = |(notice, count, per_second): (Notice, _, _)| Self {
            what: What::Notice { notice: notice.name(), count },
            per_second,
        };
        counts.map(row).collect()
    }
}

impl Rows {
    /// What programs know them by.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Segments(_) => "segments",
            Self::Vnis(_) => "vnis",
            Self::Vteps(_) => "vteps",
            Self::Ports(_) => "ports",
            Self::Drops(_) => "drops",
            Self::Notices(_) => "notices",
        }
    }
}
