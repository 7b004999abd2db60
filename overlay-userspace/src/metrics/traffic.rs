//! Packets and bytes, and what else is counted for segments.

use std::collections::{BTreeMap, BTreeSet};

use overlay_common::{Vni, maps::counters::Counters};
use prometheus::Result;

use super::page::Page;
use crate::{
    instance::Instance,
    traffic::{Peer, tunnels},
};

/// Tunnels and segments that are shown one by one. Beyond, they are summed up: by segment, or all in all.
pub(super) const MOST: usize = 4096;

/// Stands for all segments, or all remote VTEPs, together.
const ALL: &str = "all";

/// By the labels `vni` and `vtep`.
pub(super) type Traffic = BTreeMap<(String, String), Counters>;

/// How much is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    Tunnels,
    Segments,
    Nothing,
}

impl Detail {
    fn of(keys: impl Iterator<Item = (Vni, Peer)> + Clone) -> Self {
        if keys.clone().count() <= MOST {
            return Self::Tunnels;
        }
        let segments: BTreeSet<Vni> = keys.map(|(vni, _)| vni).collect();
        if segments.len() <= MOST { Self::Segments } else { Self::Nothing }
    }
}

/// Reads what was counted.
pub(super) fn read(instance: &Instance) -> crate::Result<Traffic> {
    let counted = tunnels(instance)?;
    let detail = Detail::of(counted.keys().copied());
    let mut traffic = Traffic::new();
    for ((vni, peer), counters) in counted {
        let labels = match detail {
            Detail::Tunnels => (vni.get().to_string(), peer.to_string()),
            Detail::Segments => (vni.get().to_string(), ALL.to_owned()),
            Detail::Nothing => (ALL.to_owned(), ALL.to_owned()),
        };
        *traffic.entry(labels).or_default() += counters;
    }
    Ok(traffic)
}

/// Adds it to a page.
pub(super) fn add(page: &Page, traffic: &Traffic) -> Result<()> {
    let both = |of: fn(&Counters) -> [u64; 2]| {
        let row = move |((vni, vtep), counters): (&(String, String), &Counters)| {
            let [tx, rx] = of(counters);
            [("tx", tx), ("rx", rx)]
                .map(|(direction, count)| ([vni.clone(), vtep.clone(), direction.to_owned()], count))
        };
        traffic.iter().flat_map(row)
    };
    let labels = ["vni", "vtep", "direction"];
    page.counter(
        "overlay_packets_total",
        "Frames of a segment to and from a remote VTEP; tx: from ports of this host.",
        labels,
        both(|counters| [counters.tx_packets, counters.rx_packets]),
    )?;
    page.counter(
        "overlay_bytes_total",
        "Their bytes, Ethernet header included.",
        labels,
        both(|counters| [counters.tx_bytes, counters.rx_bytes]),
    )?;
    of_segments(page, traffic)
}

/// Adds what is counted for segments as a whole.
fn of_segments(page: &Page, traffic: &Traffic) -> Result<()> {
    let mut segments: BTreeMap<&String, Counters> = BTreeMap::new();
    for ((vni, _), counters) in traffic {
        *segments.entry(vni).or_default() += *counters;
    }
    let refused = segments.iter().flat_map(|(vni, counters)| {
        let full = counters.not_learned.saturating_sub(counters.not_learned_limit);
        [("limit", counters.not_learned_limit), ("full", full), ("pinned", counters.not_moved)]
            .map(|(reason, count)| ([(*vni).clone(), reason.to_owned()], count))
    });
    page.counter(
        "overlay_learning_refused_total",
        "Frames whose source was not learned: for a limit, a full FDB, or because it is pinned elsewhere.",
        ["vni", "reason"],
        refused,
    )?;
    let each = |of: fn(&Counters) -> u64| {
        segments.iter().map(move |(vni, counters)| ([(*vni).clone()], of(counters)))
    };
    page.counter(
        "overlay_station_flaps_total",
        "Times that a station began to flap.",
        ["vni"],
        each(|counters| counters.flaps),
    )?;
    page.counter(
        "overlay_neighbour_requests_total",
        "ARP and ND requests to everybody, from ports of this host, in segments that suppress them.",
        ["vni"],
        each(|counters| counters.neigh_requests),
    )?;
    page.counter(
        "overlay_neighbour_answers_total",
        "Those of them that were answered on this host.",
        ["vni"],
        each(|counters| counters.neigh_answered),
    )?;
    page.counter(
        "overlay_neighbour_learning_refused_total",
        "Neighbours that were not learned: for lack of room, or because the address is another's for good.",
        ["vni", "reason"],
        segments.iter().flat_map(|(vni, counters)| {
            [("full", counters.neigh_not_learned), ("pinned", counters.neigh_refused)]
                .map(|(reason, count)| ([(*vni).clone(), reason.to_owned()], count))
        }),
    )
}

#[cfg(test)]
mod tests {
    use overlay_common::UnderlayAddr;

    use super::*;

    fn keys(segments: u32, vteps: u16) -> impl Iterator<Item = (Vni, Peer)> + Clone {
        let vni = |number| Vni::new(number).expect("1 and more");
        let peer = |id: u16| {
            let [high, low] = id.to_be_bytes();
            Peer::Remote(UnderlayAddr::from_ipv4([10, 0, high, low]))
        };
        (1..=segments).flat_map(move |number| (1..=vteps).map(move |id| (vni(number), peer(id))))
    }

    #[test]
    fn series_are_bounded() {
        assert_eq!(Detail::of(keys(4, 1024)), Detail::Tunnels);
        assert_eq!(Detail::of(keys(4, 1025)), Detail::Segments);
        assert_eq!(Detail::of(keys(4096, 2)), Detail::Segments);
        assert_eq!(Detail::of(keys(4097, 1)), Detail::Nothing);
    }
}
