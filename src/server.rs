//! The workers: each a thread, a runtime of its own and a `SO_REUSEPORT` listener. The kernel
//! spreads connections over the listeners, `spread` evens that out, and from then on a connection
//! never leaves its worker, so the data line needs no lock and no atomic but the shared counters.
//!
//! What is done with a connection is the handler's business; this module accepts, counts, makes
//! room, and ends gracefully.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{Barrier, mpsc, watch};
use tracing::{info, warn};

mod books;
pub mod buffer;
mod crowd;
mod spread;

use self::books::Books;
pub use self::books::Life;
pub use self::crowd::Bounds;
use self::crowd::Crowd;
pub(crate) use self::crowd::OverLimit;
use self::spread::{Handed, Spread};
use crate::listen::{begin_no_handshake, is_of_one_connection, next_queued};
use crate::systemd::Pulses;

/// How long an idle connection may stay once the workers drain: a request that is on its way when
/// the end begins is still answered, with `Connection: close`.
const IDLE_GRACE: Duration = Duration::from_millis(500);

/// How often a worker looks whether its connections have ended or gone idle while it drains.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// How long accepting pauses when there are no more files or no memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A silent client is asked after this long whether its host is still there, then every third of
/// it; after three questions without an answer its connection ends.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Whether the workers take new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// They do.
    Serving,
    /// They let nobody begin to connect, take whoever has begun, close their listeners and finish
    /// what runs until then.
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

    /// Closes what is open but not in use: there are no more files to be had.
    fn free_files(&self) {}
}

/// The running workers.
pub struct Workers {
    /// One word from each worker that ends, whatever ends it.
    ended: mpsc::Receiver<()>,
}

impl Workers {
    /// Starts one worker for each listener. `make` builds the handler on the worker's own thread.
    /// `bounds` holds for all of them together. Each is a part of `pulses` of its own: one that a
    /// handler blocks serves none of its connections.
    ///
    /// # Errors
    /// A thread or a runtime that cannot be made.
    pub fn start<H: Handler>(
        listeners: Vec<TcpListener>,
        bounds: Bounds,
        phase: &watch::Receiver<Phase>,
        pulses: &Pulses,
        make: impl Fn() -> Rc<H> + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let crowd = Arc::new(Crowd::new(bounds));
        let (spread, handed) = Spread::over(listeners.len());
        let spread = Arc::new(spread);
        let (alive, ended) = mpsc::channel(listeners.len().max(1));
        let closing = Arc::new(Barrier::new(listeners.len()));
        for (index, (listener, handed)) in listeners.into_iter().zip(handed).enumerate() {
            let (phase, make) = (phase.clone(), make.clone());
            let (crowd, spread) = (Arc::clone(&crowd), Arc::clone(&spread));
            let closing = Arc::clone(&closing);
            let name = format!("worker-{index}");
            let mut pulse = pulses.part(name.as_str());
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
                    tokio::task::spawn_local(async move {
                        loop {
                            pulse.answer().await;
                        }
                    });
                    let books = Rc::new(Books::new(crowd, spread, index));
                    let worker = Worker { handler: make(), books, closing };
                    worker.run(listener, handed, phase).await;
                });
            };
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

struct Worker<H> {
    handler: Rc<H>,
    books: Rc<Books>,
    /// Waited at by each worker once no handshake begins at its listener. The kernel spreads
    /// handshakes over all that are open, and resets those that the closed one had.
    closing: Arc<Barrier>,
}

impl<H: Handler> Worker<H> {
    async fn run(
        self,
        listener: tokio::net::TcpListener,
        mut handed: mpsc::Receiver<Handed>,
        mut phase: watch::Receiver<Phase>,
    ) {
        let deadline = tokio::select! {
            deadline = draining(&mut phase) => deadline,
            never = self.accept(&listener) => match never {},
            never = self.receive(&mut handed) => match never {},
            never = self.books.help_others() => match never {},
        };
        self.books.draining.set(true);
        tokio::select! {
            () = self.handshakes_end(&listener, deadline) => {}
            never = self.accept(&listener) => match never {},
            never = self.receive(&mut handed) => match never {},
        }
        self.empty_the_queue(listener);
        while let Ok(connection) = handed.try_recv() {
            self.welcome(connection);
        }
        self.finish(deadline).await;
    }

