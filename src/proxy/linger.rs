//! The end of a connection that is dropped: a reset where something is unfinished, so that nobody
//! takes it for whole.

use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

/// From now on the connection is reset when it is dropped, whatever the reason: an error, a
/// deadline, a panic or the end of the process.
pub(super) fn reset_on_drop(stream: &TcpStream) {
    linger(stream, Some(Duration::ZERO));
}

/// From now on the connection is closed in order when it is dropped, as it is at first.
pub(super) fn close_on_drop(stream: &TcpStream) {
    linger(stream, None);
}

/// An abort sends a reset and nothing of what waits to be sent (RFC 9293 section 3.10.5). Setting it
/// fails only where there is no connection any more.
fn linger(stream: &TcpStream, time: Option<Duration>) {
    let _ = SockRef::from(stream).set_linger(time);
}
