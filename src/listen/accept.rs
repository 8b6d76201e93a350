//! A listener for `axum::serve` with bounds: so many connections at once, and none that stays
//! silent for ever. For the node's pages and the admin port; the data line has its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use super::is_of_one_connection;

/// A connection on which nothing moves is closed after this long. Far above the 3 s after which a
/// balancer closes its own, so that it is never we who close one it is about to use.
const SILENCE_MAX: Duration = Duration::from_secs(75);

/// The same while there is no room for another: who says nothing for this long makes room, so that
/// no number of silent connections keeps a balancer from asking how we are. Still above those 3 s.
const SILENCE_MAX_CROWDED: Duration = Duration::from_secs(5);

/// The pause after `accept` failed for want of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(200);

/// A bounded listener.
#[derive(Debug)]
pub struct Accept {
    listener: tokio::net::TcpListener,
    room: Arc<Semaphore>,
    /// Somebody waits for room. Written by the acceptor, read by the connections. Not the number of
    /// free places: the first connection that makes room would end the hurry of all the others.
    crowded: Arc<AtomicBool>,
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
        Ok(Self { listener, room, crowded: Arc::default() })
    }
}

impl Listener for Accept {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let free = Arc::clone(&self.room).try_acquire_owned();
            self.crowded.store(free.is_err(), Ordering::Relaxed);
            let room = match free {
                Ok(room) => room,
                Err(_) => Arc::clone(&self.room)
                    .acquire_owned()
                    .await
                    .expect("the semaphore is never closed"),
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // An answer is one write; waiting to fill a segment only adds delay.
                    let _ = stream.set_nodelay(true);
                    let crowded = Arc::clone(&self.crowded);
                    return (Connection::new(stream, room, crowded), peer);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The address of this machine that a client connected to; an `axum` connect info.
#[derive(Clone, Copy, Debug)]
pub struct LocalAddr(pub Option<SocketAddr>);

impl Connected<IncomingStream<'_, Accept>> for LocalAddr {
    fn connect_info(stream: IncomingStream<'_, Accept>) -> Self {
        Self(stream.io().stream.local_addr().ok())
    }
}

/// One accepted connection; counts against the bound while it lives.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// When something moved last.
    moved: Instant,
    /// The next look at how long that is ago.
    look: Pin<Box<Sleep>>,
    crowded: Arc<AtomicBool>,
    _room: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, room: OwnedSemaphorePermit, crowded: Arc<AtomicBool>) -> Self {
        let look = Box::pin(sleep(SILENCE_MAX_CROWDED));
        Self { stream, moved: Instant::now(), look, crowded, _room: room }
    }

    fn silence_max(&self) -> Duration {
        let crowded = self.crowded.load(Ordering::Relaxed);
        if crowded { SILENCE_MAX_CROWDED } else { SILENCE_MAX }
    }

    /// Passes on what the stream said; when it is pending for too long, that is its end.
    fn heard<T>(
        &mut self,
        cx: &mut Context<'_>,
        moved: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.moved = Instant::now();
            self.look.as_mut().reset(self.moved + SILENCE_MAX_CROWDED);
            return moved;
        }
        loop {
            ready!(self.look.as_mut().poll(cx));
            if self.moved.elapsed() >= self.silence_max() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.look.as_mut().reset(Instant::now() + SILENCE_MAX_CROWDED);
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
        self.heard(cx, moved)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.heard(cx, moved)
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
        self.heard(cx, moved)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Serves as axum does: a task a connection, which reads until it ends.
    async fn listening(connections_max: usize) -> SocketAddr {
        let listener = super::super::bind("127.0.0.1:0".parse().unwrap(), "--listen").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut accept = Accept::new(listener, connections_max).unwrap();
        tokio::spawn(async move {
            loop {
                let (mut connection, _) = accept.accept().await;
                tokio::spawn(async move { while connection.read_u8().await.is_ok() {} });
            }
        });
        addr
    }

    /// When the other side closed it, without a byte.
    async fn closed_after(mut stream: TcpStream) -> Duration {
        let since = Instant::now();
        // A reset is a close as well.
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        since.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_closed_and_earlier_where_there_is_no_room_for_another() {
        for (room, silent) in [(2, SILENCE_MAX), (1, SILENCE_MAX_CROWDED)] {
            let addr = listening(room).await;
            let took = closed_after(TcpStream::connect(addr).await.unwrap()).await;
            assert!(took >= silent && took < silent + Duration::from_secs(6), "{room}: {took:?}");
        }
    }
}
