//! One row of a table: the outcomes of some clients in one run, or in several.

use std::collections::{BTreeMap, BTreeSet};

use crate::faults::trial::Met;
use crate::lab::Report;

pub(crate) const TITLES: [&str; 13] = [
    "fault",
    "clients",
    "runs",
    "requests",
    "failed",
    "how they failed",
    "worst wait",
    "stall",
    "most of a client",
    "failed after",
    "twice",
    "out after",
    "back after",
];

#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) fault: String,
    pub(crate) clients: String,
    runs: u32,
    requests: u64,
    failed: u64,
    reasons: BTreeMap<String, u64>,
    worst_ms: u64,
    /// The stall of the machine, in the run with the worst wait.
    stall_ms: u64,
    most_of_a_client: u64,
    slowest_failure_ms: u64,
    twice: usize,
    unseen: u64,
    out_s: Vec<f64>,
    back_s: Vec<f64>,
    pub(crate) missed: BTreeSet<String>,
    pub(crate) note: String,
}

impl Row {
    /// The row of a trial.
    pub(crate) fn of(fault: &str, met: &Met, missed: Vec<String>) -> Self {
        let connection = if met.clients.anew { "new" } else { "kept" };
        let clients = format!("{}, {connection}", met.clients.method);
        Self {
            most_of_a_client: met.most_of_a_client(),
            slowest_failure_ms: met.slowest_failure_ms(),
            twice: met.twice.len(),
            unseen: met.unseen,
            out_s: met.out.iter().map(std::time::Duration::as_secs_f64).collect(),
            back_s: met.back.iter().map(std::time::Duration::as_secs_f64).collect(),
            ..Self::plain(fault, &clients, &met.report, missed)
        }
    }

    /// The row of clients alone.
    pub(crate) fn plain(fault: &str, clients: &str, report: &Report, missed: Vec<String>) -> Self {
        let waits = report.failures.iter().map(|failure| failure.waited_ms);
        Self {
            fault: fault.to_owned(),
            clients: clients.to_owned(),
            runs: 1,
            requests: report.ok + report.failed,
            failed: report.failed,
            reasons: report.reasons.clone(),
            worst_ms: report.worst_ms,
            stall_ms: report.stall_ms,
            most_of_a_client: report.by_client.values().copied().max().unwrap_or(0),
            slowest_failure_ms: waits.max().unwrap_or(0),
            twice: 0,
            unseen: 0,
            out_s: Vec::new(),
            back_s: Vec::new(),
            missed: missed.into_iter().collect(),
            note: String::new(),
        }
    }

    /// Adds another run of the same scenario to this row.
    pub(crate) fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.requests += other.requests;
        self.failed += other.failed;
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        if other.worst_ms > self.worst_ms {
            (self.worst_ms, self.stall_ms) = (other.worst_ms, other.stall_ms);
        }
        self.most_of_a_client = self.most_of_a_client.max(other.most_of_a_client);
        self.slowest_failure_ms = self.slowest_failure_ms.max(other.slowest_failure_ms);
        self.twice += other.twice;
        self.unseen += other.unseen;
        self.out_s.extend(other.out_s);
        self.back_s.extend(other.back_s);
        self.missed.extend(other.missed);
    }

    pub(crate) fn cells(&self) -> [String; 13] {
        let reasons = self.reasons.iter().map(|(reason, count)| format!("{count} x {reason}"));
        let some = |has: bool, text: String| if has { text } else { "-".to_owned() };
        let has_failed = self.failed > 0;
        let unseen =
            if self.unseen > 0 { format!(" ({} unseen)", self.unseen) } else { String::new() };
        [
            self.fault.clone(),
            self.clients.clone(),
            self.runs.to_string(),
            self.requests.to_string(),
            self.failed.to_string(),
            some(has_failed, reasons.collect::<Vec<_>>().join("; ")),
            format!("{:.2} s", self.worst_ms as f64 / 1e3),
            format!("{:.2} s", self.stall_ms as f64 / 1e3),
            some(has_failed, self.most_of_a_client.to_string()),
            some(has_failed, format!("{:.2} s", self.slowest_failure_ms as f64 / 1e3)),
            format!("{}{unseen}", self.twice),
            longest(&self.out_s),
            longest(&self.back_s),
        ]
    }

    /// The missed bars, and the remarks.
    pub(crate) fn words(&self) -> String {
        let missed = self.missed.iter().map(String::as_str).chain([self.note.as_str()]);
        missed.filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

/// The longest of several spans.
fn longest(spans_s: &[f64]) -> String {
    let longest = spans_s.iter().copied().reduce(f64::max);
    longest.map_or("-".to_owned(), |longest| format!("{longest:.1} s"))
}
