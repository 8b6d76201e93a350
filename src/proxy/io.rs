//! Waiting on a socket: writes that give up on a peer that takes nothing, and the signs by which a peer
//! is known to have gone.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;

use crate::proxy::timer::Timer;

/// Writes all of `bytes`. The peer may take no byte for as long as `silence_max`.
pub(super) async fn write_all_within(
    to: &mut WriteHalf<'_>,
    timer: &mut Timer,
    silence_max: Duration,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        bytes = &bytes[write_within(to, timer, silence_max, bytes).await?..];
    }
    Ok(())
}

/// Writes some of `bytes`: send(2) takes at least one. The peer may take none for as long as
/// `silence_max`.
pub(super) async fn write_within(
    to: &mut WriteHalf<'_>,
    timer: &mut Timer,
    silence_max: Duration,
    bytes: &[u8],
) -> io::Result<usize> {
    if let Some(n) = write_what_fits(to, bytes)? {
        return Ok(n);
    }
    match timer.within(silence_max, pin!(to.write(bytes))).await {
        Ok(written) => written,
        Err(_) => write_what_fits(to, bytes)?.ok_or_else(|| io::ErrorKind::TimedOut.into()),
    }
}

/// Writes the bytes that the kernel has room for; returns `None` if there is no room. Linux calls a
/// full socket writable only when a third of its buffer is free again, and that may be megabytes: a
/// peer that takes them slowly is not silent. So if the runtime reports that nothing fits, the kernel
/// is asked. If it reports the same, any room later shows that the peer has taken something.
pub(super) fn write_what_fits(to: &WriteHalf<'_>, bytes: &[u8]) -> io::Result<Option<usize>> {
    let none = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    let written = match to.try_write(bytes) {
        Err(error) if none(&error) => SockRef::from(to.as_ref()).send(bytes),
        written => written,
    };
    match written {
        Err(error) if none(&error) => Ok(None),
        written => written.map(Some),
    }
}

/// Returns whether nothing came on an idle connection: a byte or an end that was not asked for means
/// that it is dead. Asks the runtime's readiness first, so that a live connection costs no system call.
pub(super) fn is_quiet(stream: &TcpStream) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    match stream.poll_read_ready(&mut context) {
        Poll::Pending => true,
        Poll::Ready(Err(_)) => false,
        Poll::Ready(Ok(())) => {
            let answer = stream.try_read(&mut [0]);
            matches!(answer, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        }
    }
}

/// Completes when the client has gone for good: it reset the connection, or its host does not answer
/// any more. The end of its bytes is no such sign, because a client may half-close and wait for
/// its answer: see [`left`].
pub(super) async fn gone(stream: &TcpStream) {
    // The runtime reports an error as readiness too.
    let _ = stream.ready(Interest::ERROR).await;
}

/// Completes when the client has ended its sending and `grace` has passed since, or since this was
/// asked. It may be waiting behind a half-close, or have gone: the end of its bytes looks the
/// same, and a client that closed answers with a reset only when it is sent something.
pub(super) async fn left(stream: &TcpStream, grace: Duration) {
    // The runtime reports with this interest too that nothing more can be read, and urgent data is not
    // asked for. Being readable would not do: the next request may lie there unread.
    let _ = stream.ready(Interest::PRIORITY).await;
    tokio::time::sleep(grace).await;
}
