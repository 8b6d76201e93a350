//! One node in a pool: the facts that the table publishes of it, and the live counters that workers
//! add to while they use it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::peak_ewma::PeakEwma;
use crate::cluster::health::{ERRORS_IN_A_ROW, Health, Outcome};
use crate::cluster::node::Node;
use crate::cluster::pi::Pi;
use crate::telemetry::counters::StatusClasses;
use crate::telemetry::histogram::Histogram;

/// The live numbers of one node. The workers write them; the API, the metrics and, of `errors`, the
/// table read them. They end with the last pool in which the node stands.
///
/// Relaxed atomics: each is a number of its own, none orders another.
#[derive(Debug, Default)]
pub struct Counters {
    /// Attempts under way, from the pick until the end of the answer's body.
    pub inflight: AtomicU32,
    /// Answers of this node that began to go to a client; no probes, no failed attempts.
    pub requests: AtomicU64,
    /// The answers in `requests`, by the class of their status.
    pub classes: StatusClasses,
    /// Attempts that ended without a whole response head, and answers that broke off.
    pub failures: AtomicU64,
    /// When the node last answered anything, in milliseconds since the process started plus one;
    /// 0 is never.
    pub answered_ms: AtomicU64,
    /// The number of last requests in a row that went wrong: answered with an error of the server
    /// (5xx), not answered in time, or broken off.
    pub errors: AtomicU32,
    /// The reasons for which answers were refused so far: the log has one warning for each.
    pub refused: Mutex<BTreeSet<&'static str>>,
    /// Of the answers in `requests`: the time from the whole head of the request to the head of the
    /// answer.
    pub latency: Histogram,
    /// The time that the node is expected to need until the head of its next answer.
    pub latency_ewma: PeakEwma,
}

/// The part of its weight with which a member takes part in the rotation while it is up.
#[derive(Clone, Debug)]
pub enum Share {
    /// The member is back after a fall: it gets one request at a time until one was answered. The
    /// flag is set while one is under way; each trial has a flag of its own.
    Trial(Arc<AtomicBool>),
    /// This number of quarters of a whole share, 1 to 4.
    Quarters(u8),
}

impl Share {
    /// A whole share: what a member has as a rule.
    pub const WHOLE: Self = Self::Quarters(4);

    /// The share as a number: 1 is a whole share, 0 a trial.
    pub fn weight(&self) -> f64 {
        match self {
            Self::Trial(_) => 0.0,
            Self::Quarters(quarters) => f64::from(*quarters) / 4.0,
        }
    }

    /// Returns whether it is a trial.
    pub fn is_trial(&self) -> bool {
        matches!(self, Self::Trial(_))
    }
}

/// One node in a pool.
#[derive(Debug)]
pub struct Member {
    /// Its identity, and the address at which it takes requests.
    pub node: Node,
    /// Its health, as the table judges it.
    pub health: Health,
    /// The reason for its health, as a sentence for people.
    pub why: String,
    /// When this health began: time since the process started, the clock of every time in the pool.
    pub since: Duration,
    /// True if its source still advertises it.
    pub advertised: bool,
    /// True if it can be used when there is nothing better: it answers HTTP, but with errors, it is
    /// draining, or it is only suspected (Envoy calls this panic).
    pub last_resort: bool,
    /// True if it is down or suspected because it answers nothing at all, not even with a refusal:
    /// its host vanished. A request that waits for its answer will not get one.
    pub silent: bool,
    /// The epoch that it had at its address before, if it is reached at another one now because the
    /// address before answers nothing.
    pub left_silent: Option<u64>,
    /// The part of its weight with which it takes part in the rotation.
    pub share: Share,
    /// The epoch of this endpoint: a number never used for another node, boot or address. Kept
    /// connections are filed under it, so that none outlives what it was opened to.
    pub epoch: u64,
    /// The live numbers, the same object in every pool in which the node stands.
    pub counters: Arc<Counters>,
    /// The state of its board in its last health answer; `None` if that reports none. It changes
    /// with each answer and makes no new pool. Never locked on the request path.
    pub pi: Arc<Mutex<Option<Pi>>>,
}

