//! The published view of the cluster: nodes, health and picker input in one immutable value.
//!
//! Discovery publishes a [`Pool`]; every worker reads its own snapshot of the newest one. This is
//! the only place where the two lines meet. The live counters of a member are shared between the
//! pools in which it stands and end with the last of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::health::Health;
use crate::node::Node;

/// The live numbers of one node, written by the workers, read by the API.
///
/// Relaxed atomics: each is a number of its own, none orders another.
#[derive(Debug, Default)]
pub struct Counters {
    /// Attempts under way, from the pick until the end of the answer's body.
    pub inflight: AtomicU32,
    /// Client answers begun from this node; no probes, no failed attempts.
    pub requests: AtomicU64,
    /// Attempts that ended without a whole response head, and answers that broke off.
    pub failures: AtomicU64,
    /// When the node last answered anything, in milliseconds since the process started plus one;
    /// 0 is never.
    pub answered_ms: AtomicU64,
}

/// One node in a pool.
#[derive(Debug)]
pub struct Member {
    /// Who it is and where it takes requests.
    pub node: Node,
    /// What the table thinks of it.
    pub health: Health,
    /// Why, as a sentence for people.
    pub why: String,
    /// When this health began, since the process started.
    pub since: Duration,
    /// Whether its source still advertises it.
    pub advertised: bool,
    /// Whether it can be used when nothing better is: it answers HTTP, but with a failing status,
    /// or it is draining ("panic" in Envoy's words).
    pub last_resort: bool,
    /// Whether it is down because it answers nothing at all, not even with a refusal: a host that
    /// vanished. What waits for its answer will wait in vain.
    pub silent: bool,
    /// The epoch of this endpoint: a number never used for another node, boot or address. Kept
    /// connections are filed under it, so that none outlives what it was opened to.
    pub epoch: u64,
    /// The live numbers, the same object in every pool in which the node stands.
    pub counters: Arc<Counters>,
}

impl Member {
    /// Counts an answer that begins, at `now` (since the process started).
    pub(crate) fn answered(&self, now: Duration) {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.counters.answered_ms.store(now.as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// Whether the node has answered a request within the last `span`.
    pub(crate) fn answered_within(&self, span: Duration, now: Duration) -> bool {
        let at = self.counters.answered_ms.load(Ordering::Relaxed);
        at != 0 && (now.as_millis() as u64 + 1).saturating_sub(at) <= span.as_millis() as u64
    }
}

/// An immutable view of the cluster.
#[derive(Debug, Default)]
pub struct Pool {
    members: Vec<Arc<Member>>,
    usable: Vec<Arc<Member>>,
    last_resort: Vec<Arc<Member>>,
    rotation: Arc<AtomicUsize>,
    last_usable: Option<Duration>,
}

impl Pool {
    /// All members, in the order of their names.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// The members that take requests.
    pub fn usable(&self) -> &[Arc<Member>] {
        &self.usable
    }

    /// The members that take requests when no usable one is left.
    pub fn last_resort(&self) -> &[Arc<Member>] {
        &self.last_resort
    }

    /// Whether the node still stands in this pool at the same epoch and is usable.
    pub fn is_usable(&self, epoch: u64) -> bool {
        self.usable.iter().any(|member| member.epoch == epoch)
    }

    /// Whether the member of this epoch vanished: see [`Member::silent`].
    pub fn is_silent(&self, epoch: u64) -> bool {
        self.members.iter().any(|member| member.epoch == epoch && member.silent)
    }

    /// When a member was last usable, since the process started; `None` if that never was.
    /// While one is, this is the time of the publication.
    pub fn last_usable(&self) -> Option<Duration> {
        self.last_usable
    }

    /// The next turn of the rotation that all workers share: one relaxed atomic, so that
    /// sequential requests over any connections go round exactly.
    pub(crate) fn turn(&self) -> usize {
        self.rotation.fetch_add(1, Ordering::Relaxed)
    }
}

/// The side that publishes; owned by the discovery line's one task.
#[derive(Debug)]
pub struct Publisher {
    sender: watch::Sender<Arc<Pool>>,
    rotation: Arc<AtomicUsize>,
}

/// The side that reads. Cheap to clone, one for each worker.
pub type Watch = watch::Receiver<Arc<Pool>>;

/// An empty pool and the two sides of its publication.
pub fn channel() -> (Publisher, Watch) {
    let rotation = Arc::new(AtomicUsize::new(0));
    let (sender, watch) =
        watch::channel(Arc::new(Pool { rotation: Arc::clone(&rotation), ..Pool::default() }));
    (Publisher { sender, rotation }, watch)
}

impl Publisher {
    /// Publishes these members as of `now` (since the process started).
    pub fn publish(&self, mut members: Vec<Member>, now: Duration) {
        members.sort_by(|a, b| a.node.name.cmp(&b.node.name));
        let members: Vec<_> = members.into_iter().map(Arc::new).collect();
        let those = |test: fn(&Member) -> bool| -> Vec<_> {
            members.iter().filter(|member| test(member)).cloned().collect()
        };
        let usable = those(|member| member.health == Health::Up);
        let last_resort = those(|member| member.last_resort && member.health != Health::Up);
        let before = self.sender.borrow();
        let was_usable = !before.usable.is_empty();
        let last_usable =
            if was_usable || !usable.is_empty() { Some(now) } else { before.last_usable };
        drop(before);
        self.sender.send_replace(Arc::new(Pool {
            members,
            usable,
            last_resort,
            rotation: Arc::clone(&self.rotation),
            last_usable,
        }));
    }
}
