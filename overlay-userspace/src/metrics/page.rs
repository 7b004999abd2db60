//! A page of metrics: families of counters and gauges, put together anew whenever somebody asks.

use prometheus::{
    IntCounterVec, IntGaugeVec, Opts, Registry, Result, TextEncoder,
    core::{Collector, GenericCounter, MetricVec, MetricVecBuilder},
};

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
        self.family(counter, rows, GenericCounter::inc_by)
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
        self.family(gauge, rows, |gauge, value| gauge.set(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    /// Adds a family, each of whose members `set` gives its value.
    fn family<const N: usize, B: MetricVecBuilder + 'static>(
        &self,
        family: MetricVec<B>,
        rows: impl IntoIterator<Item = ([String; N], u64)>,
        set: impl Fn(&B::M, u64),
    ) -> Result<()> {
        for (values, value) in rows {
            set(&family.get_metric_with_label_values(&values)?, value);
        }
        self.add(family)
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
