//! Where a worker renders heads before they are sent.
//!
//! One for all connections of a worker: from rendering to sending nothing is awaited in the
//! ordinary case, so one is enough and its memory is always warm. A ticket tells whether somebody
//! else has rendered in between.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};

/// The rendered head and its ticket.
#[derive(Default)]
pub(crate) struct Scratch {
    bytes: RefCell<Vec<u8>>,
    ticket: Cell<u64>,
}

/// What one system call sent.
pub(crate) struct Sent {
    /// Of head and body together.
    pub(crate) total: usize,
    /// Of the body.
    pub(crate) body: usize,
    /// What is left of the head: empty in the ordinary case.
    pub(crate) rest: Vec<u8>,
}

impl Scratch {
    /// Renders a head, over the last one. Gives the ticket by which to ask for it.
    pub(crate) fn render(&self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let mut bytes = self.bytes.borrow_mut();
        bytes.clear();
        write(&mut bytes);
        self.ticket.set(self.ticket.get() + 1);
        self.ticket.get()
    }

    /// Whether the head of this ticket is still there.
    pub(crate) fn holds(&self, ticket: u64) -> bool {
        self.ticket.get() == ticket
    }

    /// Sends the head and `body` by one vectored write, without waiting: what the kernel does not
    /// take is left to the caller.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn send(
        &self,
        body: &[u8],
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<Sent> {
        let head = self.bytes.borrow();
        let parts = [IoSlice::new(&head), IoSlice::new(body)];
        let parts = if body.is_empty() { &parts[..1] } else { &parts[..] };
        let total = match write(parts) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other?,
        };
        let rest = head.get(total..).unwrap_or_default().to_vec();
        Ok(Sent { total, body: total.saturating_sub(head.len()), rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(scratch: &Scratch, body: &[u8], taken: usize) -> (usize, usize, Vec<u8>) {
        let sent = scratch.send(body, |_| Ok(taken)).expect("the write succeeds");
        (sent.total, sent.body, sent.rest)
    }

    #[test]
    fn what_the_kernel_does_not_take_is_told_apart() {
        let scratch = Scratch::default();
        scratch.render(|out| out.extend_from_slice(b"head"));
        assert_eq!(send(&scratch, b"body", 8), (8, 4, vec![]));
        assert_eq!(send(&scratch, b"body", 6), (6, 2, vec![]));
        assert_eq!(send(&scratch, b"body", 1), (1, 0, b"ead".to_vec()));
        let blocked = scratch.send(b"body", |_| Err(io::ErrorKind::WouldBlock.into()));
        assert_eq!(blocked.expect("blocking is no error").rest, b"head");
        assert!(scratch.send(b"", |_| Err(io::ErrorKind::BrokenPipe.into())).is_err());
    }

    #[test]
    fn a_ticket_ends_with_the_next_rendering() {
        let scratch = Scratch::default();
        let first = scratch.render(|_| {});
        assert!(scratch.holds(first));
        let second = scratch.render(|_| {});
        assert!(!scratch.holds(first) && scratch.holds(second));
    }
}
