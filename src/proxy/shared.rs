//! The part of the data line that all connections of one worker share: the newest pool, the kept
//! connections to nodes, buffers, and counts. Nothing in it is shared with another thread but the
//! settings and the counters of members, so it needs no lock.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use tracing::debug;

use crate::cluster::health::{Health, Outcome};
use crate::cluster::pool::{self, Destination, Pool};
use crate::cluster::retry;
use crate::proxy::access::LogBuffer;
use crate::proxy::reject::Reject;
use crate::proxy::scratch::Scratch;
use crate::proxy::settings::Settings;
use crate::proxy::upstream::IdlePool;
use crate::server::buffer::Buffers;

/// The time between two looks through the kept connections.
const SWEEP: Duration = Duration::from_secs(1);

/// A node that is known to be down and takes nothing of an upload for this long has stopped.
const STOPPED: Duration = Duration::from_secs(1);

/// The state that the connections of one worker share.
pub(super) struct Shared {
    /// Shared with the other workers.
    pub(super) settings: Arc<Settings>,
    /// The newest pool this worker has seen; [`Self::follow`] writes it.
    pool: RefCell<Arc<Pool>>,
    /// Rings after `pool` was replaced.
    published: Notify,
    /// Connections to nodes that wait for a request.
    pub(super) idle: IdlePool,
    /// Buffers that wait for bytes.
    pub(super) buffers: Buffers,
    /// The head that is about to be sent.
    pub(super) scratch: Scratch,
    /// For the policies that choose by chance.
    pub(super) rng: RefCell<Rng>,
    /// The worker's part of the access log.
    pub(super) access_log: Option<Rc<LogBuffer>>,
    /// Requests under way, and how many of them are replays.
    active: Cell<usize>,
    replaying: Cell<usize>,
}

impl Shared {
    /// The state of a worker that has no connection yet. Call it on the worker's own thread, where the
    /// access log starts a task.
    pub(super) fn new(settings: Arc<Settings>, newest: Arc<Pool>) -> Self {
        Self {
            pool: RefCell::new(newest),
            published: Notify::new(),
            idle: IdlePool::new(settings.kept_max),
            access_log: settings.access_log.clone().map(LogBuffer::start),
            buffers: Buffers::new(Arc::clone(&settings.memory)),
            settings,
            scratch: Scratch::default(),
            rng: RefCell::new(Rng::new()),
            active: Cell::default(),
            replaying: Cell::default(),
        }
    }

    /// Takes over each pool that is published, until the publisher is gone.
    pub(super) async fn follow(self: Rc<Self>, mut watch: pool::Watch) {
        while watch.changed().await.is_ok() {
            *self.pool.borrow_mut() = Arc::clone(&watch.borrow_and_update());
            self.published.notify_waiters();
        }
    }

    /// Closes connections that were kept too long and frees buffers that were not needed, again and
    /// again. Never completes.
    pub(super) async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.idle.sweep(&self.pool.borrow(), self.settings.limits.upstream_idle);
            self.buffers.trim();
        }
    }

    /// The time since the process started: the clock of every time in the pool.
    pub(super) fn now(&self) -> Duration {
        self.settings.started.elapsed()
    }

    /// The newest pool. Not to be held over an `await`.
    pub(super) fn pool(&self) -> Ref<'_, Arc<Pool>> {
        self.pool.borrow()
    }

    /// Looks at the members of a destination. `None` if there is no destination, or its service is gone
    /// from the newest pool.
    pub(super) fn members_of<T>(
        &self,
        to: Option<Destination>,
        look: impl FnOnce(&Pool) -> T,
    ) -> Option<T> {
        self.pool.borrow().of(to?).map(look)
    }

    /// Completes when the next pool was published.
    pub(super) fn published(&self) -> Notified<'_> {
        self.published.notified()
    }

    /// Completes when the node of this epoch is known to have vanished.
    pub(super) async fn vanished(&self, epoch: u64) {
        loop {
            let published = self.published();
            if self.pool.borrow().is_silent(epoch) {
                return;
            }
            published.await;
        }
    }

    /// Completes when the node of this epoch is known to be down and has taken nothing of an upload for
    /// a while: it owes that since `waits_since`. A node that is down only by its probes may be busy with
    /// the upload itself, and then it takes more of it.
    pub(super) async fn stopped(&self, epoch: u64, waits_since: &Cell<Option<Instant>>) {
        loop {
            let published = self.published();
            let is_down = self.pool().member(epoch).is_some_and(|m| m.health == Health::Down);
            let waited = waits_since.get().map_or(Duration::ZERO, |since| since.elapsed());
            if !is_down {
                published.await;
            } else if waited >= STOPPED {
                return;
            } else {
                tokio::time::sleep(STOPPED - waited).await;
            }
        }
    }

    /// Reports to the table how traffic fared at a node. A full channel loses the report: probes will
    /// find the same.
    pub(super) fn report(&self, epoch: u64, outcome: Outcome) {
        let _ = self.settings.feedback.try_send((epoch, outcome));
    }

    /// Counts and logs an answer of our own.
    pub(super) fn count_reject(&self, reject: Reject) {
        let (status, cause, counts) = (reject.status(), reject.cause(), &self.settings.counts);
        counts.rejects.add(cause);
        if let Reject::Failed(_, reason) = reject {
            counts.gave_up.add(reason.as_str());
        }
        if matches!(status, 502..=504) {
            counts.requests_failed.add();
        }
        debug!(status, cause, "answered for the cluster");
    }

    /// Counts one more request under way, until the guard is dropped.
    pub(super) fn count_active(&self) -> Counted<'_> {
        Counted::new(&self.active)
    }

    /// Counts one more request that is sent again, until the guard is dropped.
    pub(super) fn count_replay(&self) -> Counted<'_> {
        Counted::new(&self.replaying)
    }

    /// Returns whether the budget allows one more replay now.
    pub(super) fn has_budget(&self) -> bool {
        retry::within_budget(self.active.get(), self.replaying.get())
    }
}

/// One more in a count of this worker, until it is dropped.
pub(super) struct Counted<'a>(&'a Cell<usize>);

impl<'a> Counted<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
