//! A request's body on its way to a node.
//!
//! The body lies in the client's own buffer behind the head. While it fits there (64 KiB) it is
//! held whole and can be sent again; a longer one is let go piece by piece once it was sent, and
//! then it cannot.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;

use crate::cluster::config::Limits;
use crate::http1::{Body, Framing, Refusal};
use crate::proxy::io::write_within;
use crate::proxy::timer::Timer;
use crate::server::buffer::{Buffer, Need};

/// The longest request body that is held for a replay, in bytes; a longer one streams through.
const REPLAY_BYTES_MAX: usize = 64 * 1024;

/// The kernel's buffer has room again for a while after it was full, because what lies there is still on
/// its way. After this time that is over, and room shows that the node has taken something.
const SETTLES: Duration = Duration::from_secs(1);

/// The progress of a request's body. Offsets count from the first byte of the request's head,
/// which is the first byte in the client's buffer for as long as the request runs.
pub(super) struct Upload {
    body: Body,
    /// The end of the head.
    head_len: usize,
    /// The end of the bytes known to belong to this body.
    checked: usize,
    /// The end of the bytes sent to the present node.
    sent: usize,
    /// The bytes of data that may still come.
    allowed: u64,
    /// None of its bytes was let go.
    held: bool,
    /// The present node takes no more of it.
    given_up: bool,
    /// The client holds its body back until a 100 comes, so its silence is the node's.
    awaits_continue: bool,
    /// A part of it goes, or went, after the head.
    pumped: bool,
    /// For the silence of the client, and of the node.
    timer: Timer,
}

/// The part of a request's body that went to the present node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of it went, together with the head; also where there is none.
    AtOnce,
    /// All of it went, in several pieces.
    InPieces,
    /// A part of it has not gone.
    Partly,
}

/// Why a body did not come to its end.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The client sent nothing for too long.
    ClientSilent,
    /// The node takes nothing for too long, or the client waits for a 100 and the node does not answer.
    NodeSilent,
    /// The client went away.
    ClientGone,
    /// The client broke the framing it had announced, ended before its end, or sends too much.
    Framing(Refusal),
    /// The node takes no more.
    Node,
}

impl Upload {
    /// The body in this framing, of the request whose head is the first `head_len` bytes of `inbox`.
    ///
    /// # Errors
    /// It is longer than `bytes_max`, as far as that can be known yet, or its first bytes break the
    /// announced framing.
    pub(super) fn new(
        framing: Framing,
        head_len: usize,
        inbox: &Buffer,
        bytes_max: Option<u64>,
    ) -> Result<Self, Refusal> {
        let allowed = bytes_max.unwrap_or(u64::MAX);
        if matches!(framing, Framing::Length(bytes) if bytes > allowed) {
            return Err(Refusal::BodyTooLong);
        }
        let mut upload = Self {
            body: Body::new(framing),
            head_len,
            checked: head_len,
            sent: head_len,
            allowed,
            held: true,
            given_up: false,
            awaits_continue: false,
            pumped: false,
            timer: Timer::default(),
        };
        upload.check(inbox)?;
        Ok(upload)
    }

    /// The client asked for a 100 before it sends its body (RFC 9110 section 10.1.1). A client
    /// that sends any of it without one has not waited.
    pub(super) fn await_continue(&mut self) {
        self.awaits_continue = self.checked == self.head_len;
    }

    /// The node has answered something: from now on the client owes its body.
    pub(super) fn heard(&mut self) {
        self.awaits_continue = false;
    }

    /// The length of the head before the body.
    pub(super) fn head_len(&self) -> usize {
        self.head_len
    }

    /// Reads the body to its end, or as much of it as may be held for a replay.
    ///
    /// # Errors
    /// The client sends nothing for `silence_max`, went away, or broke the framing.
    pub(super) async fn hold(
        &mut self,
        inbox: &mut Buffer,
        client: &mut TcpStream,
        silence_max: Duration,
    ) -> Result<(), UploadError> {
        while !self.has_come() {
            if !self.has_room(inbox) {
                return Ok(());
            }
            match self.timer.within(silence_max, pin!(inbox.read_from(client))).await {
                Err(_) => return Err(UploadError::ClientSilent),
                Ok(Ok(0)) => return Err(UploadError::Framing(Refusal::Truncated)),
                Ok(Err(_)) => return Err(UploadError::ClientGone),
                Ok(Ok(_)) => {}
            }
            self.check(inbox).map_err(UploadError::Framing)?;
        }
        Ok(())
    }

