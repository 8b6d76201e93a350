//! The place where a worker renders heads before they are sent.
//!
//! There is one for all connections of a worker: from rendering to sending nothing is awaited in the
//! ordinary case, so one is enough and its memory is always warm. A ticket shows whether another
//! connection has rendered in between.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};

use tokio::net::TcpStream;

/// The head that was rendered last, and its ticket.
#[derive(Default)]
pub(super) struct Scratch {
    bytes: RefCell<Vec<u8>>,
    ticket: Cell<u32>,
}

/// The longest body that is copied behind its head to be sent with it.
const COPIED_MAX: usize = 4 * 1024;

/// A socket that is written to without waiting.
pub(super) trait TrySend {
    /// Writes, or fails with [`io::ErrorKind::WouldBlock`].
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Writes several parts, or fails with [`io::ErrorKind::WouldBlock`].
    fn try_send_both(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;
}

impl TrySend for TcpStream {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }
    fn try_send_both(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write_vectored(parts)
    }
}

/// The bytes that one system call sent.
pub(super) struct Sent {
    /// Of head and body together.
    pub(super) total: usize,
    /// Of the body.
    pub(super) body: usize,
    /// The rest of the head: empty in the ordinary case.
    pub(super) rest: Vec<u8>,
}

impl Scratch {
    /// Renders a head over the last one. Returns the ticket by which to ask for it, and
    /// the result of `write`. Tickets begin again
    /// after 4 billion heads, which no request outlives.
    pub(super) fn render<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> (u32, T) {
        let mut bytes = self.bytes.borrow_mut();
        bytes.clear();
        let written = write(&mut bytes);
        self.ticket.set(self.ticket.get().wrapping_add(1));
        (self.ticket.get(), written)
    }

    /// Returns whether the head of this ticket is still there.
    pub(super) fn holds(&self, ticket: u32) -> bool {
        self.ticket.get() == ticket
    }

    /// Sends the head and `body` in one system call, without waiting: bytes that the kernel does not
    /// take are left to the caller. A small body is copied behind the head, because a plain write is
    /// cheaper than a vectored one by more than that.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn send(&self, body: &[u8], to: &impl TrySend) -> io::Result<Sent> {
        let mut bytes = self.bytes.borrow_mut();
        let head_len = bytes.len();
        let written = if body.len() <= COPIED_MAX {
            bytes.extend_from_slice(body);
            let written = to.try_send(&bytes);
            bytes.truncate(head_len);
            written
        } else {
            to.try_send_both(&[IoSlice::new(&bytes), IoSlice::new(body)])
        };
        let total = match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other?,
        };
        let rest = bytes.get(total..).unwrap_or_default().to_vec();
        Ok(Sent { total, body: total.saturating_sub(head_len), rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that takes this number of bytes, or none.
    struct Kernel(Result<usize, io::ErrorKind>);

    impl TrySend for Kernel {
        fn try_send(&self, _: &[u8]) -> io::Result<usize> {
            self.0.map_err(io::Error::from)
        }
        fn try_send_both(&self, _: &[IoSlice<'_>]) -> io::Result<usize> {
            self.0.map_err(io::Error::from)
        }
    }

    fn send(scratch: &Scratch, body: &[u8], taken: usize) -> (usize, usize, Vec<u8>) {
        let sent = scratch.send(body, &Kernel(Ok(taken))).expect("the write succeeds");
        (sent.total, sent.body, sent.rest)
    }

    #[test]
    fn the_bytes_that_the_kernel_does_not_take_are_reported() {
        let scratch = Scratch::default();
        scratch.render(|out| out.extend_from_slice(b"head"));
        for body in [[b'b'; 4].as_slice(), &[b'b'; 2 * COPIED_MAX]] {
            assert_eq!(send(&scratch, body, 8), (8, 4, vec![]));
            assert_eq!(send(&scratch, body, 6), (6, 2, vec![]));
            assert_eq!(send(&scratch, body, 1), (1, 0, b"ead".to_vec()));
            let blocked = scratch.send(body, &Kernel(Err(io::ErrorKind::WouldBlock)));
            assert_eq!(blocked.expect("blocking is no error").rest, b"head");
            assert!(scratch.send(body, &Kernel(Err(io::ErrorKind::BrokenPipe))).is_err());
        }
    }

    #[test]
    fn a_ticket_ends_with_the_next_rendering() {
        let scratch = Scratch::default();
        let (first, ()) = scratch.render(|_| {});
        assert!(scratch.holds(first));
        let (second, ()) = scratch.render(|_| {});
        assert!(!scratch.holds(first) && scratch.holds(second));
    }
}
