//! The highest rate at which little enough is lost.

use anyhow::{Context as _, Result};

/// A rate that is found to be fine and one that is not are near enough at this ratio.
const NEAR: f64 = 1.05;

/// How much less than what came through at too high a rate is offered next.
const STEP: f64 = 0.97;

/// What came of a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trial {
    /// Packets a second that were sent.
    pub(super) sent: f64,
    /// Packets a second that arrived.
    pub(super) received: f64,
    /// Packets that arrived for each second of CPU.
    pub(super) per_cpu_second: f64,
}

impl Trial {
    fn loss(&self) -> f64 {
        1.0 - self.received / self.sent
    }
}

/// Tries rates, in packets a second, at first without a limit, `trials` of them at most, and returns the best trial that
/// lost a share of `tolerable` at most.
///
/// # Errors
///
/// When a trial fails, or too much was lost at every rate.
pub(super) fn search(
    tolerable: f64,
    trials: u32,
    mut offer: impl FnMut(Option<f64>) -> Result<Trial>,
) -> Result<Trial> {
    let mut best: Option<Trial> = None;
    let mut next = None;
    // The lowest rate at which too much was lost.
    let mut too_high = f64::INFINITY;
    let mut last_loss = 0.0;
    for _ in 0..trials {
        let trial = offer(next)?;
        last_loss = trial.loss();
        if last_loss <= tolerable {
            if best.is_none_or(|best| trial.received > best.received) {
                best = Some(trial);
            }
            if too_high.is_infinite() {
                break;
            }
        } else {
            too_high = too_high.min(trial.sent);
        }
        let fine = best.map_or(0.0, |best| best.received);
        if too_high <= fine * NEAR {
            break;
        }
        // Below what is lossy: what came through where nothing else is known, then the middle.
        next = Some(if best.is_none() { trial.received * STEP } else { f64::midpoint(fine, too_high) });
    }
    best.with_context(|| format!("{:.1} % were lost even at the lowest rate tried", last_loss * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that carries `capacity`, and loses what is more; the sender cannot send more than `fastest`.
    fn path(capacity: f64, fastest: f64) -> impl Fn(Option<f64>) -> Result<Trial> {
        move |offered| {
            let sent = offered.unwrap_or(f64::INFINITY).min(fastest);
            Ok(Trial { sent, received: sent.min(capacity), per_cpu_second: 0.0 })
        }
    }

    #[test]
    fn a_sender_that_the_path_keeps_up_with_is_tried_once() {
        let mut trials = 0;
        let path = path(300.0, 200.0);
        let best = search(0.005, 6, |offered| {
            trials += 1;
            path(offered)
        });
        assert_eq!((best.unwrap().received, trials), (200.0, 1));
    }

    #[test]
    fn the_rate_of_a_slower_path_is_found_from_below() {
        for capacity in [10.0, 100.0, 199.0, 499.0] {
            let best = search(0.005, 6, path(capacity, 500.0)).unwrap();
            assert!(best.loss() <= 0.005, "{best:?}");
            assert!((0.95..=1.0).contains(&(best.received / capacity)), "{best:?} of {capacity}");
        }
    }

    #[test]
    fn a_path_that_always_loses_more_than_that_has_no_rate() {
        let lossy = |share: f64| {
            move |offered: Option<f64>| {
                let sent = offered.unwrap_or(100.0);
                Ok(Trial { sent, received: sent * (1.0 - share), per_cpu_second: 0.0 })
            }
        };
        assert!(search(0.005, 6, lossy(0.004)).is_ok());
        assert!(search(0.005, 6, lossy(0.006)).is_err());
        let error = search(0.005, 6, lossy(0.1)).unwrap_err().to_string();
        assert!(error.contains("10.0 %"), "{error}");
    }
}
