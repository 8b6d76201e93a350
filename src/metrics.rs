//! What goes wrong or is out of the ordinary, counted by cause: one [`Counts`] a balancer, which all
//! workers and the discovery line add to, and the admin port reads.
//!
//! An ordinary request touches none of it, so plain shared atomics do; what is counted of every
//! request stands in `pool::Counters`. The labels are the words of the log: whoever counts brings
//! the word it would log, and this module has the two tables that would have no other home.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

use crate::metrics::histogram::Histogram;
use crate::retry::{Failure, Reason};

pub mod board;
#[cfg(test)]
pub(crate) mod documented;
pub mod exposition;
pub mod histogram;

/// Where a node tells its metrics: beside its health, in the space that belongs to no application.
pub const METRICS_PATH: &str = "/.picluster/metrics";

/// All counts since the start. The names of the fields are those of the API.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    /// Requests that clients saw fail for the cluster's fault: answered with a 5xx of our own, or
    /// broken off in the middle of an answer.
    pub requests_failed: Count,
    /// Attempts that failed and were followed by another one that cost a try, by [`failure`].
    pub retries: ByCause,
    /// Attempts of which no node has received a byte, by [`failure`]: the request went to another
    /// node at no cost, as long as there was one and time.
    pub retries_free: ByCause,
    /// Requests that were not sent again after a failed attempt, by [`reason`].
    pub gave_up: ByCause,
    /// Requests that began to wait for a usable node. One that waits twice counts twice.
    pub holds: Count,
    /// How such waits ended: `node_came`, `client_left`, or the cause of the answer it got.
    pub holds_ended: ByCause,
    /// Answers of the balancer's own, by the cause of each.
    pub rejects: ByCause,
    /// Answers that broke off after their head went down, by [`failure`].
    pub answers_cut: ByCause,
    /// What happened to nodes, in the words of the log.
    pub node_events: ByCause,
    /// Why nodes were ejected.
    pub ejections: ByCause,
    /// Lines of the access log that were not written.
    pub access_log_lines_dropped: Count,
    /// Probes that ended, by how they did.
    pub probes: ByCause,
    /// How long they took, those without an answer included.
    #[serde(skip)]
    pub probe_times: Histogram,
    /// What came of listening for nodes.
    pub mdns: Mdns,
}

/// What is counted of the daemon that listens for nodes. The daemon itself tells nothing of packets.
#[derive(Debug, Default, Serialize)]
pub struct Mdns {
    /// Words about instances that it passed on, by kind.
    pub events: ByCause,
    /// Advertisements that could not be used, each time they were heard, by reason.
    pub ignored: ByCause,
    /// Addresses of such that may not be connected to, each time they were heard, by reason.
    pub addresses_refused: ByCause,
    /// How often the daemon was replaced, by reason.
    pub restarts: ByCause,
    /// Records in its cache, as of the last look, a second ago at most.
    pub records: Level,
}

/// A number as of the last time that somebody looked.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// It is this now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// As it was.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.get())
    }
}

/// Answers by the class of their status.
#[derive(Debug, Default)]
pub struct Classes([Count; 5]);

impl Classes {
    const WORDS: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

    /// One more of this status. What is above 599 has no class of its own and is an error as well.
    pub fn add(&self, status: u16) {
        self.0[usize::from(status / 100).clamp(1, 5) - 1].add();
    }

    /// Each class with its count.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::WORDS.into_iter().zip(self.0.iter().map(Count::get))
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.add_many(1);
    }

    /// So many more.
    pub fn add_many(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// As of now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.get())
    }
}

/// More words than any of the tables has.
const WORDS_MAX: usize = 32;

/// A count for each of a few words. A word takes its place when it is first counted, so that the
/// words are written down once, where they are also logged from; from then on one more costs a look
/// at some places and one addition.
#[derive(Debug, Default)]
pub struct ByCause([(OnceLock<&'static str>, Count); WORDS_MAX]);

impl ByCause {
    /// One more of these.
    pub fn add(&self, word: &'static str) {
        let place = self.0.iter().find(|(taken, _)| *taken.get_or_init(|| word) == word);
        debug_assert!(place.is_some(), "{word} is one word too many");
        if let Some((_, count)) = place {
            count.add();
        }
    }

    /// How many of these.
    pub fn get(&self, word: &str) -> u64 {
        self.all().get(word).copied().unwrap_or_default()
    }

    /// All that are not zero, in the order of their words.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        let taken = self.0.iter().map_while(|(word, count)| Some((*word.get()?, count.get())));
        // Between taking the place and counting it is zero.
        taken.filter(|(_, count)| *count > 0).collect()
    }
}

impl Serialize for ByCause {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.all().serialize(to)
    }
}

/// The word for a failed attempt, in logs and labels.
pub fn failure(failure: Failure) -> &'static str {
    match failure {
        Failure::Refused => "connect_refused",
        Failure::Unreachable => "unreachable",
        Failure::ConnectTimeout => "connect_timeout",
        Failure::Died => "node_died",
        Failure::Vanished => "node_vanished",
        Failure::AnswerTimeout => "answer_timeout",
        Failure::BadAnswer => "bad_answer",
    }
}

/// The word for why a request is not sent again.
pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::HeadSent => "head_sent",
        Reason::TooLate => "too_late",
        Reason::Unsafe => "unsafe",
        Reason::BodyGone => "body_gone",
        Reason::SecondDeath => "second_death",
        Reason::NoTryLeft => "no_try_left",
        Reason::Final => "final",
    }
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

    #[test]
    fn each_status_has_a_class() {
        let classes = Classes::default();
        for status in [101, 200, 299, 304, 499, 500, 999] {
            classes.add(status);
        }
        let counts: Vec<_> = classes.all().collect();
        assert_eq!(counts, [("1xx", 1), ("2xx", 2), ("3xx", 1), ("4xx", 1), ("5xx", 2)]);
    }

    #[test]
    fn words_that_several_threads_bring_first_lose_no_count() {
        let by_cause = ByCause::default();
        let words = ["a", "b", "c", "d"];
        std::thread::scope(|scope| {
            for from in 0..words.len() {
                let by_cause = &by_cause;
                scope.spawn(move || {
                    for n in 0..1000 {
                        by_cause.add(words[(from + n) % words.len()]);
                    }
                });
            }
        });
        assert_eq!(by_cause.all(), words.map(|word| (word, 1000)).into());
    }
}
