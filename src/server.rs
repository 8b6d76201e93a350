//! The workers: each a thread, a runtime of its own and a `SO_REUSEPORT` listener. The kernel
//! spreads connections over the listeners, and a connection never leaves its worker, so the data
//! line needs no lock and no atomic but the shared counters.
//!
//! What is done with a connection is the handler's business; this module accepts, counts, and
//! ends gracefully.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tracing::warn;

pub(crate) mod buffer;

/// How long an idle connection may stay once the workers drain: a request that is on its way when
/// the end begins is still answered, with `Connection: close`.
const IDLE_GRACE: Duration = Duration::from_millis(500);

/// How often a worker looks whether its connections have ended or gone idle while it drains.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// How long accepting pauses after an error such as "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A silent client is asked after this long whether its host is still there, then every third of
/// it; after three questions without an answer its connection ends.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Whether the workers take new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// They do.
    Serving,
    /// They empty their accept queues, close their listeners and finish what runs until then.
    Draining(Instant),
}

/// What a worker does with its connections. One handler lives on each worker's thread.
pub trait Handler: 'static {
    /// Serves one connection to its end.
    fn serve(
        self: Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        life: Life,
    ) -> impl Future<Output = ()> + 'static;
}

/// The life of a connection as its task knows it. Dropping it, however the task ends, takes the
/// connection out of the worker's books; a wrapper around the task would do that too, and double
/// the task's size.
pub struct Life {
    number: u64,
    /// Written here, read by the worker: it waits for a request and may be ended without loss.
    idle: Rc<Cell<bool>>,
    books: Rc<Books>,
}

impl Life {
    /// Says whether the connection waits for a request and may be ended without loss.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.set(idle);
    }

    /// Whether the connection should end after what runs.
    pub(crate) fn is_draining(&self) -> bool {
        self.books.draining.get()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.books.open.fetch_sub(1, Ordering::Relaxed);
        self.books.connections.borrow_mut().remove(&self.number);
    }
}

/// What a worker and its connections share.
struct Books {
    /// Set by the worker: answer what comes, then close.
    draining: Cell<bool>,
    /// The connections of all workers.
    open: Arc<AtomicUsize>,
    /// Those of this worker, by their number.
    connections: RefCell<HashMap<u64, Connection>>,
}

/// The running workers.
pub struct Workers {
    /// One word from each worker that ends, whatever ends it.
    ended: mpsc::Receiver<()>,
}

