//! What is unfinished ends with a reset, so that nobody takes it for whole.

use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

/// From now on the connection is reset when it is dropped, whatever the reason: an error, a
/// deadline, a panic or the end of the process.
pub(crate) fn arm(stream: &TcpStream) {
    linger(stream, Some(Duration::ZERO));
}

/// From now on the connection ends properly when it is dropped.
pub(crate) fn disarm(stream: &TcpStream) {
    linger(stream, None);
}

/// RFC 9293 section 3.10.5: an abort sends a reset and nothing of what waits to be sent. Fails only
/// where there is no connection any more.
fn linger(stream: &TcpStream, time: Option<Duration>) {
    let _ = SockRef::from(stream).set_linger(time);
}
