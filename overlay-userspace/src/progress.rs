//! A bar on the terminal while something takes long. Programs that read what we print never see one.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// What takes less is over before anybody could read it.
const LONG: Duration = Duration::from_millis(500);

/// Whether people look on: nobody does where JSON is asked for.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// Has bars be shown from now on, where standard error is a terminal.
pub(crate) fn show() {
    IS_SHOWN.store(true, Ordering::Relaxed);
}

/// How much of some work is done. The bar goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    all: usize,
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins work on so many things, called `what`.
    pub(crate) fn of(what: &'static str, all: usize) -> Self {
        Self { what, all, begun: Instant::now(), bar: None }
    }

    /// So many are done.
    pub(crate) fn at(&mut self, done: usize) {
        if self.bar.is_none() && self.begun.elapsed() >= LONG && IS_SHOWN.load(Ordering::Relaxed) {
            self.bar = Some(bar(self.what, self.all));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// On standard error, unless that is no terminal: then it stays hidden.
fn bar(what: &'static str, all: usize) -> ProgressBar {
    let bar = ProgressBar::new(all as u64).with_prefix(what);
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len}, {eta} left");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_for_people_and_for_what_takes_long() {
        let (mut new, mut old) = (Progress::of("stations", 10), Progress::of("stations", 10));
        old.begun = old.begun.checked_sub(LONG).expect("a clock that has run for a while");
        old.at(1);
        assert!(old.bar.is_none(), "nobody looks on");
        show();
        old.at(2);
        new.at(2);
        assert_eq!(old.bar.as_ref().map(ProgressBar::position), Some(2));
        assert!(new.bar.is_none(), "it has not taken long");
    }
}
