//! Writes the page that Prometheus scrapes: families of samples, collected at the moment of the
//! scrape from the numbers that the program keeps anyway. Nothing is registered, so a node that is
//! gone has no series.
//!
//! Only this file names `prometheus_client`. Its own counters and histograms are not used, because
//! its histogram has a lock, and no lock may stand on the data line.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
    prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::counters::ByCause;
use super::histogram::{BUCKETS, Snapshot, upper_bound};

/// The buckets that are exposed, by their numbers: every second one, which is one for each octave,
/// from 0.5 ms to 17 s. These are 16 bounds and infinity. More would cost each node more series
/// than anybody can distinguish on a graph.
const BUCKETS_SHOWN: std::ops::RangeInclusive<usize> = 4..=34;

/// The labels of one sample, each with its value. The only sample of a family has none.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// A text format of the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, for a client that asks for it, as Prometheus does.
    OpenMetrics,
    /// The older text format of Prometheus, which people and all other programs can read.
    Text,
}

impl Format {
    /// Chooses the format of an answer by the values of the request's Accept fields. OpenMetrics
    /// wins if it is named at all, because every client that knows it prefers it.
    pub fn accepted<'a>(mut accept: impl Iterator<Item = &'a str>) -> Self {
        let named = accept.any(|value| value.contains("application/openmetrics-text"));
        if named { Self::OpenMetrics } else { Self::Text }
    }

    /// Returns the value of Content-Type for an answer in this format.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// Returns the whole page of the families that `collect` writes.
pub fn render(
    format: Format,
    collect: impl Fn(&mut Families<'_>) -> fmt::Result + Send + Sync + 'static,
) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(CollectFn(collect)));
    let mut page = String::new();
    let encoded = match format {
        Format::OpenMetrics => text::encode(&mut page, &registry),
        Format::Text => prometheus_text::encode(&mut page, &registry),
    };
    // Encoding fails only if the writer fails, and a String never does.
    debug_assert!(encoded.is_ok());
    page
}

/// A collector made of a function.
struct CollectFn<T>(T);

impl<T> fmt::Debug for CollectFn<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CollectFn")
    }
}

impl<T> Collector for CollectFn<T>
where
    T: Fn(&mut Families<'_>) -> fmt::Result + Send + Sync + 'static,
{
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        (self.0)(&mut Families(encoder))
    }
}

/// The writer of families, one after the other and each once.
pub struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    /// Begins a family of numbers that only grow. The page adds `_total` to its name.
    ///
    /// # Errors
    ///
    /// Those of the page's writer.
    pub fn counters<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
    ) -> Result<CounterFamily<'s>, fmt::Error> {
        Ok(CounterFamily(self.0.encode_descriptor(name, help, None, MetricType::Counter)?))
    }

    /// Begins a family of numbers that go up and down.
    ///
    /// # Errors
    ///
    /// See [`counters`](Self::counters).
    pub fn gauges<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
    ) -> Result<GaugeFamily<'s>, fmt::Error> {
        Ok(GaugeFamily(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?))
    }

    /// Begins a family of durations, in seconds.
    ///
    /// # Errors
    ///
    /// See [`counters`](Self::counters).
    pub fn histograms<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
    ) -> Result<HistogramFamily<'s>, fmt::Error> {
        Ok(HistogramFamily(self.0.encode_descriptor(name, help, None, MetricType::Histogram)?))
    }

    /// Writes a family that has one counter without labels.
    ///
    /// # Errors
    ///
    /// See [`counters`](Self::counters).
    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help)?.add(&[], value)
    }

    /// Writes a family that has one gauge without labels.
    ///
    /// # Errors
    ///
    /// See [`counters`](Self::counters).
    pub fn gauge(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeGaugeValue + Copy,
    ) -> fmt::Result {
        self.gauges(name, help)?.add(&[], value)
    }

    /// Writes a family that has a counter for each cause counted so far. The cause is the value of
    /// `label`.
    ///
    /// # Errors
    ///
    /// See [`counters`](Self::counters).
    pub fn by_cause(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        counts: &ByCause,
    ) -> fmt::Result {
        let mut family = self.counters(name, help)?;
        for (cause, count) in counts.all() {
            family.add(&[(label, cause)], count)?;
        }
        Ok(())
    }
}

/// A family of counters.
pub struct CounterFamily<'a>(MetricEncoder<'a>);

impl CounterFamily<'_> {
    /// Writes a counter of the family.
    ///
    /// # Errors
    ///
    /// See [`Families::counters`].
    pub fn add(
        &mut self,
        labels: Labels<'_>,
        value: impl EncodeCounterValue + Copy,
    ) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }
}

