//! Counts durations in buckets of a fixed width in octaves. Any worker writes them, by relaxed
//! additions; the admin port reads them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The number of buckets, two for each octave. The first takes all durations up to 128
/// microseconds, the last all that are longer than the bound before it, some 65 s.
pub const BUCKETS: usize = 40;

/// The upper bound of the first bucket, in microseconds.
const LEAST_US: u64 = 128;

/// Counts of durations. A quantile read from them is right within half an octave.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// A histogram as of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The number of durations in each bucket, not cumulative.
    pub counts: [u64; BUCKETS],
    /// The sum of all durations, in microseconds.
    pub sum_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), sum_us: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one more duration.
    pub fn add(&self, duration: Duration) {
        let us = duration.as_micros() as u64;
        self.buckets[bucket_of(us)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Returns the present counts.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            counts: std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum_us: 0 }
    }
}

impl Snapshot {
    /// Returns the number of all durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the durations counted since `earlier`, a snapshot of the same histogram.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            counts: std::array::from_fn(|at| self.counts[at].saturating_sub(earlier.counts[at])),
            sum_us: self.sum_us.saturating_sub(earlier.sum_us),
        }
    }

    /// Adds the counts of another histogram.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_us += other.sum_us;
    }

    /// Returns the upper bound of the bucket in which the quantile `q` (0 to 1) lies, or `None` if
    /// nothing was counted. For a quantile beyond all bounds it is the last bound.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let total = self.count();
        let wanted = ((total as f64 * q).ceil() as u64).max(1);
        let mut so_far = 0;
        let at = self.counts.iter().position(|count| {
            so_far += count;
            so_far >= wanted
        })?;
        Some(upper_bound(at.min(BUCKETS - 2)))
    }
}

/// Returns the upper bound of a bucket. The last bucket has none; for it the next bound of the
/// series is returned.
pub fn upper_bound(bucket: usize) -> Duration {
    let octave = LEAST_US << (bucket / 2);
    Duration::from_micros(if bucket.is_multiple_of(2) { octave } else { octave + octave / 2 })
}

/// Returns the first bucket whose upper bound is not below this number of microseconds.
fn bucket_of(us: u64) -> usize {
    if us <= LEAST_US {
        return 0;
    }
    // The octave in which the number lies, counted from the first bound: octaves end at powers of
    // two.
    let octave = (us - 1).ilog2() - LEAST_US.ilog2();
    let low = LEAST_US << octave;
    let bucket = 2 * octave as usize + if us <= low + low / 2 { 1 } else { 2 };
    bucket.min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_falls_into_the_first_bucket_that_holds_it() {
        for bucket in 0..BUCKETS - 1 {
            let us = upper_bound(bucket).as_micros() as u64;
            assert_eq!((bucket_of(us), bucket_of(us + 1)), (bucket, bucket + 1), "{us} us");
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn quantiles_are_those_of_the_durations_in_between() {
        let histogram = Histogram::default();
        assert_eq!(histogram.snapshot().quantile(0.5), None);
        histogram.add(Duration::from_secs(200));
        let earlier = histogram.snapshot();
        assert_eq!(earlier.quantile(0.5), Some(upper_bound(BUCKETS - 2)));
        for _ in 0..99 {
            histogram.add(Duration::from_micros(300));
        }
        histogram.add(Duration::from_millis(40));
        let lately = histogram.snapshot().since(&earlier);
        assert_eq!((lately.count(), lately.sum_us), (100, 99 * 300 + 40_000));
        let quantile = |q| lately.quantile(q).unwrap().as_micros();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(quantile), [384, 384, 384, 49_152]);
    }
}
