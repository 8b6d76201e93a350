//! Clients that send request after request and count the outcomes.
//!
//! They are strict: they repeat nothing. An answer below 500 is a served request. Everything else
//! is a failure, also the reset of a kept connection before any byte, which a browser would hide.
//! Each request has its own `X-Test-Id`, by which a [`super::Recorder`] recognises it.

mod clients;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::inside::Program;
use super::process::Pipes;
use super::{PATIENCE, Pi, lock, now_ms, pause};

pub(super) use clients::run;

/// A client that hears nothing for this long gives up. It is longer than every limit of the
/// balancer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The behaviour of the clients.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    url: String,
    method: String,
    clients: usize,
    pause: Duration,
    body_bytes: usize,
    /// Each connection serves one request.
    anew: bool,
    /// The body of each answer must be the name of its node.
    names: bool,
}

/// The outcomes so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    /// The longest wait for an answer or a failure, from the start of the connect.
    pub(crate) worst_ms: u64,
    /// The send time of that request, by [`now_ms`].
    pub(crate) worst_began_ms: u64,
    /// The longest delay at the end of a short sleep: the machine's own share in a long wait.
    pub(crate) stall_ms: u64,
    /// Answers by waiting time in milliseconds.
    pub(crate) waits_ms: BTreeMap<u64, u64>,
    /// Failures by reason.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Answers by node, from `x-picluster-node`.
    pub(crate) nodes: BTreeMap<String, Answers>,
    /// Failures by client.
    pub(crate) by_client: BTreeMap<usize, u64>,
    /// The first failures, in full.
    pub(crate) failures: Vec<Failure>,
}

/// A request that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) client: usize,
    /// The send time, by [`now_ms`].
    pub(crate) began_ms: u64,
    pub(crate) waited_ms: u64,
    pub(crate) reason: String,
}

/// A node's answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answers {
    pub(crate) count: u64,
    /// The times of the first and the last answer, by [`now_ms`].
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
}

/// A load before its start: 8 clients that GET every 10 ms.
pub(crate) struct LoadStart {
    pi: Pi,
    spec: Spec,
}

/// A running load.
pub(crate) struct Load {
    newest: Arc<Newest>,
    stop: std::process::ChildStdin,
}

#[derive(Default)]
struct Newest {
    report: Mutex<(Report, bool)>,
    changed: Condvar,
}

impl LoadStart {
    pub(super) fn new(pi: &Pi, url: &str) -> Self {
        let spec = Spec {
            url: url.to_owned(),
            method: "GET".to_owned(),
            clients: 8,
            pause: Duration::from_millis(10),
            body_bytes: 0,
            anew: false,
            names: false,
        };
        Self { pi: pi.clone(), spec }
    }

    /// Sets the number of clients; each has a kept connection.
    pub(crate) fn clients(mut self, clients: usize) -> Self {
        self.spec.clients = clients;
        self
    }

    /// Sets the method and the length of each body.
    pub(crate) fn sending(mut self, method: &str, body_bytes: usize) -> Self {
        method.clone_into(&mut self.spec.method);
        self.spec.body_bytes = body_bytes;
        self
    }

    /// Sets the pause between an answer and the next request.
    pub(crate) fn pausing(mut self, pause: Duration) -> Self {
        self.spec.pause = pause;
        self
    }

    /// Opens a new connection for each request; the client closes it, as browsers do.
    pub(crate) fn connecting_anew(mut self) -> Self {
        self.spec.anew = true;
        self
    }

    /// Requires that each answer's body is the name of the node in its head.
    pub(crate) fn expecting_names(mut self) -> Self {
        self.spec.names = true;
        self
    }

    /// Starts the load. Waits until there are as many answers and failures as clients.
    pub(crate) fn start(self) -> Load {
        let clients = self.spec.clients as u64;
        let (_, (stop, lines)): (_, Pipes) = self.pi.helper(&Program::Load(self.spec));
        let newest = Arc::new(Newest::default());
        let written = Arc::clone(&newest);
        std::thread::spawn(move || {
            for line in lines {
                let report = serde_json::from_str(&line).expect("the load writes JSON");
                lock(&written.report).0 = report;
                written.changed.notify_all();
            }
            lock(&written.report).1 = true;
            written.changed.notify_all();
        });
        let load = Load { newest, stop };
        load.wait_until("the first answers", |report| report.ok + report.failed >= clients);
        load
    }
}

impl Load {
    /// The newest interim report.
    pub(crate) fn so_far(&self) -> Report {
        lock(&self.newest.report).0.clone()
    }

    /// Waits until a report fulfils a condition.
    pub(crate) fn wait_until(&self, what: &str, mut holds: impl FnMut(&Report) -> bool) -> Report {
        let deadline = Instant::now() + PATIENCE;
        let mut newest = lock(&self.newest.report);
        while !holds(&newest.0) {
            let left = deadline.saturating_duration_since(Instant::now());
            let report = &newest.0;
            assert!(!left.is_zero(), "waited {PATIENCE:?} for {what}, there is {report:#?}");
            assert!(!newest.1, "the load ended before {what}: {report:#?}");
            let waited = self.newest.changed.wait_timeout(newest, left);
            newest = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        newest.0.clone()
    }

    /// Waits until this many requests have been served since the start.
    pub(crate) fn wait_for_answers(&self, count: u64) -> Report {
        self.wait_until(&format!("{count} answers"), |report| report.ok >= count)
    }

    /// Waits until this many more requests have been served.
    pub(crate) fn wait_for_more(&self, count: u64) -> Report {
        let all = self.so_far().ok + count;
        self.wait_until(&format!("{count} more answers"), |report| report.ok >= all)
    }

    /// Waits until exactly this many nodes have answered.
    pub(crate) fn wait_for_nodes(&self, count: usize) -> Report {
        let what = format!("answers of exactly {count} nodes");
        self.wait_until(&what, |report| report.nodes.len() == count)
    }

    /// Waits for a node's first answer. Returns its time.
    pub(crate) fn wait_for_answer_of(&self, node: &str) -> u64 {
        let what = format!("an answer of {node}");
        self.wait_until(&what, |report| report.nodes.contains_key(node)).nodes[node].first_ms
    }

    /// Waits for an answer that a node gives from now on. Returns its time.
    pub(crate) fn wait_for_new_answer_of(&self, node: &str) -> u64 {
        let from = now_ms();
        let new = |report: &Report| report.nodes.get(node).is_some_and(|n| n.last_ms > from);
        self.wait_until(&format!("a new answer of {node}"), new).nodes[node].last_ms
    }

    /// Lets the load run for a span of time: where the question is what happens within it.
    pub(crate) fn keep_on(&self, span: Duration) {
        pause(span);
    }

    /// Lets each client finish its request, then returns the whole count.
    pub(crate) fn stop(self) -> Report {
        drop(self.stop);
        let newest = lock(&self.newest.report);
        let ended = |newest: &mut (Report, bool)| !newest.1;
        let limit = TIMEOUT + PATIENCE;
        let waited = self.newest.changed.wait_timeout_while(newest, limit, ended);
        let (newest, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "the load did not end");
        newest.0.clone()
    }

    /// Stops the load; no request may have failed.
    #[track_caller]
    pub(crate) fn stop_with_no_failure(self) -> Report {
        let report = self.stop();
        assert_eq!(report.failed, 0, "failed requests: {report:#?}");
        report
    }
}
