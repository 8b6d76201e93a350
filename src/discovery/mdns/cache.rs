//! The bound of a daemon's cache: when the cache is measured, and when it has outgrown its bound.
//! The session that owns the daemon replaces it then.

use std::time::{Duration, Instant};

use mdns_sd::{Metrics, Receiver, Result, ServiceDaemon};
use tokio::time::sleep_until;

use super::daemon::recv;

/// The time between two measurements of a daemon's cache; one costs one command, some microseconds.
/// The daemon caches records that nobody asked for and never forgets them; a flood of 2,000 packets
/// a second fills about 5 MB in that time. The daemon wakes up as often anyway, to look for new
/// addresses.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// The number of newly found instances that brings the next measurement forward.
const FOUND_MAX: u32 = 512;

/// The most records a daemon may cache; 256 nodes need about 1,500. Past it the daemon is replaced.
const RECORDS_MAX: i64 = 4096;

/// The most timers a daemon may hold, 16 bytes each.
const TIMERS_MAX: i64 = 131_072;

/// Measures the cache of one daemon again and again.
pub(super) struct CacheMeter {
    due: Instant,
    /// The measurement under way.
    answer: Option<Receiver<Metrics>>,
    /// Instances found since the last measurement began.
    found: u32,
}

impl CacheMeter {
    /// Starts with a daemon that has just started: its cache is empty.
    pub(super) fn new() -> Self {
        Self { due: Instant::now() + MEASURE_EVERY, answer: None, found: 0 }
    }

    /// Counts an instance that was found; many of them bring the next measurement forward.
    pub(super) fn found(&mut self) {
        self.found += 1;
        if self.found >= FOUND_MAX {
            self.due = Instant::now();
        }
    }

    /// Waits for the next measurement.
    ///
    /// # Errors
    ///
    /// The daemon is gone, or its queue of commands is full.
    ///
    /// ## Cancel safety
    ///
    /// A measurement under way goes on at the next call.
    pub(super) async fn measured(&mut self, daemon: &ServiceDaemon) -> Result<Metrics> {
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.due.into()) => {
                    self.due = Instant::now() + MEASURE_EVERY;
                    self.found = 0;
                    self.answer = Some(daemon.get_metrics()?);
                }
                metrics = recv(self.answer.as_ref()) => {
                    self.answer = None;
                    if let Some(metrics) = metrics {
                        return Ok(metrics);
                    }
                }
            }
        }
    }
}

/// Returns whether a daemon's cache has outgrown its bound.
pub(super) fn is_full(metrics: &Metrics) -> bool {
    records(metrics) > RECORDS_MAX || count(metrics, "timer") > TIMERS_MAX
}

/// Returns the number of records in a daemon's cache.
pub(super) fn records(metrics: &Metrics) -> i64 {
    let kinds = ["cached-ptr", "cached-srv", "cached-addr", "cached-txt", "cached-nsec"];
    kinds.into_iter().map(|kind| count(metrics, kind)).fold(0, i64::saturating_add)
}

fn count(metrics: &Metrics, key: &str) -> i64 {
    metrics.get(key).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_full_past_its_bound_whatever_the_kind_of_record() {
        let metrics = |entries: &[(&str, i64)]| -> Metrics {
            entries.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
        };
        assert!(!is_full(&metrics(&[("cached-ptr", 256), ("cached-srv", 256), ("browse", 9999)])));
        assert!(is_full(&metrics(&[("cached-srv", RECORDS_MAX), ("cached-nsec", 1)])));
        assert!(is_full(&metrics(&[("timer", TIMERS_MAX + 1)])));
    }

    #[test]
    fn many_found_instances_bring_the_next_measurement_forward() {
        let mut meter = CacheMeter::new();
        (1..FOUND_MAX).for_each(|_| meter.found());
        assert!(meter.due > Instant::now());
        meter.found();
        assert!(meter.due <= Instant::now());
    }
}
