//! `overlay stats --neigh`.

use overlay_common::{Vni, maps::counters::Counters};
use serde::Serialize;

use crate::{
    cli::{
        Session,
        output::{Table, or_dash},
    },
    error::Result,
    instance::Instance,
    maps::counters,
    segment,
};

#[derive(Serialize)]
struct Neighbours {
    neigh: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
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

pub(super) fn show(session: &Session, instance: &Instance, only: Option<Vni>) -> Result<()> {
    if let Some(vni) = only {
        segment::show(instance, Some(vni))?;
    }
    let counters = counters::read(instance)?.into_iter();
    let counters = counters.filter(|((vni, vtep), _)| vtep.is_none() && only.is_none_or(|only| only == *vni));
    let neigh = counters.map(|((vni, _), counters)| row(vni, counters)).collect();
    session.output.print(&Neighbours { neigh }, table)
}

fn row(vni: Vni, counters: Counters) -> Row {
    let Counters { neigh_requests: requests, neigh_answered: answered, .. } = counters;
    Row {
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

fn table(stats: &Neighbours) -> Table {
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
