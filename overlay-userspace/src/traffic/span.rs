//! What was counted between two moments.

use std::time::Duration;

use overlay_common::{UnderlayAddr, Vni, maps::counters::Counters};

use super::{
    rate::{Rates, Traffic, per_second},
    sample::{Peer, Port, Sample, Segment, Vtep},
};

/// What was counted until now, and until before; with nothing before there are no rates.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// What was before.
    pub before: Option<&'a Sample>,
    /// What is now.
    pub now: &'a Sample,
}

impl<'a> Span<'a> {
    /// How long it is.
    #[must_use]
    pub fn elapsed(self) -> Option<Duration> {
        self.before.map(|before| self.now.at.saturating_duration_since(before.at))
    }

    /// How fast that went; `None` for what was not there before.
    fn rates(self, before: Option<Traffic>, now: Traffic) -> Option<Rates> {
        Some(now.rates(before?, self.elapsed()?))
    }

    /// All into tunnels and out of them together.
    #[must_use]
    pub fn total(self) -> Option<Rates> {
        self.rates(self.before.map(Sample::total), self.now.total())
    }

    /// By segment and remote VTEP.
    pub fn tunnels(self) -> impl Iterator<Item = (Vni, Peer, &'a Counters, Option<Rates>)> {
        self.now.tunnels.iter().map(move |(&(vni, peer), counters)| {
            let before = self.before.and_then(|before| before.tunnels.get(&(vni, peer)));
            let rates = self.rates(before.copied().map(Traffic::from), Traffic::from(*counters));
            (vni, peer, counters, rates)
        })
    }

    /// By segment: in tunnels, and between ports of this host.
    pub fn segments(self) -> impl Iterator<Item = (Vni, Segment, [Option<Rates>; 2])> {
        let before = self.before.map(Sample::segments).unwrap_or_default();
        self.now.segments().into_iter().map(move |(vni, segment)| {
            let before = before.get(&vni);
            let tunnels = self.rates(before.map(|before| before.tunnels), segment.tunnels);
            let local = self.rates(before.map(|before| before.local), segment.local);
            (vni, segment, [tunnels, local])
        })
    }

    /// By remote VTEP, of all segments or one.
    pub fn vteps(self, only: Option<Vni>) -> impl Iterator<Item = (UnderlayAddr, Vtep, Option<Rates>)> {
        let before = self.before.map(|before| before.vteps(only)).unwrap_or_default();
        self.now.vteps(only).into_iter().map(move |(remote, vtep)| {
            let rates = self.rates(before.get(&remote).map(|before| before.traffic), vtep.traffic);
            (remote, vtep, rates)
        })
    }

    /// By port. Another device of the same name begins anew.
    pub fn ports(self) -> impl Iterator<Item = (&'a str, &'a Port, Option<Rates>)> {
        self.now.ports.iter().map(move |(name, port)| {
            let before = self.before.and_then(|before| before.ports.get(name));
            let before = before.filter(|before| before.device == port.device);
            let rates =
                port.traffic.and_then(|now| self.rates(before.and_then(|before| before.traffic), now));
            (name.as_str(), port, rates)
        })
    }

    /// How much each of a list of counts grew in a second.
    pub fn counts<T: Copy + 'a>(
        self,
        of: impl Fn(&'a Sample) -> &'a [(T, u64)],
    ) -> impl Iterator<Item = (T, u64, Option<f64>)> {
        let before = self.before.map_or(&[][..], &of);
        of(self.now).iter().enumerate().map(move |(place, &(what, count))| {
            let grown = before.get(place).map(|(_, before)| count.saturating_sub(*before));
            (what, count, grown.zip(self.elapsed()).map(|(grown, elapsed)| per_second(grown, elapsed)))
        })
    }
}

#[cfg(test)]
mod tests {
    use overlay_common::{DropReason, IfIndex};

    use super::*;

    fn vni() -> Vni {
        Vni::new(100).expect("1 and more")
    }

    fn sample(packets: u64, device: u32) -> Sample {
        let traffic = Traffic { tx_packets: packets, tx_bytes: packets * 100, ..Traffic::default() };
        let (tx_packets, tx_bytes) = (traffic.tx_packets, traffic.tx_bytes);
        let mut sample = Sample::empty();
        sample.tunnels.insert(
            (vni(), Peer::Remote(UnderlayAddr::from_ipv4([10, 0, 0, 2]))),
            Counters { tx_packets, tx_bytes, ..Counters::default() },
        );
        let (device, vni) = (IfIndex::new(device), Some(vni()));
        let port = Port { device, vni, is_trunk: false, traffic: Some(traffic) };
        sample.ports.insert("p1".to_owned(), port);
        sample.drops.push((DropReason::NoRoute, packets));
        sample
    }

    #[test]
    fn what_grew_has_rates_everywhere() {
        let before = sample(100, 7);
        let now = Sample { at: before.at + Duration::from_secs(2), ..sample(300, 7) };
        let span = Span { before: Some(&before), now: &now };
        let expected = Rates { tx_packets: 100.0, tx_bits: 80_000.0, ..Rates::default() };
        assert_eq!(span.total(), Some(expected));
        assert_eq!(span.tunnels().next().and_then(|(.., rates)| rates), Some(expected));
        assert_eq!(
            span.segments().next().map(|(.., rates)| rates),
            Some([Some(expected), Some(Rates::default())])
        );
        assert_eq!(span.vteps(None).next().and_then(|(.., rates)| rates), Some(expected));
        assert_eq!(span.ports().next().and_then(|(.., rates)| rates), Some(expected));
        let drops: Vec<_> = span.counts(|sample| &sample.drops).collect();
        assert_eq!(drops, [(DropReason::NoRoute, 300, Some(100.0))]);
    }

    #[test]
    fn what_was_made_anew_has_no_huge_rates() {
        let before = sample(1_000_000, 7);
        let now = Sample { at: before.at + Duration::from_secs(1), ..sample(3, 7) };
        let span = Span { before: Some(&before), now: &now };
        assert_eq!(span.total(), Some(Rates::default()));
        assert_eq!(span.counts(|sample| &sample.drops).next().and_then(|(.., rate)| rate), Some(0.0));
        // Another device counts what it counted elsewhere before.
        let now = Sample { at: before.at + Duration::from_secs(1), ..sample(5_000_000, 8) };
        let span = Span { before: Some(&before), now: &now };
        assert_eq!(span.ports().next().map(|(.., rates)| rates), Some(None));
        // What was not there.
        let empty = Sample::empty();
        let span = Span { before: Some(&empty), now: &now };
        assert_eq!(span.tunnels().next().map(|(.., rates)| rates), Some(None));
        assert_eq!(span.counts(|sample| &sample.drops).next().map(|(.., rate)| rate), Some(None));
    }
}
