//! A worker's books: its connections, what each is doing, and which of them makes room when there
//! are too many.

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

/// A connection that is idle for this long may make room for others: before that its request may
/// well be on its way.
const IDLE_PATIENCE: Duration = Duration::from_millis(50);

/// A request head that is unfinished for this long may make room for others.
const HEAD_PATIENCE: Duration = Duration::from_secs(1);

/// How often one who waits for a place looks whether somebody can be asked to leave by now.
const WAIT_TICK: Duration = Duration::from_millis(50);

/// How long a client that was turned away may take to read why: closing at once would reset the
/// connection and could take the answer away.
const PARTING: Duration = Duration::from_secs(1);

/// How many KiB it may send meanwhile; they are read and dropped.
const PARTING_KIB_MAX: usize = 64;

/// What a worker and its connections share.
pub(super) struct Connections {
    /// Set by the worker: answer what comes, then close.
    pub(super) draining: Cell<bool>,
    crowd: Arc<Admission>,
    spread: Arc<Handoff>,
    /// Which worker this is, in [`Handoff`].
    worker: usize,
    connections: RefCell<Slab<Connection>>,
    /// Those of which it is not known yet whose they are.
    arriving: Cell<usize>,
    /// Those that were turned away and may still be reading why.
    parting: RefCell<VecDeque<AbortHandle>>,
}

/// A connection as its worker knows it.
struct Connection {
    /// `None` until its task is spawned.
    abort: Option<AbortHandle>,
    doing: ConnectionState,
}

/// What a connection is doing. Written by its [`ConnectionGuard`], and by the worker that ends it.
enum ConnectionState {
    /// It was accepted; whose it is is not known yet.
    Arriving(Instant),
    /// A request is under way, or it waits for a place.
    Serving,
    /// It waits for a request and may be ended without loss.
    Idle(Instant),
    /// A part of a request's head has come, the first of it then.
    Head(Instant, Waker),
    /// It was asked to leave.
    Leaving,
}

impl Connection {
    fn end(&mut self) {
        self.doing = ConnectionState::Leaving;
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }
}

impl Connections {
    pub(super) fn new(crowd: Arc<Admission>, spread: Arc<Handoff>, worker: usize) -> Self {
        Self {
            draining: Cell::new(false),
            crowd,
            spread,
            worker,
            connections: RefCell::default(),
            arriving: Cell::new(0),
            parting: RefCell::default(),
        }
    }

    /// A place at another worker for the connection that was just accepted, if it had better go there.
    /// Not while the workers drain: then nobody takes what is handed over.
    pub(super) fn elsewhere(&self) -> Option<HandoffSlot<'_>> {
        if self.draining.get() { None } else { self.spread.elsewhere(self.worker) }
    }

    /// A connection that was just accepted is served here.
    pub(super) fn entered(&self) {
        self.spread.entered(self.worker);
    }

    /// A connection that had [`entered`](Self::entered), or was handed over, is served no more.
    pub(super) fn left(&self) {
        self.spread.left(self.worker);
    }

    /// Enters a new connection.
    pub(super) fn open(self: &Rc<Self>) -> ConnectionGuard {
        let connection =
            Connection { abort: None, doing: ConnectionState::Arriving(Instant::now()) };
        let key = self.connections.borrow_mut().insert(connection);
        self.arriving.set(self.arriving.get() + 1);
        ConnectionGuard {
            key,
            books: Rc::clone(self),
            arriving: Cell::new(true),
            client: Cell::new(None),
            place: Cell::new(None),
        }
    }

    /// Notes how the task of a connection is ended.
    pub(super) fn spawned(&self, key: usize, abort: AbortHandle) {
        self.connections.borrow_mut()[key].abort = Some(abort);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.borrow().is_empty()
    }

    /// Ends all connections, or those that wait for a request.
    pub(super) fn end(&self, all: bool) {
        for (_, connection) in &mut *self.connections.borrow_mut() {
            if all || matches!(connection.doing, ConnectionState::Idle(_)) {
                connection.end();
            }
        }
        if all {
            self.parting.borrow().iter().for_each(AbortHandle::abort);
        }
    }

    fn set(&self, key: usize, doing: ConnectionState) {
        self.connections.borrow_mut()[key].doing = doing;
    }

    /// Whether more connections arrive than may.
    pub(super) fn is_rushed(&self) -> bool {
        self.arriving.get() > self.crowd.bounds.spare
    }

    /// Ends the one that takes longest to arrive.
    pub(super) fn evict_oldest_pending(&self) {
        let mut connections = self.connections.borrow_mut();
        let slowest = oldest(&mut connections, |doing| match doing {
            ConnectionState::Arriving(since) => Some(*since),
            _ => None,
        });
        if let Some(slowest) = slowest {
            slowest.end();
        }
    }

    /// Makes room by what costs nobody anything: ends the connection that is idle for the longest,
    /// else the oldest head that should have come by now. Says whether there was one. The place is
    /// free when that connection has really ended, which is soon.
    pub(super) fn make_room(&self) -> bool {
        let now = Instant::now();
        let mut connections = self.connections.borrow_mut();
        let longest_idle = oldest(&mut connections, |doing| match doing {
            ConnectionState::Idle(since) if now.duration_since(*since) >= IDLE_PATIENCE => {
                Some(*since)
            }
            _ => None,
        });
        if let Some(idle) = longest_idle {
            idle.end();
            return true;
        }
        let oldest_head = oldest(&mut connections, |doing| match doing {
            ConnectionState::Head(since, _) if now.duration_since(*since) >= HEAD_PATIENCE => {
                Some(*since)
            }
            _ => None,
        });
        let Some(head) = oldest_head else { return false };
        if let ConnectionState::Head(_, waker) =
            std::mem::replace(&mut head.doing, ConnectionState::Leaving)
        {
            waker.wake();
        }
        true
    }

    /// Makes room whenever a newcomer of another worker waits for it and nobody there could.
    pub(super) async fn help_others(&self) -> Infallible {
        loop {
            self.crowd.short.notified().await;
            if self.crowd.somebody_waits() {
                self.make_room();
            }
        }
    }

    /// Waits for a place, while room is made for it.
    async fn place(&self) -> Result<OwnedSemaphorePermit, OverLimit> {
        self.crowd.tell_full();
        let deadline = Instant::now() + self.crowd.bounds.wait;
        let mut next = pin!(self.crowd.next_place());
        let mut waiting = None;
        loop {
            if !self.make_room() {
                if waiting.is_none() {
                    waiting = Some(self.crowd.wait()?);
                }
                self.crowd.short.notify_waiters();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout(left.min(WAIT_TICK), next.as_mut()).await {
                Ok(place) => return Ok(place),
                Err(_) if left <= WAIT_TICK => return Err(OverLimit::All),
                Err(_) => {}
            }
        }
    }

    /// Keeps a connection that was turned away until its client has read why and closed it, but not
    /// for long, and only so many: the oldest has had the most time.
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
            // There is nobody to tell whether it ended well.
            let _ = timeout(PARTING, drain).await;
        });
        let mut parting = self.parting.borrow_mut();
        parting.retain(|task| !task.is_finished());
        if parting.len() >= self.crowd.bounds.spare
            && let Some(oldest) = parting.pop_front()
        {
            oldest.abort();
        }
        parting.push_back(task.abort_handle());
    }
}

