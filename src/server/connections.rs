//! The connections of one worker: the state of each, and the choice of the one that makes room when
//! there are too many.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::admission::{Admission, Client, OverLimit};
use super::handoff::{Handoff, HandoffSlot};

/// A connection that has been idle for this long may make room for others. Before that, its request may
/// well be on its way.
const IDLE_PATIENCE: Duration = Duration::from_millis(50);

/// A request head that has been unfinished for this long may make room for others.
const HEAD_PATIENCE: Duration = Duration::from_secs(1);

/// A newcomer that waits for a place looks this often for a connection that can be ended by now.
const WAIT_TICK: Duration = Duration::from_millis(50);

/// A client that was turned away may take this long to read the reason: closing at once would reset the
/// connection and could take the answer away.
const PARTING: Duration = Duration::from_secs(1);

/// The most KiB that it may send meanwhile; they are read and dropped.
const PARTING_KIB_MAX: usize = 64;

/// The state that a worker and its connections share. Never leaves the worker's thread.
pub(super) struct Connections {
    /// Set by the worker when it drains: each connection answers its next request, then closes.
    pub(super) draining: Cell<bool>,
    admission: Arc<Admission>,
    handoff: Arc<Handoff>,
    /// The worker's index in [`Handoff`].
    worker: usize,
    slab: RefCell<Slab<Connection>>,
    /// The number of connections whose client is not identified yet.
    arriving: Cell<usize>,
    /// Connections that were turned away; their clients may still be reading the reason.
    parting: RefCell<VecDeque<AbortHandle>>,
}

/// A connection as its worker knows it.
struct Connection {
    /// `None` until its task is spawned.
    abort: Option<AbortHandle>,
    state: ConnectionState,
}

/// The state of a connection. Written by its [`ConnectionGuard`], and by the worker that ends it.
enum ConnectionState {
    /// Accepted; the client is not identified yet.
    Arriving(Instant),
    /// A request is under way, or the connection waits for a place.
    Serving,
    /// It waits for a request and can be ended without loss.
    Idle(Instant),
    /// A part of a request's head has come; its first byte came at this time.
    Head(Instant, Waker),
    /// The worker asked it to leave.
    Leaving,
}

impl Connection {
    fn end(&mut self) {
        self.state = ConnectionState::Leaving;
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }
}

impl Connections {
    pub(super) fn new(admission: Arc<Admission>, handoff: Arc<Handoff>, worker: usize) -> Self {
        Self {
            draining: Cell::new(false),
            admission,
            handoff,
            worker,
            slab: RefCell::default(),
            arriving: Cell::new(0),
            parting: RefCell::default(),
        }
    }