/// A family of gauges.
pub struct GaugeFamily<'a>(MetricEncoder<'a>);

impl GaugeFamily<'_> {
    /// Writes a gauge of the family.
    ///
    /// # Errors
    ///
    /// See [`Families::counters`].
    pub fn add(&mut self, labels: Labels<'_>, value: impl EncodeGaugeValue + Copy) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_gauge(&value)
    }
}

/// A family of histograms.
pub struct HistogramFamily<'a>(MetricEncoder<'a>);

impl HistogramFamily<'_> {
    /// Writes a histogram of the family.
    ///
    /// # Errors
    ///
    /// See [`Families::counters`].
    pub fn add(&mut self, labels: Labels<'_>, durations: &Snapshot) -> fmt::Result {
        let (seconds, count) = (durations.sum_us as f64 / 1e6, durations.count());
        let mut family = self.0.encode_family(&labels)?;
        family.encode_histogram::<NoLabelSet>(seconds, count, &merged(durations), None)
    }
}

/// Merges the buckets of a histogram into the exposed ones. Each has its upper bound in seconds and
/// its own count: prometheus_client adds them up.
fn merged(durations: &Snapshot) -> Vec<(f64, u64)> {
    let mut from = 0;
    let mut up_to =
        |end: usize| durations.counts[std::mem::replace(&mut from, end)..end].iter().sum();
    let mut merged: Vec<_> =
        BUCKETS_SHOWN.step_by(2).map(|at| (upper_bound(at).as_secs_f64(), up_to(at + 1))).collect();
    merged.push((f64::INFINITY, up_to(BUCKETS)));
    merged
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::histogram::Histogram;

    #[test]
    fn prometheus_gets_openmetrics_and_people_get_text() {
        let prometheus = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5";
        let accepted = |value| Format::accepted([value].into_iter());
        assert_eq!(accepted(prometheus), Format::OpenMetrics);
        for other in ["", "*/*", "text/plain;version=0.0.4", "text/html,*/*;q=0.8"] {
            assert_eq!(accepted(other), Format::Text, "{other}");
        }
        assert_eq!(Format::accepted(std::iter::empty()), Format::Text);
    }

    #[test]
    fn both_formats_have_the_same_numbers() {
        let collect = |families: &mut Families<'_>| {
            families.counters("a", "As.")?.add(&[("word", "\"\\\n")], 3_u64)?;
            families.gauge("b_celsius", "Bs.", 1.5)
        };
        let samples = "a_total{word=\"\\\"\\\\\\n\"} 3\n# HELP b_celsius Bs.\n\
            # TYPE b_celsius gauge\nb_celsius 1.5\n";
        let openmetrics = render(Format::OpenMetrics, collect);
        assert_eq!(openmetrics, format!("# HELP a As.\n# TYPE a counter\n{samples}# EOF\n"));
        let text = render(Format::Text, collect);
        assert_eq!(text, format!("# HELP a_total As.\n# TYPE a_total counter\n{samples}"));
    }

    #[test]
    fn a_histogram_is_cumulative_and_loses_nothing_between_its_bounds() {
        let histogram = Histogram::default();
        for us in [1, 512, 513, 700, 800_000, 90_000_000] {
            histogram.add(Duration::from_micros(us));
        }
        let durations = histogram.snapshot();
        let text = render(Format::Text, move |families| {
            families.histograms("t_seconds", "Ts.")?.add(&[("node", "ada")], &durations)
        });
        let mut expected = vec![
            "t_seconds_bucket{node=\"ada\",le=\"0.000512\"} 2",
            "t_seconds_bucket{node=\"ada\",le=\"0.001024\"} 4",
            "t_seconds_bucket{node=\"ada\",le=\"0.524288\"} 4",
            "t_seconds_bucket{node=\"ada\",le=\"1.048576\"} 5",
            "t_seconds_bucket{node=\"ada\",le=\"16.777216\"} 5",
            "t_seconds_bucket{node=\"ada\",le=\"+Inf\"} 6",
            "t_seconds_count{node=\"ada\"} 6",
            "t_seconds_sum{node=\"ada\"} 90.801726",
        ];
        expected.retain(|line| !text.lines().any(|exposed| exposed == *line));
        assert!(expected.is_empty(), "{expected:#?} in {text}");
        assert_eq!(text.lines().filter(|line| line.contains("_bucket")).count(), 17);
    }
}
