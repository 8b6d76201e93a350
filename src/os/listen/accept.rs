//! Accepting: the errors of accept(2), and the queue of a listener that is about to close.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::TcpStream;

/// Whether an error of accept(2) concerns one connection, which is gone: Linux also reports there an error
/// that happened on the network. Any other error, want of files or memory, is the process's own.
pub(crate) fn is_of_one_connection(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let of_one = [
        Errno::CONNABORTED,
        Errno::CONNREFUSED,
        Errno::CONNRESET,
        Errno::PERM,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NONET,
        Errno::INTR,
    ];
    of_one.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Takes the next connection that waits to be accepted; `None` when the queue is empty. Asks the kernel and
/// not the runtime, which may not have heard of the last ones yet.
pub(crate) fn next_queued(listener: &tokio::net::TcpListener) -> Option<(TcpStream, SocketAddr)> {
    loop {
        match SockRef::from(listener).accept() {
            Ok((socket, peer)) => {
                socket.set_nonblocking(true).ok()?;
                return Some((TcpStream::from_std(socket.into()).ok()?, peer.as_socket()?));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_gone_does_not_stop_accepting_the_next() {
        use rustix::io::Errno;
        let of_one = |errno: Errno| is_of_one_connection(&errno.into());
        assert!([Errno::CONNABORTED, Errno::PROTO, Errno::HOSTUNREACH].map(of_one) == [true; 3]);
        let own = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        assert!(own.map(of_one) == [false; 4]);
    }
}
