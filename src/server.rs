//! The workers: each is a thread with a runtime of its own and a `SO_REUSEPORT` listener. The kernel
//! spreads connections over the listeners, `handoff` evens that out, and from then on a connection
//! never leaves its worker, so the data line needs no lock and no atomic but the shared counters.
//!
//! This module accepts, counts, makes room, and ends gracefully. It knows nothing of HTTP: a
//! [`Handler`] serves each connection.

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

mod connections;
pub mod buffer;
mod admission;
mod handoff;

use self::admission::Admission;
pub use self::admission::ConnectionLimits;
pub(crate) use self::admission::OverLimit;
pub use self::connections::ConnectionGuard;
use self::connections::Connections;
use self::handoff::{Accepted, Handoff};
use crate::os::listen::{is_of_one_connection, next_queued, refuse_new_handshakes};
use crate::os::systemd::Pulses;

/// An idle connection may stay this long once the workers drain: a request that is on its way when the
/// drain begins is still answered, with `Connection: close`.
const IDLE_GRACE: Duration = Duration::from_millis(500);

/// While it drains, a worker looks this often for connections that have ended or gone idle.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// Accepting pauses this long when files or memory for another connection run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// TCP asks a silent client's host for a sign of life after this long, then every third of it; after three
/// questions without an answer the connection ends.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Whether the workers take new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The workers take new connections.
    Serving,
    /// The workers refuse new handshakes, take the connections that have begun, close their listeners
    /// and finish the requests that run until this time.
    Draining(Instant),
}

/// The work on a connection. One handler lives on each worker's thread.
pub trait Handler: 'static {
    /// Serves one connection to its end.
    fn serve(
        self: Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        guard: ConnectionGuard,
    ) -> impl Future<Output = ()> + 'static;

    /// Closes files that are open but not in use; called when the process has no more of them.
    fn free_files(&self) {}
}

/// The running workers.
pub struct Workers {
    /// One message from each worker that ends, whatever ends it.
    ended: mpsc::Receiver<()>,
}

impl Workers {
    /// Starts one worker for each listener. `make` builds the handler on the worker's own thread.
    /// `limits` holds for all of them together. Each worker has a part of its own in `pulses`: a worker
    /// that a handler blocks serves none of its connections.
    ///
    /// # Errors
    /// The system makes no thread, or the runtime refuses the listener.
    pub fn start<H: Handler>(
        listeners: Vec<TcpListener>,
        limits: ConnectionLimits,
        phase: &watch::Receiver<Phase>,
        pulses: &Pulses,
        make: impl Fn() -> Rc<H> + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let admission = Arc::new(Admission::new(limits));
        let (handoff, accepted) = Handoff::over(listeners.len());
        let handoff = Arc::new(handoff);
        let (alive, ended) = mpsc::channel(listeners.len().max(1));
        let closing = Arc::new(Barrier::new(listeners.len()));
        for (index, (listener, accepted)) in listeners.into_iter().zip(accepted).enumerate() {
            let (phase, make) = (phase.clone(), make.clone());
            let (admission, handoff) = (Arc::clone(&admission), Arc::clone(&handoff));
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
                    let connections = Rc::new(Connections::new(admission, handoff, index));
                    let worker = Worker { handler: make(), connections, closing };
                    worker.run(listener, accepted, phase).await;
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
    /// The next call reports an end that this one did not wait for.
    pub async fn ended(&mut self) {
        let _ = self.ended.recv().await;
    }

    /// Waits until every worker has ended, which they do after [`Phase::Draining`].
    pub async fn join(mut self) {
        while self.ended.recv().await.is_some() {}
    }
}

/// Lives on a worker's thread and reports its end, a panic included.
struct Alive(mpsc::Sender<()>);

impl Drop for Alive {
    fn drop(&mut self) {
        // The channel has room for a message from each worker.
        let _ = self.0.try_send(());
    }
}

/// Makes the parts of a worker that can fail. The runtime cannot move between threads, so the worker's
/// own thread calls this.
fn prepare(listener: TcpListener) -> io::Result<(LocalRuntime, tokio::net::TcpListener)> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let _entered = runtime.enter();
    listener.set_nonblocking(true)?;
    tune(&listener);
    let listener = tokio::net::TcpListener::from_std(listener)?;
    drop(_entered);
    Ok((runtime, listener))
}

/// Sets the options of every connection on its listener: on Linux connections inherit them, which spares
/// the system calls for each. Without nodelay, small answers wait for the client's delayed ACK; if setting
/// it fails, they still come.
fn tune(listener: &TcpListener) {
    let socket = SockRef::from(listener);
    let _ = socket.set_tcp_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
    let _ = socket.set_tcp_keepalive(&keepalive.with_retries(3));
}

struct Worker<H> {
    handler: Rc<H>,
    connections: Rc<Connections>,
    /// Each worker waits here once its listener refuses new handshakes. The kernel spreads handshakes over
    /// all open listeners, and resets those of a listener that closes.
    closing: Arc<Barrier>,
}

impl<H: Handler> Worker<H> {
    async fn run(
        self,
        listener: tokio::net::TcpListener,
        mut accepted: mpsc::Receiver<Accepted>,
        mut phase: watch::Receiver<Phase>,
    ) {
        let deadline = tokio::select! {
            deadline = draining(&mut phase) => deadline,
            never = self.accept(&listener) => match never {},
            never = self.receive(&mut accepted) => match never {},
            never = self.connections.help_others() => match never {},
        };
        self.connections.draining.set(true);
        tokio::select! {
            () = self.handshakes_end(&listener, deadline) => {}
            never = self.accept(&listener) => match never {},
            never = self.receive(&mut accepted) => match never {},
        }
        self.drain_accept_queue(listener);
        while let Ok(connection) = accepted.try_recv() {
            self.welcome(connection);
        }
        self.finish(deadline).await;
    }

