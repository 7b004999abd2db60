//! What the agent has done so far, for its metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use overlay_common::VtepId;
use prometheus::{Histogram, HistogramOpts};

use crate::{
    error::{Context as _, Result},
    repair::{KINDS, Report},
};

/// How soon after a change a repair has to be over not to count as late.
const PROMPT: Duration = Duration::from_secs(1);

/// Upper bounds of how long repairs take, in seconds.
const BOUNDS: [f64; 9] = [0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Counts since the agent was started.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) started: SystemTime,
    /// Repairs by their kind.
    pub(crate) repairs: BTreeMap<&'static str, u64>,
    /// When everything was last in line.
    pub(crate) looked: Option<SystemTime>,
    /// Times that a repair failed as a whole.
    pub(crate) failures: u64,
    /// What is off, and cannot be repaired.
    pub(crate) warnings: usize,
    /// Times that the kernel told more than could be read.
    pub(crate) lost: u64,
    /// Repairs that were over later than [`PROMPT`] after the change.
    pub(crate) late: u64,
    pub(crate) reloads: u64,
    pub(crate) refused_reloads: u64,
    /// Remote VTEPs that a command named and that a way leads to.
    pub(crate) reached: BTreeSet<VtepId>,
}

/// Shared with whoever shows it.
#[derive(Clone, Debug)]
pub struct Tally {
    counts: Arc<Mutex<Counts>>,
    /// From a change to the end of the repair.
    pub(crate) delays: Histogram,
}

impl Tally {
    /// Nothing so far.
    ///
    /// # Errors
    ///
    /// None that can happen: the metric's name and bounds are right.
    pub fn new() -> Result<Self> {
        let counts = Counts {
            started: SystemTime::now(),
            repairs: KINDS.into_iter().map(|kind| (kind, 0)).collect(),
            looked: None,
            failures: 0,
            warnings: 0,
            lost: 0,
            late: 0,
            reloads: 0,
            refused_reloads: 0,
            reached: BTreeSet::new(),
        };
        let options = HistogramOpts::new(
            "overlay_agent_repair_delay_seconds",
            "From the first change that the kernel told to the end of the repair.",
        );
        let delays = Histogram::with_opts(options.buckets(BOUNDS.to_vec())).context(|| "cannot count")?;
        Ok(Self { counts: Arc::new(Mutex::new(counts)), delays })
    }

    /// As it is now.
    pub(crate) fn counts(&self) -> Counts {
        self.with(|counts| counts.clone())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Counts) -> T) -> T {
        work(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything was looked at.
    pub(super) fn repaired(&self, report: &Report) {
        self.with(|counts| {
            for repair in &report.repairs {
                *counts.repairs.entry(repair.kind()).or_default() += 1;
            }
            counts.looked = Some(SystemTime::now());
            counts.warnings = report.warnings.len();
            counts.reached = report.paths.iter().map(|path| path.vtep).collect();
        });
    }

    /// Looking at it failed.
    pub(super) fn failed(&self) {
        self.with(|counts| counts.failures += 1);
    }

    /// The kernel told more than could be read, so many times.
    pub(super) fn lost(&self, times: u64) {
        self.with(|counts| counts.lost += times);
    }

    /// A change was answered by a repair.
    pub(super) fn answered(&self, delay: Duration) {
        self.delays.observe(delay.as_secs_f64());
        if delay > PROMPT {
            self.with(|counts| counts.late += 1);
        }
    }

    /// The configuration file was applied again, or refused.
    pub(super) fn reloaded(&self, is_done: bool) {
        self.with(|counts| *(if is_done { &mut counts.reloads } else { &mut counts.refused_reloads }) += 1);
    }
}
