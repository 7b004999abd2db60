//! What rates were in the last minutes.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::{board::View, rows::Shown};

/// Moments that are kept.
const LONGEST: usize = 600;

/// Moments that are kept of a row, and rows of a view of which some are: a segment may be one of ten thousand.
const OF_ROW: usize = 120;
const ROWS: usize = 1024;

/// Of one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Bits in a second into tunnels, and out of them.
    pub(super) sent: f64,
    pub(super) received: f64,
    /// Packets in a second that were dropped.
    pub(super) dropped: f64,
    /// For how long that was so.
    seconds: f64,
}

/// The last one is the latest.
#[derive(Debug, Default)]
pub(super) struct History {
    points: VecDeque<Point>,
    rows: HashMap<View, HashMap<String, VecDeque<f64>>>,
}

impl History {
    /// Adds a moment.
    pub(super) fn push(&mut self, shown: &Shown, elapsed: Duration) {
        let rates = shown.rates.unwrap_or_default();
        self.points.push_back(Point {
            sent: rates.tx_bits,
            received: rates.rx_bits,
            dropped: shown.dropped.unwrap_or_default(),
            seconds: elapsed.as_secs_f64(),
        });
        if self.points.len() > LONGEST {
            self.points.pop_front();
        }
        for view in View::OF_ROWS {
            let before = self.rows.entry(view).or_default();
            let mut now = HashMap::new();
            for row in shown.rows(view).iter().take(ROWS) {
                let mut past = before.remove(&row.name).unwrap_or_default();
                past.push_back(row.rates.unwrap_or_default().bits());
                if past.len() > OF_ROW {
                    past.pop_front();
                }
                now.insert(row.name.clone(), past);
            }
            *before = now;
        }
    }

    /// The last moments, the latest first, and for how long they were in all.
    pub(super) fn last(&self, most: usize) -> (Vec<Point>, Duration) {
        let points: Vec<Point> = self.points.iter().rev().take(most).copied().collect();
        let seconds = points.iter().map(|point| point.seconds).sum();
        (points, Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }

    /// A row's last moments in so many characters, the latest on the right.
    pub(super) fn trend(&self, view: View, name: &str, width: usize) -> String {
        const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let Some(past) = self.rows.get(&view).and_then(|rows| rows.get(name)) else { return String::new() };
        let past: Vec<f64> = past.iter().skip(past.len().saturating_sub(width)).copied().collect();
        let most = past.iter().copied().fold(0.0, f64::max);
        let bar =
            |rate: f64| match (1_u8..).zip(HEIGHTS).find(|(step, _)| rate * 8.0 <= most * f64::from(*step)) {
                _ if rate <= 0.0 => ' ',
                Some((_, bar)) => bar,
                None => '█',
            };
        let bars: String = past.into_iter().map(bar).collect();
        format!("{bars:>width$}")
    }
}