    /// Accepts connections. Admission is decided later, when a connection's task claims a place.
    async fn accept(&self, listener: &tokio::net::TcpListener) -> Infallible {
        let mut starved = false;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if std::mem::take(&mut starved) {
                        info!("connections are accepted again");
                    }
                    self.assign(stream, peer);
                    self.throttle_accept().await;
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
        let Some(place) = self.connections.elsewhere() else {
            self.connections.entered();
            return self.spawn(stream, peer);
        };
        // It fails only for a socket that is not of this runtime.
        if let Ok(stream) = stream.into_std() {
            place.hand((stream, peer));
        }
    }

    /// Serves the connections that other workers accepted.
    async fn receive(&self, accepted: &mut mpsc::Receiver<Accepted>) -> Infallible {
        while let Some(connection) = accepted.recv().await {
            self.welcome(connection);
            self.throttle_accept().await;
        }
        unreachable!("this worker has a sender itself");
    }

    fn welcome(&self, (stream, peer): Accepted) {
        match TcpStream::from_std(stream) {
            Ok(stream) => self.spawn(stream, peer),
            // The kernel has no memory for it; its client sees the connection close.
            Err(_) => self.connections.left(),
        }
    }

    /// Bounds the connections that are not identified yet: the one that takes longest makes room.
    async fn throttle_accept(&self) {
        if self.connections.is_rushed() {
            // The newest connections had no chance to identify their client yet.
            tokio::task::yield_now().await;
            if self.connections.is_rushed() {
                self.connections.evict_oldest_pending();
            }
        }
    }

    /// Completes when no handshake is under way at any worker's listener, or at the deadline.
    async fn handshakes_end(&self, listener: &tokio::net::TcpListener, deadline: Instant) {
        let ended = async {
            let under_way = refuse_new_handshakes(listener);
            self.closing.wait().await;
            tokio::time::sleep(under_way).await;
        };
        let _ = tokio::time::timeout_at(deadline.into(), ended).await;
    }

    /// Accepts the connections that wait in the queue, then closes the listener: closing alone would reset
    /// them.
    fn drain_accept_queue(&self, listener: tokio::net::TcpListener) {
        while let Some((stream, peer)) = next_queued(&listener) {
            self.connections.entered();
            self.spawn(stream, peer);
        }
        drop(listener);
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr) {
        let guard = self.connections.open();
        let key = guard.key();
        let serving = Rc::clone(&self.handler).serve(stream, peer, guard);
        let task = tokio::task::spawn_local(serving);
        self.connections.spawned(key, task.abort_handle());
    }

    /// Ends idle connections after a grace, waits for the others until the deadline, then ends all.
    async fn finish(&self, deadline: Instant) {
        let idle_end = (Instant::now() + IDLE_GRACE).min(deadline);
        while !self.connections.is_empty() {
            let now = Instant::now();
            if now >= idle_end {
                self.connections.end(now >= deadline);
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
        async fn serve(self: Rc<Self>, stream: TcpStream, _: SocketAddr, guard: ConnectionGuard) {
            guard.claim(None).await.expect("there is room");
            let name = thread::current().name().unwrap_or_default().to_owned();
            self.0.lock().unwrap().push(name);
            std::future::pending::<()>().await;
            drop(stream);
        }
    }

    /// Blocks its whole worker with a connection until the other side of the channel is dropped.
    struct Blocker(std::sync::mpsc::Receiver<()>);

    impl Handler for Blocker {
        async fn serve(self: Rc<Self>, _stream: TcpStream, _: SocketAddr, _guard: ConnectionGuard) {
            let _ = self.0.recv();
        }
    }

    #[test]
    fn a_worker_that_its_handler_blocks_answers_for_nothing_until_it_goes_on() {
        let listeners = crate::os::listen::bind_shared(([127, 0, 0, 1], 0).into(), "--listen", 1);
        let listeners = listeners.unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let bounds = ConnectionLimits {
            connections: 9,
            per_client: 9,
            wait: KEEPALIVE,
            spare: 9,
            advice: "",
        };
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
        let listeners = crate::os::listen::bind_shared(([127, 0, 0, 1], 0).into(), "--listen", 4);
        let listeners = listeners.unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let bounds = ConnectionLimits {
            connections: 99,
            per_client: 99,
            wait: KEEPALIVE,
            spare: 99,
            advice: "",
        };
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
