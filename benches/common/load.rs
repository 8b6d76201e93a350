//! The outcomes of some clients, of any kind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts by reason.
pub(crate) type Errors = BTreeMap<String, u64>;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) answers: u64,
    /// Answers other than a 2xx or 3xx, and errors of the connections.
    pub(crate) errors: Errors,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) worst_ms: f64,
}

impl Load {
    /// Percentiles of the waits for all answers, in seconds.
    pub(crate) fn of(mut waits: Vec<f64>, errors: Errors, seconds: f64) -> Self {
        waits.sort_by(f64::total_cmp);
        let percentile = |percent: f64| {
            let rank = (waits.len() as f64 * percent / 100.0).ceil() as usize;
            waits.get(rank.max(1) - 1).copied().unwrap_or_default() * 1e3
        };
        Self {
            answers: waits.len() as u64,
            errors,
            per_second: waits.len() as f64 / seconds,
            p50_ms: percentile(50.0),
            p99_ms: percentile(99.0),
            p999_ms: percentile(99.9),
            worst_ms: percentile(100.0),
        }
    }
}
