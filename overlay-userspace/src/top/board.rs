//! What is known, and how it shall be shown.

use std::{collections::BTreeMap, time::Duration};

use overlay_common::UnderlayAddr;

use super::{
    history::History,
    rows::{Row, Shown, Sort},
    theme::Theme,
};
use crate::traffic::{Sample, Span, reach::Reach};

/// What the screen is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum View {
    Overview,
    Segments,
    Vteps,
    Ports,
    Drops,
}

impl View {
    pub(super) const ALL: [Self; 5] = [Self::Overview, Self::Segments, Self::Vteps, Self::Ports, Self::Drops];

    /// Those that show [`Row`]s.
    pub(super) const OF_ROWS: [Self; 3] = [Self::Segments, Self::Vteps, Self::Ports];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Segments => "Segments",
            Self::Vteps => "VTEPs",
            Self::Ports => "Ports",
            Self::Drops => "Drops",
        }
    }
}

/// What keys are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Commands.
    Watch,
    /// The text of the filter; this was it before.
    Filter(String),
    /// Whatever it is, the help goes.
    Help,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) instance: String,
    pub(super) every: Duration,
    pub(super) theme: Theme,
    pub(super) view: View,
    pub(super) mode: Mode,
    pub(super) filter: String,
    pub(super) sort: Sort,
    pub(super) is_reversed: bool,
    pub(super) is_paused: bool,
    /// The place of the chosen row, which may be behind the last one.
    pub(super) chosen: usize,
    pub(super) history: History,
    /// None: it was not looked at yet.
    pub(super) shown: Option<Shown>,
    before: Option<Sample>,
    reached: BTreeMap<UnderlayAddr, Reach>,
}

impl Board {
    pub(super) fn new(instance: &str, every: Duration, theme: Theme) -> Self {
        Self {
            instance: instance.to_owned(),
            every,
            theme,
            view: View::Overview,
            mode: Mode::Watch,
            filter: String::new(),
            sort: Sort::Bits,
            is_reversed: false,
            is_paused: false,
            chosen: 0,
            history: History::default(),
            shown: None,
            before: None,
            reached: BTreeMap::new(),
        }
    }

    /// Takes what was counted until now. While it is paused, nothing of it is shown, but later rates count from there.
    pub(super) fn feed(&mut self, sample: Sample) {
        let span = Span { before: self.before.as_ref(), now: &sample };
        if !self.is_paused {
            let shown = Shown::of(span);
            if let Some(elapsed) = span.elapsed() {
                self.history.push(&shown, elapsed);
            }
            self.shown = Some(shown);
        }
        self.before = Some(sample);
    }

    /// Takes which remote VTEPs a way leads to.
    pub(super) fn note(&mut self, reached: BTreeMap<UnderlayAddr, Reach>) {
        if !self.is_paused {
            self.reached = reached;
        }
    }

    /// Whether a way leads to that remote VTEP; `None`: nobody has looked.
    pub(super) fn reach(&self, remote: UnderlayAddr) -> Option<Reach> {
        self.reached.get(&remote).copied()
    }

    /// How many remote VTEPs no way leads to.
    pub(super) fn unreached(&self) -> usize {
        self.reached.values().filter(|reach| reach.is_amiss()).count()
    }

    /// The rows of a view as they are shown.
    pub(super) fn rows(&self, view: View) -> Vec<&Row> {
        let shown = self.shown.as_ref();
        shown.map(|shown| shown.sorted(view, &self.filter, self.sort, self.is_reversed)).unwrap_or_default()
    }

    /// How many rows the view has.
    pub(super) fn count(&self) -> usize {
        match (self.view, &self.shown) {
            (View::Overview, _) | (_, None) => 0,
            (View::Drops, Some(shown)) => shown.drops(&self.filter, self.sort, self.is_reversed).len(),
            (view, Some(_)) => self.rows(view).len(),
        }
    }
}
