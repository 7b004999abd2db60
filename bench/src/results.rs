//! What was measured, and what could not be.

use std::collections::BTreeMap;

use crate::{
    figure::Figure,
    peer::Peer,
    probe::{Probe, Value},
    setting::Setting,
    stats::{self, Summary},
};

/// Whose figure it is.
pub(crate) type Key = (Setting, Peer, Figure);

/// All values, by round.
#[derive(Debug, Default)]
pub(crate) struct Results {
    values: BTreeMap<Key, Vec<Option<f64>>>,
    unable: BTreeMap<(Setting, Peer), String>,
    failures: BTreeMap<(Setting, Peer, Probe), String>,
}

impl Results {
    /// Notes that a peer cannot run in a setting.
    pub(crate) fn unable(&mut self, setting: Setting, peer: Peer, why: String) {
        self.unable.insert((setting, peer), why);
    }

    /// Notes the values of a round, which come in order.
    pub(crate) fn add(&mut self, setting: Setting, peer: Peer, round: usize, values: Vec<Value>) {
        for (figure, value) in values {
            let rounds = self.values.entry((setting, peer, figure)).or_default();
            rounds.resize(round, None);
            rounds.push(value.is_finite().then_some(value));
        }
    }

    /// Notes that a measurement failed.
    pub(crate) fn failed(&mut self, setting: Setting, peer: Peer, probe: Probe, why: String) {
        self.failures.insert((setting, peer, probe), why);
    }

    /// The values of a figure, by round.
    pub(crate) fn rounds(&self, key: Key) -> &[Option<f64>] {
        self.values.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The values of a figure, summed up.
    pub(crate) fn summary(&self, key: Key) -> Option<Summary> {
        Summary::of(self.rounds(key).iter().copied().flatten())
    }

    /// The ratios of a figure to that of another peer.
    pub(crate) fn ratio(&self, (setting, peer, figure): Key, against: Peer) -> Option<Summary> {
        stats::ratio(self.rounds((setting, peer, figure)), self.rounds((setting, against, figure)))
    }

    /// Every figure that has values.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.values.keys().copied()
    }

    /// Why a peer cannot run in a setting, if it cannot.
    pub(crate) fn why_unable(&self, setting: Setting, peer: Peer) -> Option<&str> {
        self.unable.get(&(setting, peer)).map(String::as_str)
    }

    /// Peers that cannot run, and measurements that failed, with why.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = (Setting, Peer, Option<Probe>, &str)> {
        let unable = self.unable.iter().map(|((setting, peer), why)| (*setting, *peer, None, why.as_str()));
        let failures = self.failures.iter();
        unable.chain(
            failures.map(|((setting, peer, probe), why)| (*setting, *peer, Some(*probe), why.as_str())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_failed_leaves_a_gap() {
        let mut results = Results::default();
        let key = |peer| (Setting::Super, peer, Figure::Tcp1);
        for (round, peer, value) in
            [(0, Peer::Floor, 10.0), (0, Peer::Kernel, 5.0), (2, Peer::Floor, 30.0), (2, Peer::Kernel, 10.0)]
        {
            results.add(Setting::Super, peer, round, vec![(Figure::Tcp1, value)]);
        }
        results.add(Setting::Super, Peer::Kernel, 3, vec![(Figure::Tcp1, 1.0)]);
        assert_eq!(results.rounds(key(Peer::Floor)), [Some(10.0), None, Some(30.0)]);
        let ratio = results.ratio(key(Peer::Floor), Peer::Kernel);
        assert_eq!(ratio, Some(Summary { median: 2.5, min: 2.0, max: 3.0 }));
        assert_eq!(results.summary(key(Peer::External)), None);
    }

    #[test]
    fn what_is_no_number_is_no_value() {
        let mut results = Results::default();
        results.add(Setting::Wire, Peer::Floor, 0, vec![(Figure::Tcp1Cpu, f64::INFINITY)]);
        assert_eq!(results.summary((Setting::Wire, Peer::Floor, Figure::Tcp1Cpu)), None);
    }
}