impl Member {
    /// Its weight times its share, in quarters: its turns in a round of the rotation, and its
    /// weight for every other policy. A member on trial counts as whole, because it is in a
    /// rotation only when nobody else is.
    pub(crate) fn quarters(&self) -> u32 {
        let share = match self.share {
            Share::Trial(_) => 4,
            Share::Quarters(quarters) => quarters.clamp(1, 4),
        };
        u32::from(share) * u32::from(self.node.offer.weight)
    }

    /// Its weight times its share: 1 is a whole share of an ordinary node, 0 a trial.
    pub fn weight(&self) -> f64 {
        self.share.weight() * f64::from(self.node.offer.weight)
    }

    /// Feeds the expectation of its latency. Only for an answer during whose `latency` nothing but
    /// this member was waited for: the slowness of a client or of another node is not its own.
    ///
    /// `now` is the time since the process started.
    pub(crate) fn feed_ewma(&self, now: Duration, latency: Duration) {
        self.counters.latency_ewma.add(now, latency);
    }

    /// Counts an answer of this status whose head has come `latency` after the whole head of the
    /// request. `now` is the time since the process started.
    pub(crate) fn count_answer(&self, status: u16, now: Duration, latency: Duration) {
        self.counters.latency.add(latency);
        self.counters.classes.add(status);
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.counters.answered_ms.store(now.as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// Notes the status of an answer whose head has come. Returns the outcome to report to the
    /// table, if this one matters there. An ordinary answer does not, and writes nothing.
    pub fn note_head(&self, status: u16) -> Option<Outcome> {
        if status >= 500 && self.count_error() {
            return Some(Outcome::Erring);
        }
        self.share.is_trial().then_some(Outcome::Answered)
    }

    /// Notes that an answer was refused for this reason. Returns whether it is the first one.
    pub fn note_refusal(&self, reason: &'static str) -> bool {
        self.counters.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(reason)
    }

    /// Notes that a request or its answer broke off here. Returns the outcome to report to the
    /// table, if this one matters there.
    pub fn note_break(&self) -> Option<Outcome> {
        self.count_error().then_some(Outcome::Breaking)
    }

    /// Notes that an answer of this status has come whole: unless it is a 5xx, it ends the row of
    /// errors.
    pub fn note_end(&self, status: u16) {
        let errors = &self.counters.errors;
        if status < 500 && errors.load(Ordering::Relaxed) != 0 {
            errors.store(0, Ordering::Relaxed);
        }
    }

    /// Counts one more error in the row. Returns whether the row has reached a multiple of
    /// [`ERRORS_IN_A_ROW`], which the table wants to know.
    fn count_error(&self) -> bool {
        let in_a_row = self.counters.errors.fetch_add(1, Ordering::Relaxed) + 1;
        in_a_row.is_multiple_of(ERRORS_IN_A_ROW)
    }

    /// Returns whether the node has answered a request within the last `span`, as of `now` (time
    /// since the process started).
    pub(crate) fn answered_within(&self, span: Duration, now: Duration) -> bool {
        let at = self.counters.answered_ms.load(Ordering::Relaxed);
        at != 0 && (now.as_millis() as u64 + 1).saturating_sub(at) <= span.as_millis() as u64
    }
}

#[cfg(test)]
impl Member {
    /// A member that is up, for tests: `node1` for the epoch 1.
    pub(crate) fn sample(epoch: u64) -> Self {
        let name = format!("node{epoch}");
        Self {
            node: Node {
                id: crate::cluster::node::NodeId::new(&name).expect("a legal id"),
                name,
                hostname: "raspberrypi".to_owned(),
                endpoint: ([10, 0, 0, 1], 8080).into(),
                boot: None,
                source: crate::cluster::node::Source::Mdns,
                offer: Arc::default(),
            },
            health: Health::Up,
            why: String::new(),
            since: Duration::ZERO,
            advertised: true,
            last_resort: false,
            silent: false,
            left_silent: None,
            share: Share::WHOLE,
            epoch,
            counters: Arc::default(),
            pi: Arc::default(),
        }
    }
}