    /// Takes in the bytes that have come.
    fn check(&mut self, inbox: &Buffer) -> Result<(), Refusal> {
        if !self.body.is_done() {
            let mut data = 0;
            let came = &inbox.filled()[self.checked..];
            self.checked += self.body.decode(came, |piece| data += piece.len() as u64)?.consumed;
            self.allowed = self.allowed.checked_sub(data).ok_or(Refusal::BodyTooLong)?;
        }
        Ok(())
    }

    /// Returns whether the whole body can be sent once more.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Returns whether all of the body went to the node.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_done() && self.sent == self.checked
    }

    /// The part of the body that went to the node.
    pub(super) fn progress(&self) -> Progress {
        match (self.is_done(), self.pumped) {
            (true, false) => Progress::AtOnce,
            (true, true) => Progress::InPieces,
            (false, _) => Progress::Partly,
        }
    }

    /// Returns whether nothing more will go to the node: all went, or it takes no more.
    pub(super) fn is_over(&self) -> bool {
        self.given_up || self.is_done()
    }

    /// Returns whether the whole body has come from the client.
    pub(super) fn has_come(&self) -> bool {
        self.body.is_done()
    }

    /// The bytes that wait to be sent to the node.
    pub(super) fn pending<'b>(&self, inbox: &'b Buffer) -> &'b [u8] {
        &inbox.filled()[self.sent..self.checked]
    }

    /// Counts `n` pending bytes as sent.
    pub(super) fn sent(&mut self, n: usize) {
        self.sent += n;
    }

    /// Stops sending to this node: it takes no more. Its answer still counts.
    pub(super) fn give_up(&mut self) {
        self.given_up = true;
    }

    /// Begins again, for another node. Only while the body is held.
    pub(super) fn rewind(&mut self) {
        debug_assert!(self.held, "a body that was let go cannot be sent again");
        self.sent = self.head_len;
        self.given_up = false;
        self.pumped = false;
    }

    /// The bytes of the client's buffer that this request used up.
    pub(super) fn used(&self) -> usize {
        self.checked
    }

    /// Sends the body to its end, reading from the client as needed. The whole head went before, so a
    /// failure here is one of a request that reached its node. `waits_since` is the time since which
    /// the node owes it to take more, while it does.
    ///
    /// ## Cancel safety
    /// Every byte is counted in the same step in which it was read or sent; calling it again goes
    /// on where it was dropped.
    pub(super) async fn pump(
        &mut self,
        inbox: &mut Buffer,
        client: &mut ReadHalf<'_>,
        node: &mut WriteHalf<'_>,
        limits: &Limits,
        waits_since: &Cell<Option<Instant>>,
    ) -> Result<(), UploadError> {
        self.pumped = true;
        loop {
            while self.sent < self.checked {
                let pending = &inbox.filled()[self.sent..self.checked];
                waits_since.set(Some(Instant::now()));
                let soon = SETTLES.min(limits.send);
                let mut written = write_within(node, &mut self.timer, soon, pending).await;
                if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
                    let rest = limits.send - soon;
                    written = write_within(node, &mut self.timer, rest, pending).await;
                }
                waits_since.set(None);
                match written {
                    Ok(n) if n > 0 => self.sent += n,
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        return Err(UploadError::NodeSilent);
                    }
                    Ok(_) | Err(_) => {
                        self.give_up();
                        return Err(UploadError::Node);
                    }
                }
            }
            if self.body.is_done() {
                return Ok(());
            }
            self.make_room(inbox);
            let silence_max = if self.awaits_continue { limits.answer } else { limits.body };
            match self.timer.within(silence_max, pin!(inbox.read_from(client))).await {
                Err(_) if self.awaits_continue => return Err(UploadError::NodeSilent),
                Err(_) => return Err(UploadError::ClientSilent),
                Ok(Ok(0)) => return Err(UploadError::Framing(Refusal::Truncated)),
                Ok(Err(_)) => return Err(UploadError::ClientGone),
                Ok(Ok(_)) => self.awaits_continue = false,
            }
            self.check(inbox).map_err(UploadError::Framing)?;
        }
    }

    /// Returns whether more of the body may be held. A full buffer grows, if there is memory for it.
    fn has_room(&self, inbox: &mut Buffer) -> bool {
        let bytes_max = self.head_len + REPLAY_BYTES_MAX;
        !inbox.is_full() || (inbox.capacity() < bytes_max && inbox.grow(bytes_max, Need::Helps))
    }

    /// Grows the buffer while the body may still be held and there is memory for it, else lets go of
    /// the bytes that were sent.
    fn make_room(&mut self, inbox: &mut Buffer) {
        if !self.has_room(inbox) || !self.held {
            self.held = false;
            inbox.cut(self.head_len, self.sent);
            self.checked -= self.sent - self.head_len;
            self.sent = self.head_len;
        }
    }
}
