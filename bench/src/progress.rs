//! How far it has got: a bar on a terminal, a line now and then elsewhere.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Plan;

/// How often a run without a terminal says where it is.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// On stderr, whose lines nobody reads by program.
pub(crate) struct Progress {
    bar: ProgressBar,
    last_sign: Cell<Instant>,
}

impl Progress {
    /// Of all measurements of a plan.
    pub(crate) fn of(plan: &Plan) -> Self {
        let runs = plan.settings.len() * plan.peers.len() * plan.probes.len() * plan.rounds as usize;
        let bar = ProgressBar::new(runs as u64);
        if let Ok(style) =
            ProgressStyle::with_template("{wide_bar} {pos}/{len}, {elapsed}, {eta} to go\n{msg:.dim}")
        {
            bar.set_style(style);
        }
        Self { bar, last_sign: Cell::new(Instant::now()) }
    }

    /// Says what is going on.
    pub(crate) fn say(&self, what: String) {
        if self.bar.is_hidden() && self.last_sign.get().elapsed() >= SIGN_OF_LIFE {
            self.last_sign.set(Instant::now());
            eprintln!("bench: {}/{}: {what}", self.bar.position(), self.bar.length().unwrap_or(0));
        }
        self.bar.set_message(what);
    }

    /// One is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// So many will not be.
    pub(crate) fn skip(&self, count: usize) {
        self.bar.dec_length(count as u64);
    }

    /// All are done.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
