//! What is shown of one moment: rows with their rates, sorted and filtered.

use std::{cmp::Ordering, time::SystemTime};

use overlay_common::{UnderlayAddr, Vni};

use super::board::View;
use crate::traffic::{Rates, Span, Traffic};

/// A segment, a remote VTEP, or a port.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) about: About,
    pub(super) traffic: Traffic,
    pub(super) rates: Option<Rates>,
}

/// What is told of only one kind of rows.
#[derive(Clone, Debug)]
pub(super) enum About {
    Segment { remotes: usize, learned: u64, local: Option<Rates> },
    Vtep { remote: UnderlayAddr, segments: usize },
    Port { segment: String, is_present: bool },
}

/// Packets that were dropped for a reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drops {
    pub(super) reason: &'static str,
    pub(super) packets: u64,
    pub(super) rate: Option<f64>,
}

/// What rows are sorted by; all but names the largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Bits,
    Packets,
    Sent,
    Received,
    Total,
    Name,
}

impl Sort {
    pub(super) const ALL: [Self; 6] =
        [Self::Bits, Self::Packets, Self::Sent, Self::Received, Self::Total, Self::Name];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bits => "bits",
            Self::Packets => "packets",
            Self::Sent => "tx bits",
            Self::Received => "rx bits",
            Self::Total => "total",
            Self::Name => "name",
        }
    }

    fn compare(self, one: &Row, two: &Row) -> Ordering {
        let by = |of: fn(&Rates) -> f64| {
            let of = |row: &Row| row.rates.as_ref().map_or(-1.0, of);
            of(two).total_cmp(&of(one))
        };
        match self {
            Self::Bits => by(Rates::bits),
            Self::Packets => by(Rates::packets),
            Self::Sent => by(|rates| rates.tx_bits),
            Self::Received => by(|rates| rates.rx_bits),
            Self::Total => two.traffic.bytes().cmp(&one.traffic.bytes()),
            Self::Name => Ordering::Equal,
        }
    }

    fn compare_drops(self, one: &Drops, two: &Drops) -> Ordering {
        match self {
            Self::Name => one.reason.cmp(two.reason),
            Self::Total => two.packets.cmp(&one.packets),
            // There is but one rate.
            _ => two.rate.unwrap_or(-1.0).total_cmp(&one.rate.unwrap_or(-1.0)),
        }
    }
}

/// Of one moment, rows in the order of their keys.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) time: SystemTime,
    segments: Vec<Row>,
    vteps: Vec<Row>,
    ports: Vec<Row>,
    drops: Vec<Drops>,
    /// In tunnels, all together.
    pub(super) rates: Option<Rates>,
    /// Packets in a second, for whatever reason.
    pub(super) dropped: Option<f64>,
}

impl Shown {
    pub(super) fn of(span: Span<'_>) -> Self {
        let segments = span.segments().map(|(vni, segment, [rates, local])| Row {
            name: vni.get().to_string(),
            about: About::Segment {
                remotes: segment.remotes,
                learned: span.now.learned.get(&vni).copied().unwrap_or_default(),
                local,
            },
            traffic: segment.tunnels,
            rates,
        });
        let vteps = span.vteps(None).map(|(remote, vtep, rates)| Row {
            name: remote.to_string(),
            about: About::Vtep { remote, segments: vtep.segments },
            traffic: vtep.traffic,
            rates,
        });
        let ports = span.ports().map(|(name, port, rates)| {
            let segment = match (port.is_trunk, port.vni.map(Vni::get)) {
                (false, vni) => vni.map_or_else(|| "-".to_owned(), |vni| vni.to_string()),
                (true, None) => "trunk".to_owned(),
                (true, Some(native)) => format!("{native}, trunk"),
            };
            Row {
                name: name.to_owned(),
                about: About::Port { segment, is_present: port.device.is_some() },
                traffic: port.traffic.unwrap_or_default(),
                rates,
            }
        });
        let drops: Vec<Drops> = span
            .counts(|sample| &sample.drops)
            .map(|(reason, packets, rate)| Drops { reason: reason.name(), packets, rate })
            .collect();
        Self {
            time: span.now.time,
            segments: segments.collect(),
            vteps: vteps.collect(),
            ports: ports.collect(),
            rates: span.total(),
            dropped: drops.iter().map(|row| row.rate).sum(),
            drops,
        }
    }

    /// The rows of a view.
    pub(super) fn rows(&self, view: View) -> &[Row] {
        match view {
            View::Segments => &self.segments,
            View::Vteps => &self.vteps,
            View::Ports => &self.ports,
            View::Overview | View::Drops => &[],
        }
    }

    /// Those that match a filter, sorted.
    pub(super) fn sorted(&self, view: View, filter: &str, sort: Sort, is_reversed: bool) -> Vec<&Row> {
        let matches = |row: &&Row| row.name.contains(filter) || row.belongs_to(filter);
        let mut rows: Vec<&Row> = self.rows(view).iter().filter(matches).collect();
        rows.sort_by(|one, two| sort.compare(one, two));
        if is_reversed {
            rows.reverse();
        }
        rows
    }

    /// What was dropped, likewise; reasons that never were are left out.
    pub(super) fn drops(&self, filter: &str, sort: Sort, is_reversed: bool) -> Vec<Drops> {
        let matches = |row: &&Drops| row.packets > 0 && row.reason.contains(filter);
        let mut rows: Vec<Drops> = self.drops.iter().filter(matches).copied().collect();
        rows.sort_by(|one, two| sort.compare_drops(one, two));
        if is_reversed {
            rows.reverse();
        }
        rows
    }
}

impl Row {
    /// Whether it is a port of such a segment.
    fn belongs_to(&self, filter: &str) -> bool {
        matches!(&self.about, About::Port { segment, .. } if segment.contains(filter))
    }
}
