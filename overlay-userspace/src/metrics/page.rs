//! A page of metrics: families of counters and gauges, put together anew whenever somebody asks.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, Result, TextEncoder, core::Collector};

/// Metrics of one moment.
#[derive(Debug, Default)]
pub(super) struct Page {
    registry: Registry,
}

impl Page {
    /// Adds a counter, with its values by their labels'.
    pub(super) fn counter<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        rows: impl IntoIterator<Item = ([String; N], u64)>,
    ) -> Result<()> {
        let counter = IntCounterVec::new(Opts::new(name, help), &labels)?;
        for (values, count) in rows {
            counter.get_metric_with_label_values(&values)?.inc_by(count);
        }
        self.add(counter)
    }

    /// Adds a gauge, with its values by their labels'.
    pub(super) fn gauge<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        rows: impl IntoIterator<Item = ([String; N], u64)>,
    ) -> Result<()> {
        let gauge = IntGaugeVec::new(Opts::new(name, help), &labels)?;
        for (values, value) in rows {
            gauge.get_metric_with_label_values(&values)?.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.add(gauge)
    }

    /// Adds what was counted elsewhere.
    pub(super) fn add(&self, collector: impl Collector + 'static) -> Result<()> {
        self.registry.register(Box::new(collector))
    }

    /// All of it, as Prometheus reads it.
    pub(super) fn text(&self) -> Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