    /// Reserves a slot at another worker for the connection that was just accepted, if it should go
    /// there. None while the workers drain: then no worker takes connections from others.
    pub(super) fn elsewhere(&self) -> Option<HandoffSlot<'_>> {
        if self.draining.get() { None } else { self.handoff.elsewhere(self.worker) }
    }

    /// Counts a connection that was just accepted and is served here.
    pub(super) fn entered(&self) {
        self.handoff.entered(self.worker);
    }

    /// Counts the end of a connection that had [`entered`](Self::entered) or was handed over.
    pub(super) fn left(&self) {
        self.handoff.left(self.worker);
    }

    /// Adds a new connection; the guard removes it when it is dropped.
    pub(super) fn open(self: &Rc<Self>) -> ConnectionGuard {
        let connection =
            Connection { abort: None, state: ConnectionState::Arriving(Instant::now()) };
        let key = self.slab.borrow_mut().insert(connection);
        self.arriving.set(self.arriving.get() + 1);
        ConnectionGuard {
            key,
            connections: Rc::clone(self),
            arriving: Cell::new(true),
            client: Cell::new(None),
            place: Cell::new(None),
        }
    }

    /// Keeps the handle that ends the connection's task.
    pub(super) fn spawned(&self, key: usize, abort: AbortHandle) {
        self.slab.borrow_mut()[key].abort = Some(abort);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.borrow().is_empty()
    }

    /// Ends all connections, or only those that wait for a request.
    pub(super) fn end(&self, all: bool) {
        for (_, connection) in &mut *self.slab.borrow_mut() {
            if all || matches!(connection.state, ConnectionState::Idle(_)) {
                connection.end();
            }
        }
        if all {
            self.parting.borrow().iter().for_each(AbortHandle::abort);
        }
    }

    fn set(&self, key: usize, state: ConnectionState) {
        self.slab.borrow_mut()[key].state = state;
    }

    /// Whether more connections are unidentified than may be.
    pub(super) fn is_rushed(&self) -> bool {
        self.arriving.get() > self.admission.limits.spare
    }

    /// Ends the connection that has been unidentified for the longest.
    pub(super) fn evict_oldest_pending(&self) {
        let mut connections = self.slab.borrow_mut();
        let slowest = oldest(&mut connections, |state| match state {
            ConnectionState::Arriving(since) => Some(*since),
            _ => None,
        });
        if let Some(slowest) = slowest {
            slowest.end();
        }
    }

    /// Makes room at no client's cost: ends the connection that has been idle for the longest, else the
    /// one with the oldest head that should have come by now. Returns whether there was one. Its place
    /// becomes free when that connection has really ended, which is soon.
    pub(super) fn make_room(&self) -> bool {
        let now = Instant::now();
        let mut connections = self.slab.borrow_mut();
        let longest_idle = oldest(&mut connections, |state| match state {
            ConnectionState::Idle(since) if now.duration_since(*since) >= IDLE_PATIENCE => {
                Some(*since)
            }
            _ => None,
        });
        if let Some(idle) = longest_idle {
            idle.end();
            return true;
        }
        let oldest_head = oldest(&mut connections, |state| match state {
            ConnectionState::Head(since, _) if now.duration_since(*since) >= HEAD_PATIENCE => {
                Some(*since)
            }
            _ => None,
        });
        let Some(head) = oldest_head else { return false };
        if let ConnectionState::Head(_, waker) =
            std::mem::replace(&mut head.state, ConnectionState::Leaving)
        {
            waker.wake();
        }
        true
    }

    /// Makes room whenever a newcomer of another worker waits and that worker had none to make.
    pub(super) async fn help_others(&self) -> Infallible {
        loop {
            self.admission.short.notified().await;
            if self.admission.somebody_waits() {
                self.make_room();
            }
        }
    }

    /// Waits for a place and makes room meanwhile.
    async fn place(&self) -> Result<OwnedSemaphorePermit, OverLimit> {
        self.admission.log_full();
        let deadline = Instant::now() + self.admission.limits.wait;
        let mut next = pin!(self.admission.next_place());
        let mut waiting = None;
        loop {
            if !self.make_room() {
                if waiting.is_none() {
                    waiting = Some(self.admission.wait()?);
                }
                self.admission.short.notify_waiters();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout(left.min(WAIT_TICK), next.as_mut()).await {
                Ok(place) => return Ok(place),
                Err(_) if left <= WAIT_TICK => return Err(OverLimit::All),
                Err(_) => {}
            }
        }
    }

    /// Keeps a connection that was turned away until its client has read the reason and closed it, but
    /// for [`PARTING`] at most, and at most `spare` of them: the oldest has had the most time and goes.
    fn part(&self, mut stream: TcpStream) {
        let task = tokio::task::spawn_local(async move {
            let drain = async {
                stream.shutdown().await?;
                for _ in 0..PARTING_KIB_MAX {
                    if stream.read(&mut [0; 1024]).await? == 0 {
                        break;
                    }
                }
                std::io::Result::Ok(())
            };
            // An error changes nothing: the client has left either way.
            let _ = timeout(PARTING, drain).await;
        });
        let mut parting = self.parting.borrow_mut();
        parting.retain(|task| !task.is_finished());
        if parting.len() >= self.admission.limits.spare
            && let Some(oldest) = parting.pop_front()
        {
            oldest.abort();
        }
        parting.push_back(task.abort_handle());
    }
}

