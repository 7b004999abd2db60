//! Packets and bytes each way, and how many in a second.

use std::{ops::AddAssign, time::Duration};

use overlay_common::maps::counters::Counters;
use serde::Serialize;

/// Packets and bytes that workloads of this host sent, and that went to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Frames from workloads.
    pub tx_packets: u64,
    /// Their bytes, Ethernet header included.
    pub tx_bytes: u64,
    /// Frames to workloads.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
}

/// How fast traffic goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Frames from workloads in a second.
    #[serde(rename = "tx_packets_per_second")]
    pub tx_packets: f64,
    /// Their bits.
    #[serde(rename = "tx_bits_per_second")]
    pub tx_bits: f64,
    /// Frames to workloads in a second.
    #[serde(rename = "rx_packets_per_second")]
    pub rx_packets: f64,
    /// Their bits.
    #[serde(rename = "rx_bits_per_second")]
    pub rx_bits: f64,
}

impl From<Counters> for Traffic {
    fn from(counters: Counters) -> Self {
        let Counters { tx_packets, tx_bytes, rx_packets, rx_bytes, .. } = counters;
        Self { tx_packets, tx_bytes, rx_packets, rx_bytes }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.tx_packets += other.tx_packets;
        self.tx_bytes += other.tx_bytes;
        self.rx_packets += other.rx_packets;
        self.rx_bytes += other.rx_bytes;
    }
}

impl Traffic {
    /// Bytes both ways.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.tx_bytes.saturating_add(self.rx_bytes)
    }

    /// How fast it went since it was `before`. A counter that went back was begun anew: nobody knows, and it is 0.
    #[must_use]
    pub fn rates(self, before: Self, elapsed: Duration) -> Rates {
        let rate = |now: u64, before: u64| per_second(now.saturating_sub(before), elapsed);
        Rates {
            tx_packets: rate(self.tx_packets, before.tx_packets),
            tx_bits: rate(self.tx_bytes, before.tx_bytes) * 8.0,
            rx_packets: rate(self.rx_packets, before.rx_packets),
            rx_bits: rate(self.rx_bytes, before.rx_bytes) * 8.0,
        }
    }
}

impl Rates {
    /// Bits in a second, both ways.
    #[must_use]
    pub fn bits(&self) -> f64 {
        self.tx_bits + self.rx_bits
    }

    /// Frames in a second, both ways.
    #[must_use]
    pub fn packets(&self) -> f64 {
        self.tx_packets + self.rx_packets
    }
}

/// How many that is in a second.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "rates are approximate")]
pub(super) fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// For people: three digits or so, and a unit with its prefix, as in `1.2 Mpps` and `9.8 Gbit/s`.
#[must_use]
pub fn in_units(value: f64, unit: &str) -> String {
    const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let (mut value, mut prefix) = (value, 0);
    while value >= 999.5 && prefix + 1 < PREFIXES.len() {
        (value, prefix) = (value / 1000.0, prefix + 1);
    }
    let is_whole = value >= 99.95 || (prefix == 0 && (value.fract() == 0.0 || value >= 9.95));
    let digits = usize::from(!is_whole);
    format!("{value:.digits$} {}{unit}", PREFIXES[prefix])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_for_a_second() {
        let before = Traffic { tx_packets: 1000, tx_bytes: 50_000, rx_packets: 7, rx_bytes: 700 };
        let now = Traffic { tx_packets: 1500, tx_bytes: 550_000, rx_packets: 7, rx_bytes: 700 };
        let rates = now.rates(before, Duration::from_millis(500));
        assert_eq!(rates, Rates { tx_packets: 1000.0, tx_bits: 8_000_000.0, rx_packets: 0.0, rx_bits: 0.0 });
    }

    #[test]
    fn counters_that_go_back_and_no_time_at_all_are_no_rate() {
        let much = Traffic { tx_packets: 5, tx_bytes: 500, rx_packets: u64::MAX, rx_bytes: u64::MAX };
        let little = Traffic { tx_packets: 7, tx_bytes: 700, ..Traffic::default() };
        let rates = little.rates(much, Duration::from_secs(1));
        assert_eq!(rates, Rates { tx_packets: 2.0, tx_bits: 1600.0, ..Rates::default() });
        assert_eq!(much.rates(little, Duration::ZERO), Rates::default());
    }

    #[test]
    fn units_are_for_people() {
        for (value, expected) in [
            (0.0, "0 pps"),
            (0.5, "0.5 pps"),
            (12.0, "12 pps"),
            (12.4, "12 pps"),
            (999.0, "999 pps"),
            (999.6, "1.0 kpps"),
            (1234.0, "1.2 kpps"),
            (99_960.0, "100 kpps"),
            (1_200_000.0, "1.2 Mpps"),
            (9_800_000_000.0, "9.8 Gpps"),
            (2e18, "2000 Ppps"),
        ] {
            assert_eq!(in_units(value, "pps"), expected);
        }
        assert_eq!(in_units(9.8e9, "bit/s"), "9.8 Gbit/s");
    }
}
