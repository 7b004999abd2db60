//! `overlay stats`.

use clap::Args;
use overlay_common::Vni;
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
    /// Show what was done besides forwarding and dropping
    #[arg(long, conflicts_with_all = ["vni", "drops"])]
    notices: bool,
}

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
    pub(super) fn run(self, session: &Session) -> Result<()> {
        let instance = session.open()?;
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
        let vteps = Vteps::open(&instance)?.all()?;
        let row = |((vni, vtep), counters): ((Vni, Option<_>), overlay_common::maps::counters::Counters)| {
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
            }
        };
        let counters = counters::read(&instance)?.into_iter();
        let segments =
            counters.filter(|((vni, _), _)| self.vni.is_none_or(|only| only == *vni)).map(row).collect();
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