/// The connection that does something for the longest time, if there is one.
fn oldest(
    connections: &mut Slab<Connection>,
    since: impl Fn(&ConnectionState) -> Option<Instant>,
) -> Option<&mut Connection> {
    let each = connections.iter_mut().map(|(_, connection)| connection);
    let each = each.filter_map(|connection| Some((since(&connection.doing)?, connection)));
    each.min_by_key(|(since, _)| *since).map(|(_, connection)| connection)
}

/// The life of a connection as its task knows it. Dropping it, however the task ends, takes the
/// connection out of the worker's books; a wrapper around the task would do that too, and double
/// the task's size.
pub struct ConnectionGuard {
    key: usize,
    books: Rc<Connections>,
    arriving: Cell<bool>,
    /// Who it is counted for, and its place, once it was claimed.
    client: Cell<Option<Client>>,
    place: Cell<Option<OwnedSemaphorePermit>>,
}

impl ConnectionGuard {
    pub(super) fn key(&self) -> usize {
        self.key
    }

    /// Claims a place for a connection of this client, or of one that may have as many as it likes;
    /// until then it serves nobody. While there is none, room is made or waited for.
    ///
    /// # Errors
    /// There is no place for it: it should be told so, and [turned away](Self::part).
    pub(crate) async fn claim(&self, client: Option<IpAddr>) -> Result<(), OverLimit> {
        // First, because a client that has too many must not cost others their idle connections.
        self.client.set(client.map(|client| self.books.crowd.enter(client)).transpose()?);
        self.arrived();
        self.serves();
        let place = match self.books.crowd.place() {
            Some(place) => place,
            None => Box::pin(self.books.place()).await?,
        };
        self.place.set(Some(place));
        Ok(())
    }

    fn arrived(&self) {
        if self.arriving.replace(false) {
            self.books.arriving.set(self.books.arriving.get() - 1);
        }
    }

    /// The connection waits for a request and may be ended without loss.
    pub(crate) fn idle_since(&self, since: Instant) {
        self.books.set(self.key, ConnectionState::Idle(since));
    }

    /// A request is under way.
    pub(crate) fn serves(&self) {
        self.books.set(self.key, ConnectionState::Serving);
    }

    /// Completes when this connection has to make room for others. Its request's head began to come
    /// then and is not whole yet.
    pub(crate) fn evicted(&self, began: Instant) -> Evicted<'_> {
        Evicted { life: self, began }
    }

    /// Ends a connection that was told why it is not served. It has no place from now on.
    pub(crate) fn part(self, stream: TcpStream) {
        self.books.part(stream);
    }

    /// Whether the connection should end after what runs.
    pub(crate) fn is_draining(&self) -> bool {
        self.books.draining.get()
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.arrived();
        self.books.crowd.leave(self.client.take(), self.place.take());
        self.books.connections.borrow_mut().remove(self.key);
        self.books.left();
    }
}

/// See [`ConnectionGuard::evicted`].
pub(crate) struct Evicted<'a> {
    life: &'a ConnectionGuard,
    began: Instant,
}

impl Future for Evicted<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { life, began } = *self;
        let connection = &mut life.books.connections.borrow_mut()[life.key];
        if matches!(connection.doing, ConnectionState::Leaving) {
            return Poll::Ready(());
        }
        connection.doing = ConnectionState::Head(began, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Evicted<'_> {
    fn drop(&mut self) {
        let connection = &mut self.life.books.connections.borrow_mut()[self.life.key];
        if matches!(connection.doing, ConnectionState::Head(..)) {
            connection.doing = ConnectionState::Serving;
        }
    }
}