/// Returns the connection that has been in a state for the longest time, if any is in it.
fn oldest(
    connections: &mut Slab<Connection>,
    since: impl Fn(&ConnectionState) -> Option<Instant>,
) -> Option<&mut Connection> {
    let each = connections.iter_mut().map(|(_, connection)| connection);
    let each = each.filter_map(|connection| Some((since(&connection.state)?, connection)));
    each.min_by_key(|(since, _)| *since).map(|(_, connection)| connection)
}

/// The entry of a connection among those of its worker, held by the connection's task. Dropping it,
/// however the task ends, removes the entry. A wrapper around the task would do that too, and double
/// the task's size.
pub struct ConnectionGuard {
    key: usize,
    connections: Rc<Connections>,
    arriving: Cell<bool>,
    /// The client for which the connection is counted, and its place, once it was claimed.
    client: Cell<Option<Client>>,
    place: Cell<Option<OwnedSemaphorePermit>>,
}

impl ConnectionGuard {
    pub(super) fn key(&self) -> usize {
        self.key
    }

    /// Claims a place for a connection of this client; `None` is a client without a limit of its own.
    /// Until then the connection serves no request. While no place is free, room is made or waited for.
    ///
    /// # Errors
    /// There is no place: the caller should answer the reason and [part](Self::part).
    pub(crate) async fn claim(&self, client: Option<IpAddr>) -> Result<(), OverLimit> {
        // First, because a client that has too many must not cost others their idle connections.
        self.client.set(client.map(|client| self.connections.admission.enter(client)).transpose()?);
        self.arrived();
        self.serves();
        let place = match self.connections.admission.place() {
            Some(place) => place,
            None => Box::pin(self.connections.place()).await?,
        };
        self.place.set(Some(place));
        Ok(())
    }

    fn arrived(&self) {
        if self.arriving.replace(false) {
            self.connections.arriving.set(self.connections.arriving.get() - 1);
        }
    }

    /// Marks the connection as one that waits for a request and can be ended without loss.
    pub(crate) fn idle_since(&self, since: Instant) {
        self.connections.set(self.key, ConnectionState::Idle(since));
    }

    /// Marks a request as under way.
    pub(crate) fn serves(&self) {
        self.connections.set(self.key, ConnectionState::Serving);
    }

    /// Completes when this connection has to make room for others. The head of its request began to come
    /// at `began` and is not whole yet.
    pub(crate) fn evicted(&self, began: Instant) -> Evicted<'_> {
        Evicted { guard: self, began }
    }

    /// Ends a connection after the reason was sent. It gives its place back now.
    pub(crate) fn part(self, stream: TcpStream) {
        self.connections.part(stream);
    }

    /// Whether the connection should end after the request that runs.
    pub(crate) fn is_draining(&self) -> bool {
        self.connections.draining.get()
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.arrived();
        self.connections.admission.leave(self.client.take(), self.place.take());
        self.connections.slab.borrow_mut().remove(self.key);
        self.connections.left();
    }
}

/// See [`ConnectionGuard::evicted`].
pub(crate) struct Evicted<'a> {
    guard: &'a ConnectionGuard,
    began: Instant,
}

impl Future for Evicted<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { guard, began } = *self;
        let connection = &mut guard.connections.slab.borrow_mut()[guard.key];
        if matches!(connection.state, ConnectionState::Leaving) {
            return Poll::Ready(());
        }
        connection.state = ConnectionState::Head(began, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Evicted<'_> {
    fn drop(&mut self) {
        let connection = &mut self.guard.connections.slab.borrow_mut()[self.guard.key];
        if matches!(connection.state, ConnectionState::Head(..)) {
            connection.state = ConnectionState::Serving;
        }
    }
}