    /// Accepts what comes. How many may stay is decided when their task claims a place.
    async fn accept(&self, listener: &tokio::net::TcpListener) -> Infallible {
        let mut starved = false;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if std::mem::take(&mut starved) {
                        info!("connections are accepted again");
                    }
                    self.assign(stream, peer);
                    self.hold_back_a_rush().await;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.handler.free_files();
                    if !std::mem::replace(&mut starved, true) {
                        warn!(
                            %error,
                            "no connection can be accepted for now; more open files are allowed \
                             by `ulimit -n 32768` or LimitNOFILE= of the systemd unit"
                        );
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves a connection that was just accepted, or hands it to a worker that has fewer.
    fn assign(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(place) = self.books.elsewhere() else {
            self.books.entered();
            return self.spawn(stream, peer);
        };
        // It fails only for what is no socket of this runtime.
        if let Ok(stream) = stream.into_std() {
            place.hand((stream, peer));
        }
    }

    /// Serves what other workers accepted.
    async fn receive(&self, handed: &mut mpsc::Receiver<Handed>) -> Infallible {
        while let Some(connection) = handed.recv().await {
            self.welcome(connection);
            self.hold_back_a_rush().await;
        }
        unreachable!("this worker has a sender itself");
    }

    fn welcome(&self, (stream, peer): Handed) {
        match TcpStream::from_std(stream) {
            Ok(stream) => self.spawn(stream, peer),
            // The kernel has no memory for it.
            Err(_) => self.books.left(),
        }
    }

    /// Connections that are not served yet must not become ever more: who takes long to say whom it
    /// comes from makes room.
    async fn hold_back_a_rush(&self) {
        if self.books.is_rushed() {
            // Those that have just come had no chance yet.
            tokio::task::yield_now().await;
            if self.books.is_rushed() {
                self.books.end_the_slowest_arrival();
            }
        }
    }

    /// Completes when no handshake is under way at any worker's listener, at the deadline at the
    /// latest.
    async fn handshakes_end(&self, listener: &tokio::net::TcpListener, deadline: Instant) {
        let ended = async {
            let under_way = begin_no_handshake(listener);
            self.closing.wait().await;
            tokio::time::sleep(under_way).await;
        };
        let _ = tokio::time::timeout_at(deadline.into(), ended).await;
    }

    /// Takes what waits to be accepted and closes the listener: closing it alone would reset those.
    fn empty_the_queue(&self, listener: tokio::net::TcpListener) {
        while let Some((stream, peer)) = next_queued(&listener) {
            self.books.entered();
            self.spawn(stream, peer);
        }
        drop(listener);
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr) {
        let life = self.books.open();
        let key = life.key();
        let serving = Rc::clone(&self.handler).serve(stream, peer, life);
        let task = tokio::task::spawn_local(serving);
        self.books.spawned(key, task.abort_handle());
    }

    /// Ends idle connections after a grace, waits for the others until the deadline, then ends all.
    async fn finish(&self, deadline: Instant) {
        let idle_end = (Instant::now() + IDLE_GRACE).min(deadline);
        while !self.books.is_empty() {
            let now = Instant::now();
            if now >= idle_end {
                self.books.end(now >= deadline);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;

    /// Longer than anything here takes on a busy machine: a test fails and does not hang.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Waits for a change that sends no event.
    #[track_caller]
    fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
            thread::yield_now();
        }
    }

    /// Holds each connection for ever, and notes the thread it is on.
    struct Holder(Arc<Mutex<Vec<String>>>);

    impl Handler for Holder {
        async fn serve(self: Rc<Self>, stream: TcpStream, _: SocketAddr, life: Life) {
            life.claim(None).await.expect("there is room");
            let name = thread::current().name().unwrap_or_default().to_owned();
            self.0.lock().unwrap().push(name);
            std::future::pending::<()>().await;
            drop(stream);
        }
    }

    /// Blocks its whole worker with a connection until the other side of the channel is dropped.
    struct Blocker(std::sync::mpsc::Receiver<()>);

    impl Handler for Blocker {
        async fn serve(self: Rc<Self>, _stream: TcpStream, _: SocketAddr, _life: Life) {
            let _ = self.0.recv();
        }
    }

    #[test]
    fn a_worker_that_its_handler_blocks_answers_for_nothing_until_it_goes_on() {
        let listeners = crate::listen::bind_shared(([127, 0, 0, 1], 0).into(), "--listen", 1);
        let listeners = listeners.unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let bounds =
            Bounds { connections: 9, per_client: 9, wait: KEEPALIVE, spare: 9, advice: "" };
        let (_phase, watched) = watch::channel(Phase::Serving);
        let (release, blocked) = std::sync::mpsc::channel();
        let blocked = Arc::new(Mutex::new(Some(blocked)));
        let pulses = Pulses::default();
        let make = move || Rc::new(Blocker(blocked.lock().unwrap().take().unwrap()));
        let workers = Workers::start(listeners, bounds, &watched, &pulses, make).unwrap();
        let asked = || {
            pulses.ask();
            let until = Instant::now() + Duration::from_millis(500);
            while pulses.silent().is_some() && Instant::now() < until {
                thread::yield_now();
            }
            pulses.silent()
        };
        let becomes = |expected: Option<&str>| {
            wait_until(&format!("{expected:?} as the silent part"), || {
                asked().as_deref() == expected
            });
        };
        becomes(None);
        let client = std::net::TcpStream::connect(addr).unwrap();
        becomes(Some("worker-0"));
        drop(release);
        becomes(None);
        drop((client, workers));
    }

    #[test]
    fn a_few_connections_are_spread_over_all_workers_and_stay_when_they_drain() {
        let listeners = crate::listen::bind_shared(([127, 0, 0, 1], 0).into(), "--listen", 4);
        let listeners = listeners.unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let bounds =
            Bounds { connections: 99, per_client: 99, wait: KEEPALIVE, spare: 99, advice: "" };
        let (phase, watched) = watch::channel(Phase::Serving);
        let held = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&held);
        let make = move || Rc::new(Holder(Arc::clone(&noted)));
        let workers =
            Workers::start(listeners, bounds, &watched, &Pulses::default(), make).unwrap();
        let clients: Vec<_> = (1..=8)
            .map(|count| {
                let client = std::net::TcpStream::connect(addr).unwrap();
                let is_held = || held.lock().unwrap().len() >= count;
                wait_until(&format!("connection {count} to be held"), is_held);
                client
            })
            .collect();
        let mut counts = BTreeMap::new();
        for worker in held.lock().unwrap().iter() {
            *counts.entry(worker.clone()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 4, "{counts:?}");
        assert!(counts.values().all(|count| *count <= 3), "{counts:?}");
        phase.send(Phase::Draining(Instant::now() + Duration::from_millis(300))).unwrap();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(workers.join());
        drop(clients);
    }
}
