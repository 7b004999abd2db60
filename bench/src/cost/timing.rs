//! Nanoseconds of a program, alone.
//!
//! `BPF_PROG_TEST_RUN` can repeat a run, but on the same frame: a program that encapsulates would get its own output. So each
//! run is a call of its own with a fresh frame. What the call itself adds, two looks at the clock and cold caches behind a
//! system call, a program that does nothing shows: it is run in between, and its median taken off.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::stop;

/// Runs of one program before it is the other's turn.
const TURN: usize = 500;

/// The middle of many values, and of the halves below and above it: their extremes are interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Quartiles {
    /// A quarter of the values is below.
    pub(crate) lower: f64,
    /// Half of them is.
    pub(crate) median: f64,
    /// Three quarters are.
    pub(crate) upper: f64,
}

/// How long runs of `program` take in nanoseconds, less what those of `nothing` take. Both run as often as they are told.
pub(crate) fn compare(
    times: usize,
    mut program: impl FnMut(usize) -> Result<Vec<Duration>>,
    mut nothing: impl FnMut(usize) -> Result<Vec<Duration>>,
) -> Result<Quartiles> {
    let (mut own, mut empty) = (Vec::new(), Vec::new());
    while own.len() < times {
        stop::check()?;
        empty.extend(nothing(TURN)?);
        own.extend(program(TURN)?);
    }
    quartiles_above(&own, &empty).context("nothing was run")
}

/// The quartiles of `own`, less the median of `empty`.
fn quartiles_above(own: &[Duration], empty: &[Duration]) -> Option<Quartiles> {
    let (own, empty) = (sorted(own), sorted(empty));
    let base = *empty.get(empty.len() / 2)?;
    let at = |part: usize| own.get(own.len() * part / 4).map(|value| value - base);
    Some(Quartiles { lower: at(1)?, median: at(2)?, upper: at(3)? })
}

fn sorted(durations: &[Duration]) -> Vec<f64> {
    let mut nanoseconds: Vec<f64> = durations.iter().map(|duration| duration.as_secs_f64() * 1e9).collect();
    nanoseconds.sort_by(f64::total_cmp);
    nanoseconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_program_and_interrupts_are_taken_off() {
        let nanoseconds = |all: &[u64]| all.iter().copied().map(Duration::from_nanos).collect::<Vec<_>>();
        let own = nanoseconds(&[140, 160, 150, 90_000]);
        let empty = nanoseconds(&[50, 7_000, 40]);
        let quartiles = quartiles_above(&own, &empty).unwrap();
        let shown = [quartiles.lower, quartiles.median, quartiles.upper].map(|value| format!("{value:.0}"));
        assert_eq!(shown, ["100", "110", "89950"]);
        assert_eq!(quartiles_above(&[], &empty), None);
    }
}
