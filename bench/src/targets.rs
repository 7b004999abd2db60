//! What is to be reached, as ratios of medians within one run.

use serde::Serialize;

use crate::{figure::Figure, peer::Peer, results::Results, setting::Setting};

/// One ratio, and the bound on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    setting: Setting,
    figure: Figure,
    ours: Peer,
    against: Peer,
    bound: Bound,
}

/// A bound that holds itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bound {
    /// That much or more.
    AtLeast(f64),
    /// That much or less.
    AtMost(f64),
}

/// A target, and what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Outcome {
    /// In this setting,
    pub(crate) setting: Setting,
    /// this figure
    pub(crate) figure: Figure,
    /// of this peer
    pub(crate) ours: Peer,
    /// divided by that of this peer
    pub(crate) against: Peer,
    /// shall be so,
    pub(crate) bound: Bound,
    /// and was this, if both were measured.
    pub(crate) measured: Option<f64>,
    /// Whether it is as it shall be.
    pub(crate) reached: Option<bool>,
}

/// All of them.
#[rustfmt::skip]
const TARGETS: [Target; 18] = {
    use {Bound::{AtLeast, AtMost}, Figure::{LiveFrames, RequestsP50, Tcp1, Udp64}, Peer::{Floor, Kernel, OursIpv6, OursNative}, Setting::{Super, Wire}};
    const OURS: Peer = Peer::OURS;
    [
        Target { setting: Super, figure: Tcp1,        ours: OURS, against: Kernel, bound: AtLeast(1.28) },
        Target { setting: Super, figure: Tcp1,        ours: OURS, against: Floor,  bound: AtLeast(0.95) },
        Target { setting: Super, figure: Udp64,       ours: OURS, against: Kernel, bound: AtLeast(1.90) },
        Target { setting: Super, figure: Udp64,       ours: OURS, against: Floor,  bound: AtLeast(0.93) },
        Target { setting: Super, figure: RequestsP50, ours: OURS, against: Kernel, bound: AtMost(0.50) },
        Target { setting: Super, figure: RequestsP50, ours: OURS, against: Floor,  bound: AtMost(1.20) },
        Target { setting: Wire,  figure: Tcp1,        ours: OURS, against: Kernel, bound: AtLeast(1.10) },
        Target { setting: Wire,  figure: Tcp1,        ours: OURS, against: Floor,  bound: AtLeast(0.92) },
        Target { setting: Wire,  figure: Udp64,       ours: OURS, against: Kernel, bound: AtLeast(1.65) },
        Target { setting: Wire,  figure: Udp64,       ours: OURS, against: Floor,  bound: AtLeast(0.86) },
        Target { setting: Super, figure: Tcp1,        ours: OursIpv6, against: OURS, bound: AtLeast(0.95) },
        Target { setting: Super, figure: Udp64,       ours: OursIpv6, against: OURS, bound: AtLeast(0.95) },
        Target { setting: Super, figure: RequestsP50, ours: OursIpv6, against: OURS, bound: AtMost(1.05) },
        Target { setting: Wire,  figure: Tcp1,        ours: OursIpv6, against: OURS, bound: AtLeast(0.95) },
        Target { setting: Wire,  figure: Udp64,       ours: OursIpv6, against: OURS, bound: AtLeast(0.95) },
        Target { setting: Wire,  figure: RequestsP50, ours: OursIpv6, against: OURS, bound: AtMost(1.05) },
        Target { setting: Wire,  figure: LiveFrames,  ours: OursNative, against: Kernel, bound: AtLeast(4.00) },
        Target { setting: Wire,  figure: LiveFrames,  ours: OursNative, against: Floor,  bound: AtLeast(0.80) },
    ]
};

impl Bound {
    /// Whether a value is within it.
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// How every target stands.
pub(crate) fn outcomes(results: &Results) -> Vec<Outcome> {
    let outcome = |target: &Target| {
        let Target { setting, figure, ours, against, bound } = *target;
        let measured = results.ratio((setting, ours, figure), against).map(|ratio| ratio.median);
        Outcome {
            setting,
            figure,
            ours,
            against,
            bound,
            measured,
            reached: measured.map(|value| bound.holds(value)),
        }
    };
    TARGETS.iter().map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_reached_missed_or_not_measured() {
        let mut results = Results::default();
        for (peer, tcp, p50) in
            [(Peer::OURS, 12.8, 6.0), (Peer::Kernel, 10.0, 11.0), (Peer::Floor, 20.0, 5.0)]
        {
            results.add(Setting::Super, peer, 0, vec![(Figure::Tcp1, tcp), (Figure::RequestsP50, p50)]);
        }
        let outcomes = outcomes(&results);
        let reached = |figure, against| {
            outcomes
                .iter()
                .find(|outcome| {
                    (outcome.setting, outcome.figure, outcome.against) == (Setting::Super, figure, against)
                })
                .and_then(|outcome| outcome.reached)
        };
        assert_eq!(reached(Figure::Tcp1, Peer::Kernel), Some(true));
        assert_eq!(reached(Figure::Tcp1, Peer::Floor), Some(false));
        assert_eq!(reached(Figure::RequestsP50, Peer::Kernel), Some(false));
        assert_eq!(reached(Figure::RequestsP50, Peer::Floor), Some(true));
        assert_eq!(reached(Figure::Udp64, Peer::Kernel), None);
    }
}
