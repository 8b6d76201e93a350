//! Events that are out of the ordinary, counted by cause. A balancer has one [`Counts`]: all
//! workers and the discovery line add to it, and the admin port reads it.
//!
//! An ordinary request touches none of it, so plain shared atomics are enough. The numbers of every
//! request stand in [`pool::Counters`](crate::cluster::pool::Counters). The causes are the words of
//! the log.

use serde::Serialize;

use crate::telemetry::counters::{ByCause, Counter, Gauge};
use crate::telemetry::histogram::Histogram;

/// All counts since the process started. The names of the fields are those of the API.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    /// Requests that clients saw fail for the cluster's fault: answered with a 5xx of our own, or
    /// broken off in the middle of an answer.
    pub requests_failed: Counter,
    /// Attempts that failed and were followed by another one that cost a try, by [`Failure`](crate::cluster::retry::Failure).
    pub retries: ByCause,
    /// Attempts of which no node has received a byte, by
    /// [`Failure`](crate::cluster::retry::Failure): the request went to another node at no cost, as
    /// long as there was one and time.
    pub retries_free: ByCause,
    /// Requests that were not sent again after a failed attempt, by
    /// [`Reason`](crate::cluster::retry::Reason).
    pub gave_up: ByCause,
    /// Requests that began to wait for a usable node. One that waits twice counts twice.
    pub holds: Counter,
    /// The ends of such waits: `node_came`, `client_left`, or the cause of the answer it got.
    pub holds_ended: ByCause,
    /// Answers of the balancer's own, by the cause of each.
    pub rejects: ByCause,
    /// Answers that broke off after their head went down, by
    /// [`Failure`](crate::cluster::retry::Failure).
    pub answers_cut: ByCause,
    /// Events of nodes, by the words of the log.
    pub node_events: ByCause,
    /// Ejections of nodes, by their reasons.
    pub ejections: ByCause,
    /// Lines of the access log that were not written.
    pub access_log_lines_dropped: Counter,
    /// Probes that ended, by how they did.
    pub probes: ByCause,
    /// The durations of these probes, those without an answer included.
    #[serde(skip)]
    pub probe_times: Histogram,
    /// Events of listening for nodes.
    pub mdns: Mdns,
}

/// Counts of the daemon that listens for nodes. There is none of packets, because the daemon does
/// not report them.
#[derive(Debug, Default, Serialize)]
pub struct Mdns {
    /// Events of instances that it passed on, by kind.
    pub events: ByCause,
    /// Advertisements that could not be used, counted each time one was heard, by reason.
    pub ignored: ByCause,
    /// Advertised addresses that may not be connected to, counted each time one was heard, by
    /// reason.
    pub addresses_refused: ByCause,
    /// Replacements of the daemon, by reason.
    pub restarts: ByCause,
    /// Records in its cache, as of the last look, a second ago at most.
    pub records: Gauge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_count_and_zeros_are_not_shown() {
        let counts = Counts::default();
        for word in ["b", "a", "b"] {
            counts.rejects.add(word);
        }
        counts.access_log_lines_dropped.add_many(7);
        let json = serde_json::to_value(&counts).unwrap();
        assert_eq!(json["rejects"], serde_json::json!({ "a": 1, "b": 2 }));
        assert_eq!(json["retries"], serde_json::json!({}));
        assert_eq!(json["access_log_lines_dropped"], 7);
        assert_eq!((counts.rejects.get("b"), counts.rejects.get("c")), (2, 0));
    }
}
