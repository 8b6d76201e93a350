//! How long things took, in buckets of a fixed width in octaves: written by relaxed additions from
//! any worker, read by whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets: two an octave. The first takes all up to 128 microseconds, the last all that is longer
/// than the one before it, some 65 s.
pub const BUCKETS: usize = 40;

/// The upper bound of the first bucket, in microseconds.
const LEAST_US: u64 = 128;

/// Counts of durations. A quantile read from it is right to within half an octave.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// A histogram as of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// How many took so long, by bucket; not cumulative.
    pub counts: [u64; BUCKETS],
    /// The sum of all, in microseconds.
    pub sum_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), sum_us: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// One more that took so long.
    pub fn add(&self, took: Duration) {
        let us = took.as_micros() as u64;
        self.buckets[bucket_of(us)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// As of now.
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
    /// How many.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What came since `earlier`, a snapshot of the same histogram.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            counts: std::array::from_fn(|at| self.counts[at].saturating_sub(earlier.counts[at])),
            sum_us: self.sum_us.saturating_sub(earlier.sum_us),
        }
    }

    /// Adds what another histogram has counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_us += other.sum_us;
    }

    /// The upper bound of the bucket that the quantile `q` (0 to 1) falls into; `None` of nothing.
    /// Of what is longer than all bounds it is the last bound.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let total = self.count();
        let wanted = ((total as f64 * q).ceil() as u64).max(1);
        let mut so_far = 0;
        let at = self.counts.iter().position(|count| {
            so_far += count;
            so_far >= wanted
        })?;
        Some(bound(at.min(BUCKETS - 2)))
    }
}

/// The upper bound of a bucket; the last one has none, and gives what would be its.
pub fn bound(bucket: usize) -> Duration {
    let octave = LEAST_US << (bucket / 2);
    Duration::from_micros(if bucket.is_multiple_of(2) { octave } else { octave + octave / 2 })
}

/// The first bucket whose bound is not below so many microseconds.
fn bucket_of(us: u64) -> usize {
    if us <= LEAST_US {
        return 0;
    }
    // The octave in which it lies, counted from the first bound: the powers of two are its ends.
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
            let us = bound(bucket).as_micros() as u64;
            assert_eq!((bucket_of(us), bucket_of(us + 1)), (bucket, bucket + 1), "{us} us");
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn quantiles_are_those_of_what_came_in_between() {
        let histogram = Histogram::default();
        assert_eq!(histogram.snapshot().quantile(0.5), None);
        histogram.add(Duration::from_secs(200));
        let earlier = histogram.snapshot();
        assert_eq!(earlier.quantile(0.5), Some(bound(BUCKETS - 2)));
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
