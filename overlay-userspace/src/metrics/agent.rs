//! What the agent itself does.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, Opts, Result};

use super::page::Page;
use crate::agent::Tally;

/// Adds it to a page.
pub(super) fn add(page: &Page, tally: &Tally) -> Result<()> {
    let counts = tally.counts();
    let repairs = counts.repairs.iter().map(|(kind, count)| ([(*kind).to_owned()], *count));
    page.counter("overlay_agent_repairs_total", "What the agent repaired, by kind.", ["repair"], repairs)?;
    for (name, help, count) in [
        ("overlay_agent_repair_failures_total", "Times that a repair failed as a whole.", counts.failures),
        (
            "overlay_agent_late_repairs_total",
            "Repairs that were over more than a second after the change.",
            counts.late,
        ),
        (
            "overlay_agent_event_losses_total",
            "Times that the kernel told more than the agent could read, which then looked at everything again.",
            counts.lost,
        ),
    ] {
        page.counter(name, help, [], [([], count)])?;
    }
    page.counter(
        "overlay_agent_reloads_total",
        "Times that the configuration file was applied again, or refused.",
        ["result"],
        [(["done".to_owned()], counts.reloads), (["refused".to_owned()], counts.refused_reloads)],
    )?;
    page.gauge(
        "overlay_agent_warnings",
        "What is off and cannot be repaired.",
        [],
        [([], counts.warnings as u64)],
    )?;
    time(page, "overlay_agent_start_time_seconds", "When the agent was started.", counts.started)?;
    if let Some(looked) = counts.looked {
        time(page, "overlay_agent_last_repair_time_seconds", "When everything was last in line.", looked)?;
    }
    page.add(tally.delays.clone())
}

/// Adds a time, in seconds since 1970.
fn time(page: &Page, name: &str, help: &str, time: SystemTime) -> Result<()> {
    let gauge = Gauge::with_opts(Opts::new(name, help))?;
    gauge.set(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    page.add(gauge)
}
