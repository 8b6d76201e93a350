//! The end of a listener without a reset for any client.
//!
//! close(2) resets the connections that wait to be accepted, and each one whose handshake ends in that
//! instant: its client is connected, may have sent a request, and cannot know whether that was executed.
//! So first the kernel refuses new handshakes, then those under way get their time and are served, then
//! the queue is emptied ([`next_queued`](super::next_queued)), then the listener closes.

use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
/// A handshake under way needs one more round trip of the network.
const UNDER_WAY: Duration = Duration::from_millis(200);

/// From now on the kernel answers no client that begins a handshake with this listener. Returns the time
/// that the handshakes under way may take to end: zero where a sandbox forbids the filter, because then no
/// instant to close is better than another.
///
/// A client without an answer asks again after a second, and is refused if the listener is closed by then:
/// no request is lost. Connections accepted from now on inherit the filter, and need no packet that it
/// drops. TCP fast open changes nothing, since its request comes with the SYN and is lost
/// with it; nor do SYN cookies, whose handshakes end with an ACK as others do.
pub(crate) fn refuse_new_handshakes(listener: &impl AsFd) -> Duration {
    let filtered = SockRef::from(listener).attach_filter(&no_syn());
    if filtered.is_ok() { UNDER_WAY } else { Duration::ZERO }
}

/// A classic BPF program that drops each packet with SYN and without ACK. A TCP socket's filter
/// sees packets from their TCP header on, whichever IP carries them.
fn no_syn() -> [SockFilter; 5] {
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_OFFSET),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use super::*;

    #[test]
    fn no_handshake_begins_and_those_under_way_go_on() {
        for (bound, host) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::1]:0", "::1"),
            ("[::]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
        ] {
            let bound = bound.parse().unwrap();
            let Ok(listener) = super::super::bind(bound, "--listen") else { continue };
            let port = listener.local_addr().unwrap().port();
            let addr = SocketAddr::new(host.parse().unwrap(), port);
            let connect = || TcpStream::connect_timeout(&addr, UNDER_WAY);
            let mut client = connect().unwrap();
            assert_eq!(refuse_new_handshakes(&listener), UNDER_WAY);
            assert_eq!(connect().unwrap_err().kind(), ErrorKind::TimedOut, "{addr}");
            listener.set_nonblocking(false).unwrap();
            let (mut accepted, _) = listener.accept().unwrap();
            client.write_all(b"x").unwrap();
            accepted.read_exact(&mut [0]).unwrap();
            drop(listener);
            let error = connect().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{addr}");
        }
    }
}
