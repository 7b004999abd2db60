//! `overlay stats`.

use clap::Args;
use overlay_common::{Vni, VtepId, maps::counters::Counters};
use serde::Serialize;

use super::{
    Session,
    output::{Table, or_dash},
};
use crate::{
    error::Result,
    instance::Instance,
    maps::{counters, drops, notices, vteps::Vteps},
    segment,
};

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Stats {
    /// Number of the one segment to show
    #[arg(long)]
    vni: Option<Vni>,
    /// Show what was dropped, and why
    #[arg(long, conflicts_with = "vni")]
    drops: bool,
    /// Show what share of ARP and ND was answered on this host
    #[arg(long, conflicts_with_all = ["drops", "notices"])]
    neigh: bool,
    /// Show what was done besides forwarding and dropping
    #[arg(long, conflicts_with_all = ["vni", "drops"])]
    notices: bool,
}

/// Whose packets, and how many.
type Counted = ((Vni, Option<VtepId>), Counters);

#[derive(Serialize)]
struct Segments {
    segments: Vec<SegmentRow>,
}

#[derive(Serialize)]
struct SegmentRow {
    vni: u32,
    /// The remote VTEP; none: between ports of this host.
    remote: Option<String>,
    tx_packets: u64,
    tx_bytes: u64,
    rx_packets: u64,
    rx_bytes: u64,
    not_learned: u64,
    /// Those of them because of a limit; the others because the FDB is full.
    not_learned_limit: u64,
    not_moved: u64,
    flaps: u64,
    neigh_requests: u64,
    neigh_answered: u64,
}

#[derive(Serialize)]
struct Neighbours {
    neigh: Vec<NeighbourRow>,
}

#[derive(Serialize)]
struct NeighbourRow {
    vni: u32,
    /// Requests to everybody, from ports of this host.
    requests: u64,
    answered: u64,
    /// In percent; none: there were no requests.
    answered_percent: Option<f64>,
    /// Because there is no room.
    not_learned: u64,
    /// Claims of an address that is another's for good.
    refused: u64,
}

#[derive(Serialize)]
struct Notices {
    notices: Vec<NoticeRow>,
}

#[derive(Serialize)]
struct NoticeRow {
    notice: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct Drops {
    drops: Vec<DropRow>,
}

#[derive(Serialize)]
struct DropRow {
    reason: &'static str,
    packets: u64,
}

impl Stats {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let (instance, _) = session.open_with_netlink().await?;
        if self.drops {
            let drops = drops::read(&instance)?;
            let drops = drops
                .into_iter()
                .map(|(reason, packets)| DropRow { reason: reason.name(), packets })
                .collect();
            return session.output.print(&Drops { drops }, drop_table);
        }
        if self.notices {
            return session.output.print(&read_notices(&instance)?, notice_table);
        }
        if let Some(vni) = self.vni {
            segment::show(&instance, Some(vni))?;
        }
        let counters = counters::read(&instance)?.into_iter();
        let counters = counters.filter(|((vni, _), _)| self.vni.is_none_or(|only| only == *vni));
        if self.neigh {
            let neigh = counters.filter(|((_, vtep), _)| vtep.is_none()).map(neighbour_row).collect();
            return session.output.print(&Neighbours { neigh }, neighbour_table);
        }
        let vteps = Vteps::open(&instance)?.all()?;
        let row = |((vni, vtep), counters): Counted| {
            let known = vteps.iter().find(|(id, _)| Some(*id) == vtep);
            SegmentRow {
                vni: vni.get(),
                remote: known.map(|(_, vtep)| vtep.remote().to_string()),
                tx_packets: counters.tx_packets,
                tx_bytes: counters.tx_bytes,
                rx_packets: counters.rx_packets,
                rx_bytes: counters.rx_bytes,
                not_learned: counters.not_learned,
                not_learned_limit: counters.not_learned_limit,
                not_moved: counters.not_moved,
                flaps: counters.flaps,
                neigh_requests: counters.neigh_requests,
                neigh_answered: counters.neigh_answered,
            }
        };
        let segments = counters.map(row).collect();
        session.output.print(&Segments { segments }, segment_table)
    }
}

fn read_notices(instance: &Instance) -> Result<Notices> {
    let notices = notices::read(instance)?.into_iter();
    let notices = notices.map(|(notice, count)| NoticeRow { notice: notice.name(), count }).collect();
    Ok(Notices { notices })
}

fn segment_table(stats: &Segments) -> Table {
    let mut table = Table::new([
        "VNI",
        "REMOTE",
        "TX PACKETS",
        "TX BYTES",
        "RX PACKETS",
        "RX BYTES",
        "NOT LEARNED",
        "NOT MOVED",
        "FLAPS",
    ]);
    for row in &stats.segments {
        table.row([
            row.vni.to_string(),
            or_dash(row.remote.as_ref()),
            row.tx_packets.to_string(),
            row.tx_bytes.to_string(),
            row.rx_packets.to_string(),
            row.rx_bytes.to_string(),
            row.not_learned.to_string(),
            row.not_moved.to_string(),
            row.flaps.to_string(),
        ]);
    }
    table
}

fn neighbour_row(((vni, _), counters): Counted) -> NeighbourRow {
    let Counters { neigh_requests: requests, neigh_answered: answered, .. } = counters;
    NeighbourRow {
        vni: vni.get(),
        requests,
        answered,
        answered_percent: percent(answered, requests),
        not_learned: counters.neigh_not_learned,
        refused: counters.neigh_refused,
    }
}

/// To one decimal.
fn percent(part: u64, whole: u64) -> Option<f64> {
    let tenths = u128::from(part) * 1000 / u128::from((whole > 0).then_some(whole)?);
    u16::try_from(tenths).ok().map(|tenths| f64::from(tenths) / 10.0)
}

fn neighbour_table(stats: &Neighbours) -> Table {
    let mut table = Table::new(["VNI", "REQUESTS", "ANSWERED", "SHARE", "NOT LEARNED", "REFUSED"]);
    for row in &stats.neigh {
        table.row([
            row.vni.to_string(),
            row.requests.to_string(),
            row.answered.to_string(),
            or_dash(row.answered_percent.map(|percent| format!("{percent:.1}%"))),
            row.not_learned.to_string(),
            row.refused.to_string(),
        ]);
    }
    table
}

fn drop_table(drops: &Drops) -> Table {
    let mut table = Table::new(["REASON", "PACKETS"]);
    for row in drops.drops.iter().filter(|row| row.packets > 0) {
        table.row([row.reason.to_owned(), row.packets.to_string()]);
    }
    table
}

fn notice_table(notices: &Notices) -> Table {
    let mut table = Table::new(["NOTICE", "COUNT"]);
    for row in notices.notices.iter().filter(|row| row.count > 0) {
        table.row([row.notice.to_owned(), row.count.to_string()]);
    }
    table
}
