//! Medians, spreads and ratios.

use serde::Serialize;

/// The middle of some values, and how far they reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// The middle one, or the mean of the two in the middle.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Summary {
    /// Of all values; none where there is none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Self { median, min, max })
    }
}

/// Of the ratios of each round, `ours` to `theirs`: what slowed a whole round down cancels out. Rounds in which either was
/// not measured do not count.
pub(crate) fn ratio(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<Summary> {
    let pairs = ours.iter().zip(theirs).filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?));
    Summary::of(pairs.filter(|ratio| ratio.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn summary(median: f64, min: f64, max: f64) -> Summary {
        Summary { median, min, max }
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        assert_eq!(Summary::of([]), None);
        assert_eq!(Summary::of([3.0]), Some(summary(3.0, 3.0, 3.0)));
        assert_eq!(Summary::of([9.0, 1.0]), Some(summary(5.0, 1.0, 9.0)));
        assert_eq!(Summary::of([9.0, 1.0, 2.0]), Some(summary(2.0, 1.0, 9.0)));
        assert_eq!(Summary::of([4.0, 1.0, 2.0, 100.0]), Some(summary(3.0, 1.0, 100.0)));
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // The second round was ten times slower for both: of medians alone the ratio would be 2 / 10.
        let ours = [Some(20.0), Some(2.0), Some(1.0)];
        let theirs = [Some(10.0), Some(1.0), Some(100.0)];
        assert_eq!(ratio(&ours, &theirs), Some(summary(2.0, 0.01, 2.0)));
    }

    #[test]
    fn rounds_without_both_do_not_count() {
        let ours = [None, Some(6.0), Some(7.0), Some(1.0)];
        let theirs = [Some(1.0), Some(2.0), None, Some(0.0)];
        assert_eq!(ratio(&ours, &theirs), Some(summary(3.0, 3.0, 3.0)));
        assert_eq!(ratio(&[None], &[Some(1.0)]), None);
        assert_eq!(ratio(&[], &[]), None);
    }
}
