//! A listener with bounds: on the number of connections at once, and on the silence of each. It serves
//! the node's pages and the admin port; the data line has its own.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, Sleep, sleep};

use crate::os::listen::{is_of_one_connection, next_queued, refuse_new_handshakes};

/// A connection on which nothing moves is closed after this long. Far above the 3 s after which a
/// balancer closes its own, so that we never close one that it is about to use.
const SILENCE_MAX: Duration = Duration::from_secs(75);

/// The same while there is no room for another connection: a silent one makes room after this long, so
/// that no number of them keeps a balancer from probing this node. Still above those 3 s.
const SILENCE_MAX_FULL: Duration = Duration::from_secs(5);

/// The same for connections to an application: as long as the balancer's own limit for a WebSocket.
const SILENCE_MAX_PATIENT: Duration = Duration::from_secs(3600);

/// The pause after `accept` failed for want of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(200);

/// A bounded listener.
#[derive(Debug)]
pub struct Accept {
    listener: tokio::net::TcpListener,
    /// A permit for each connection that there may be.
    room: Arc<Semaphore>,
    /// A new connection waits for room. Written by the acceptor, read by the connections. The number
    /// of free permits would not do: the first connection that makes room would stop all others from
    /// doing so.
    full: Arc<AtomicBool>,
    /// The connections without an answer, as far as is known, the oldest first. Cleaned up when it
    /// gets longer than there may be connections.
    fresh: VecDeque<Fresh>,
    connections_max: usize,
    /// See [`Accept::patient`].
    patient: bool,
}

/// A connection that has made no whole request yet, as far as is known.
#[derive(Debug)]
struct Fresh {
    answered: Arc<AtomicBool>,
    /// Ends the connection if it has no answer yet. Dropping the sender does not end it: no client is
    /// sent away because listening ends.
    end: oneshot::Sender<()>,
}

impl Accept {
    /// Takes a listening socket into the current runtime. At most `connections_max` connections are
    /// held at once, about 10 KB each while idle; beyond that the kernel's queue holds the rest.
    ///
    /// # Errors
    /// When the runtime refuses the socket.
    pub fn new(listener: TcpListener, connections_max: usize) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let room = Arc::new(Semaphore::new(connections_max));
        let (full, fresh) = (Arc::default(), VecDeque::new());
        Ok(Self { listener, room, full, fresh, connections_max, patient: false })
    }

    /// Silence ends a connection only after an hour: its client may wait for an application, or has a
    /// WebSocket.
    pub fn patient(self) -> Self {
        Self { patient: true, ..self }
    }

    fn forget_answered(&mut self) {
        let is_fresh =
            |fresh: &Fresh| !fresh.end.is_closed() && !fresh.answered.load(Ordering::Relaxed);
        self.fresh.retain(is_fresh);
    }

    /// A permit for one more connection. When there is none, the oldest connection that has made no
    /// whole request yet makes room, so that no number of such connections keeps others waiting.
    async fn permit(&mut self) -> OwnedSemaphorePermit {
        let free = Arc::clone(&self.room).try_acquire_owned();
        self.full.store(free.is_err(), Ordering::Relaxed);
        if let Ok(permit) = free {
            return permit;
        }
        self.forget_answered();
        if let Some(oldest) = self.fresh.pop_front() {
            // If it has just ended by itself, that makes room as well.
            let _ = oldest.end.send(());
        }
        let permit = Arc::clone(&self.room).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    fn connection(&mut self, stream: TcpStream, room: OwnedSemaphorePermit) -> Connection {
        if self.fresh.len() >= self.connections_max {
            self.forget_answered();
        }
        // An answer is one write; waiting to fill a segment only adds delay.
        let _ = stream.set_nodelay(true);
        let (end, ended) = oneshot::channel();
        let answered = Arc::new(AtomicBool::new(false));
        self.fresh.push_back(Fresh { answered: Arc::clone(&answered), end });
        Connection {
            stream,
            moved: Instant::now(),
            check: Box::pin(sleep(SILENCE_MAX_FULL)),
            full: Arc::clone(&self.full),
            patient: self.patient,
            answered,
            ended,
            _room: room,
        }
    }

    /// The next connection, as soon as there is room for it.
    ///
    /// ## Cancel safety
    /// A connection that has no room yet is closed; nothing else is lost.
    pub(super) async fn next(&mut self) -> Connection {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let permit = self.permit().await;
                    return self.connection(stream, permit);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Refuses new handshakes, see [`refuse_new_handshakes`]; returns how long those under way may
    /// take.
    pub(super) fn refuse_new_handshakes(&self) -> Duration {
        refuse_new_handshakes(&self.listener)
    }

    /// Stops listening. Returns the connections that wait to be accepted, as far as there is room:
    /// closing the listener alone would reset them.
    pub(super) fn drain_accept_queue(mut self) -> Vec<Connection> {
        let mut waiting = Vec::new();
        while let Ok(permit) = Arc::clone(&self.room).try_acquire_owned()
            && let Some((stream, _)) = next_queued(&self.listener)
        {
            waiting.push(self.connection(stream, permit));
        }
        waiting
    }
}

/// The address of this machine that a client connected to; an `axum` connect info.
#[derive(Clone, Copy, Debug)]
pub struct LocalAddr(pub Option<SocketAddr>);

/// The address of a connection's client; `None` where the system does not report it.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub Option<SocketAddr>);

/// The value that a handler keeps for one connection, until that ends: an `axum` extension.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<Option<Box<dyn Any + Send>>>>);

impl Kept {
    /// Takes the value, if one of this type was kept.
    pub fn take<T: 'static>(&self) -> Option<T> {
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        value.downcast().ok().map(|value| *value)
    }

    /// Keeps a value in place of the one before.
    pub fn keep(&self, value: impl Any + Send) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(value));
    }
}