impl Workers {
    /// Starts one worker for each listener. `make` builds the handler on the worker's own thread.
    /// All workers together hold at most `connections_max` connections; beyond that they stop
    /// accepting and the kernel's queue holds the rest.
    ///
    /// # Errors
    /// A thread or a runtime that cannot be made.
    pub fn start<H: Handler>(
        listeners: Vec<TcpListener>,
        connections_max: usize,
        phase: &watch::Receiver<Phase>,
        make: impl Fn() -> Rc<H> + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let open = Arc::new(AtomicUsize::new(0));
        let (alive, ended) = mpsc::channel(listeners.len().max(1));
        for (index, listener) in listeners.into_iter().enumerate() {
            let (phase, make, open) = (phase.clone(), make.clone(), Arc::clone(&open));
            let alive = Alive(alive.clone());
            let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
            let run = move || {
                let _alive = alive;
                let prepared = prepare(listener);
                let (ours, told) = match prepared {
                    Ok(prepared) => (Some(prepared), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                let _ = ready.send(told);
                let Some((runtime, listener)) = ours else { return };
                runtime.block_on(async {
                    let worker = Worker {
                        handler: make(),
                        connections_max,
                        books: Rc::new(Books {
                            draining: Cell::new(false),
                            open,
                            connections: RefCell::default(),
                        }),
                    };
                    worker.run(listener, phase).await;
                });
            };
            let name = format!("worker-{index}");
            thread::Builder::new().name(name).spawn(run)?;
            is_ready.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
        }
        Ok(Self { ended })
    }

    /// Completes when the first worker has ended. Before [`Phase::Draining`] that is a fault.
    ///
    /// ## Cancel safety
    /// An end that was not waited for is told by the next call.
    pub async fn ended(&mut self) {
        let _ = self.ended.recv().await;
    }

    /// Waits until every worker has ended, which they do after [`Phase::Draining`].
    pub async fn join(mut self) {
        while self.ended.recv().await.is_some() {}
    }
}

/// Lives on a worker's thread and tells of its end, a panic included.
struct Alive(mpsc::Sender<()>);

impl Drop for Alive {
    fn drop(&mut self) {
        // There is room for a word from each worker.
        let _ = self.0.try_send(());
    }
}

/// What can fail before a worker runs. The runtime cannot move between threads, so this is called
/// on the worker's own.
fn prepare(listener: TcpListener) -> io::Result<(LocalRuntime, tokio::net::TcpListener)> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let _entered = runtime.enter();
    listener.set_nonblocking(true)?;
    tune(&listener);
    let listener = tokio::net::TcpListener::from_std(listener)?;
    drop(_entered);
    Ok((runtime, listener))
}

/// Sets what every connection is to have: on Linux they inherit it, which spares the system calls
/// for each. Without nodelay small answers wait for the client's delayed ACK; should it fail, they
/// still come.
fn tune(listener: &TcpListener) {
    let socket = SockRef::from(listener);
    let _ = socket.set_tcp_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
    let _ = socket.set_tcp_keepalive(&keepalive.with_retries(3));
}

/// A connection as its worker knows it.
struct Connection {
    abort: AbortHandle,
    idle: Rc<Cell<bool>>,
}

struct Worker<H> {
    handler: Rc<H>,
    connections_max: usize,
    books: Rc<Books>,
}

impl<H: Handler> Worker<H> {
    async fn run(self, listener: tokio::net::TcpListener, mut phase: watch::Receiver<Phase>) {
        let mut number = 0;
        let deadline = loop {
            tokio::select! {
                deadline = draining(&mut phase) => break deadline,
                accepted = self.accept(&listener) => match accepted {
                    Ok((stream, peer)) => { number += 1; self.spawn(number, stream, peer); }
                    Err(error) => {
                        warn!(%error, "failed to accept a connection; trying again");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        };
        self.books.draining.set(true);
        self.empty_the_queue(listener, &mut number);
        self.finish(deadline).await;
    }

    /// Accepts when there is room for one more.
    async fn accept(
        &self,
        listener: &tokio::net::TcpListener,
    ) -> io::Result<(TcpStream, SocketAddr)> {
        while self.books.open.load(Ordering::Relaxed) >= self.connections_max {
            tokio::time::sleep(DRAIN_TICK).await;
        }
        listener.accept().await
    }

    /// Takes what the kernel has completed already and closes the listener: closing it alone would
    /// reset those. The runtime is not asked, because it may not have heard of the last ones yet.
    fn empty_the_queue(&self, listener: tokio::net::TcpListener, number: &mut u64) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            let Ok(stream) = stream else { continue };
            *number += 1;
            self.spawn(*number, stream, peer);
        }
    }

    fn spawn(&self, number: u64, stream: TcpStream, peer: SocketAddr) {
        let idle = Rc::new(Cell::new(false));
        let life = Life { number, idle: Rc::clone(&idle), books: Rc::clone(&self.books) };
        self.books.open.fetch_add(1, Ordering::Relaxed);
        let serving = Rc::clone(&self.handler).serve(stream, peer, life);
        let task = tokio::task::spawn_local(serving);
        let connection = Connection { abort: task.abort_handle(), idle };
        self.books.connections.borrow_mut().insert(number, connection);
    }

    /// Ends idle connections after a grace, waits for the others until the deadline, then ends all.
    async fn finish(&self, deadline: Instant) {
        let idle_end = (Instant::now() + IDLE_GRACE).min(deadline);
        while !self.books.connections.borrow().is_empty() {
            let now = Instant::now();
            for connection in self.books.connections.borrow().values() {
                if now >= deadline || (now >= idle_end && connection.idle.get()) {
                    connection.abort.abort();
                }
            }
            tokio::time::sleep(DRAIN_TICK).await;
        }
    }
}

/// Completes when the phase turns to draining, with its deadline. A dropped sender means the
/// program ends: the deadline is now.
async fn draining(phase: &mut watch::Receiver<Phase>) -> Instant {
    match phase.wait_for(|phase| *phase != Phase::Serving).await.map(|phase| *phase) {
        Ok(Phase::Draining(deadline)) => deadline,
        Ok(Phase::Serving) | Err(_) => Instant::now(),
    }
}