/// One accepted connection; counts against the bound while it lives.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// The last time at which something moved.
    moved: Instant,
    /// The next check of how long that is ago.
    check: Pin<Box<Sleep>>,
    full: Arc<AtomicBool>,
    patient: bool,
    /// Something was written to the client. Written here, read by the acceptor.
    answered: Arc<AtomicBool>,
    /// The acceptor sends here when this connection has to make room.
    ended: oneshot::Receiver<()>,
    _room: OwnedSemaphorePermit,
}

impl Connection {
    /// The address of this machine that its client connected to.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    /// The address its client connected from.
    pub(super) fn peer_addr(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    fn silence_max(&self) -> Duration {
        match (self.patient, self.full.load(Ordering::Relaxed)) {
            (true, _) => SILENCE_MAX_PATIENT,
            (false, true) => SILENCE_MAX_FULL,
            (false, false) => SILENCE_MAX,
        }
    }

    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(_))) {
            self.answered.store(true, Ordering::Relaxed);
        }
    }

    fn has_to_make_room(&mut self, cx: &mut Context<'_>) -> bool {
        !self.answered.load(Ordering::Relaxed)
            && !self.ended.is_terminated()
            && matches!(Pin::new(&mut self.ended).poll(cx), Poll::Ready(Ok(())))
    }

    /// Passes on the result of the stream; a result that is pending for too long becomes an error.
    fn timed<T>(
        &mut self,
        cx: &mut Context<'_>,
        moved: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.moved = Instant::now();
            self.check.as_mut().reset(self.moved + SILENCE_MAX_FULL);
            return moved;
        }
        loop {
            if self.has_to_make_room(cx) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            ready!(self.check.as_mut().poll(cx));
            if self.moved.elapsed() >= self.silence_max() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.check.as_mut().reset(Instant::now() + SILENCE_MAX_FULL);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.timed(cx, moved)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&moved);
        self.timed(cx, moved)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&moved);
        self.timed(cx, moved)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Serves as axum does: a task for each connection, which reads until the connection ends.
    async fn listening(connections_max: usize) -> SocketAddr {
        let listener = crate::os::listen::bind("127.0.0.1:0".parse().unwrap(), "--listen").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut accept = Accept::new(listener, connections_max).unwrap();
        tokio::spawn(async move {
            loop {
                let mut connection = accept.next().await;
                tokio::spawn(async move { while connection.read_u8().await.is_ok() {} });
            }
        });
        addr
    }

    /// The time until the other side closes it, without a byte.
    async fn closed_after(mut stream: TcpStream) -> Duration {
        let since = Instant::now();
        // A reset is a close as well.
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        since.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_closed() {
        let addr = listening(2).await;
        let took = closed_after(TcpStream::connect(addr).await.unwrap()).await;
        assert!(took >= SILENCE_MAX && took < SILENCE_MAX + Duration::from_secs(6), "{took:?}");
    }

    #[tokio::test]
    async fn the_oldest_that_has_made_no_request_makes_room() {
        let addr = listening(2).await;
        let oldest = TcpStream::connect(addr).await.unwrap();
        let mut next = TcpStream::connect(addr).await.unwrap();
        next.write_all(b"G").await.unwrap();
        let _newcomer = TcpStream::connect(addr).await.unwrap();
        assert!(closed_after(oldest).await < SILENCE_MAX_FULL);
        let open = tokio::time::timeout(Duration::from_millis(50), next.read_u8()).await;
        assert!(open.is_err(), "the second one stays");
    }

    #[tokio::test]
    async fn a_connection_without_an_answer_yet_stays_when_listening_ends() {
        let listener = crate::os::listen::bind("127.0.0.1:0".parse().unwrap(), "--listen").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut accept = Accept::new(listener, 2).unwrap();
        let mut connection = accept.next().await;
        let read = tokio::spawn(async move { connection.read_u8().await });
        tokio::task::yield_now().await;
        assert!(accept.drain_accept_queue().is_empty());
        tokio::task::yield_now().await;
        client.write_all(b"G").await.unwrap();
        assert_eq!(read.await.unwrap().unwrap(), b'G');
    }
}
