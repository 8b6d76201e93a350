//! An answer on its way down: the wait for it, its head, its body.

use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::cluster::pool::Member;
use crate::cluster::retry::Failure;
use crate::http1::Advance;
use crate::proxy::access::LogEntry;
use crate::proxy::disposition::NodeConnection;
use crate::proxy::io::{gone, left, write_all_within, write_what_fits, write_within};
use crate::proxy::outcome;
use crate::proxy::request::Timing;
use crate::proxy::response::{BodyForm, Response};
use crate::proxy::shared::Shared;
use crate::proxy::timer::Timer;
use crate::server::buffer::{Buffer, Need};

/// The length a buffer grows to when an answer's body fills it, in bytes: fewer system calls for large ones.
const BUFFER_BYTES_LARGE: usize = 64 * 1024;

/// After this time without a byte of an answer, the balancer looks whether the node and the client are
/// still there.
const UNANSWERED: Duration = Duration::from_millis(300);

/// A client that takes no byte for this long may take none for much longer.
const STALLED: Duration = Duration::from_secs(1);

/// After this number of bytes other connections have their turn: where node and client are quick,
/// nothing else would give it to them, and small answers would wait behind megabytes.
const TURN_BYTES: usize = 128 * 1024;

/// The side by whose fault an answer does not come or does not go down.
pub(super) enum RelayError {
    /// The client went away, or does not read.
    Client,
    /// The node failed.
    Node(Failure),
}

/// An answer on its way to the client.
pub(super) struct Download<'a> {
    pub(super) shared: &'a Shared,
    pub(super) member: &'a Member,
    pub(super) timer: &'a mut Timer,
    pub(super) entry: &'a LogEntry,
    /// When the whole head of the request was there.
    pub(super) came: Instant,
    pub(super) timing: Timing,
    pub(super) to_client: WriteHalf<'a>,
    pub(super) from_node: ReadHalf<'a>,
    /// The bytes of the body that came and were not sent yet.
    pub(super) inbox: &'a mut Buffer,
    pub(super) response: &'a mut Response,
    /// The request's buffer, unless its body is still read into it: while the client is waited for, it
    /// can hold less memory.
    pub(super) request: Option<&'a mut Buffer>,
    /// Bytes that the client's socket has taken at once, since it last did not.
    pub(super) kept_up: &'a mut usize,
    pub(super) unsent: Pending,
}

/// The bytes that were taken in and did not go down yet.
#[derive(Default)]
pub(super) struct Pending {
    /// The rest of the head: empty as a rule.
    head: Vec<u8>,
    /// The number of the body's bytes at the beginning of the inbox.
    left: usize,
    /// The data of a body whose chunks are taken apart.
    plain: Vec<u8>,
}

impl Download<'_> {
    /// Sends the head with the bytes of the body that have come, then the rest of the body.
    pub(super) async fn run(mut self) -> Result<(), RelayError> {
        if self.begin()? { Ok(()) } else { self.rest().await }
    }

    /// Sends the head, and with it in one system call the bytes of the body that have come. Returns
    /// whether that was all of the answer, as it mostly is; else the [`rest`](Self::rest) has to
    /// follow.
    pub(super) fn begin(&mut self) -> Result<bool, RelayError> {
        self.take()?;
        self.response.head_sent = true;
        let (status, unchunked) = (self.response.status, self.is_unchunked());
        outcome::answer_begins(self.shared, self.member, status, self.came, self.timing);
        let Pending { head, left, plain } = &mut self.unsent;
        let body = if unchunked { &plain[..] } else { &self.inbox.filled()[..*left] };
        let sent = self.shared.scratch.send(body, self.to_client.as_ref());
        let sent = sent.map_err(|_| RelayError::Client)?;
        self.entry.sent(sent.body);
        *head = sent.rest;
        if unchunked {
            plain.drain(..sent.body);
        } else {
            self.inbox.consume(sent.body);
            *left -= sent.body;
        }
        Ok(head.is_empty() && *left == 0 && plain.is_empty() && self.response.body.is_done())
    }

    /// Sends the bytes that [`begin`](Self::begin) has left, and those that come after it.
    pub(super) async fn rest(mut self) -> Result<(), RelayError> {
        let limits = &self.shared.settings.limits;
        let head = std::mem::take(&mut self.unsent.head);
        let sent = write_all_within(&mut self.to_client, self.timer, limits.send, &head).await;
        sent.map_err(|_| RelayError::Client)?;
        let mut turn_bytes = 0;
        loop {
            turn_bytes += self.unsent.left + self.unsent.plain.len();
            self.pass_on(limits.send).await.map_err(|_| RelayError::Client)?;
            if self.response.body.is_done() {
                return Ok(());
            }
            if turn_bytes >= TURN_BYTES {
                turn_bytes = 0;
                tokio::task::yield_now().await;
            }
            let next = Awaited {
                shared: self.shared,
                member: self.member,
                client: self.to_client.as_ref(),
                limit: limits.answer_body,
            };
            let request = &mut self.request;
            let doubt = || request.iter_mut().for_each(|request| request.stow());
            if next.read(self.timer, &mut self.from_node, self.inbox, doubt).await? == 0 {
                return self.response.body.eof().map_err(|_| RelayError::Node(Failure::Died));
            }
            // For a client that does not keep up, more memory would stand still.
            if self.inbox.is_full() && *self.kept_up >= BUFFER_BYTES_LARGE {
                // Without it, it takes more system calls.
                let _ = self.inbox.grow(BUFFER_BYTES_LARGE, Need::Speeds);
            }
            self.take()?;
        }
    }

    /// Takes in the bytes of the body that have come.
    fn take(&mut self) -> Result<(), RelayError> {
        let unchunked = self.is_unchunked();
        let Pending { left, plain, .. } = &mut self.unsent;
        let mut used = 0;
        loop {
            let came = &self.inbox.filled()[used..];
            let advance = if unchunked {
                self.response.body.decode(came, &mut |data: &[u8]| plain.extend_from_slice(data))
            } else {
                self.response.body.advance(came)
            };
            let Advance { consumed, dropped, .. } =
                advance.map_err(|refusal| RelayError::Node(Failure::BadAnswer(refusal)))?;
            used += consumed;
            if dropped == 0 {
                break;
            }
            self.inbox.cut(used, used + dropped);
            // It was not in the strict form.
            if self.response.node == NodeConnection::Reusable {
                self.response.node = NodeConnection::Ends;
            }
        }
        if unchunked {
            self.inbox.consume(used);
            self.inbox.release();
        } else {
            *left = used;
        }
        Ok(())
    }

    fn is_unchunked(&self) -> bool {
        self.response.form == BodyForm::Unchunked
    }

    /// Sends the bytes that were taken in.
    async fn pass_on(&mut self, silence_max: Duration) -> io::Result<()> {
        if self.is_unchunked() {
            let plain = &self.unsent.plain;
            write_all_within(&mut self.to_client, self.timer, silence_max, plain).await?;
            self.entry.sent(plain.len());
            self.unsent.plain.clear();
            return Ok(());
        }
        let left = std::mem::take(&mut self.unsent.left);
        self.send(left, silence_max).await
    }

    /// Sends the first `left` bytes that came. While the client takes none of them, no more
    /// memory is held than they need.
    async fn send(&mut self, mut left: usize, silence_max: Duration) -> io::Result<()> {
        let soon = STALLED.min(silence_max);
        while left > 0 {
            let bytes = &self.inbox.filled()[..left];
            let n = match write_what_fits(&self.to_client, bytes)? {
                Some(n) => n,
                None => {
                    let writable = self.timer.within(soon, pin!(self.to_client.writable())).await;
                    if writable.is_err() {
                        self.inbox.shrink();
                        self.request.iter_mut().for_each(|request| request.stow());
                    }
                    let bytes = &self.inbox.filled()[..left];
                    write_within(&mut self.to_client, self.timer, silence_max - soon, bytes).await?
                }
            };
            *self.kept_up = if n == left { self.kept_up.saturating_add(n) } else { 0 };
            self.inbox.consume(n);
            self.entry.sent(n);
            left -= n;
        }
        Ok(())
    }
}

/// A wait for the next bytes of an answer, as long as its node and its client are there.
pub(super) struct Awaited<'a> {
    pub(super) shared: &'a Shared,
    pub(super) member: &'a Member,
    pub(super) client: &'a TcpStream,
    pub(super) limit: Duration,
}

impl Awaited<'_> {
    /// Reads the next bytes. When nothing comes for a while, `doubt` is called, and from then on the
    /// wait ends if the node is known to have vanished or the client goes away; not earlier, so that an
    /// ordinary answer does not pay for it. Returns 0 at the end of the node's bytes.
    ///
    /// # Errors
    /// The side whose fault it is, also where `limit` has passed.
    pub(super) async fn read(
        &self,
        timer: &mut Timer,
        node: &mut ReadHalf<'_>,
        inbox: &mut Buffer,
        doubt: impl FnOnce(),
    ) -> Result<usize, RelayError> {
        let mut read = pin!(inbox.read_from(node));
        let soon = UNANSWERED.min(self.limit);
        let came = match timer.within(soon, read.as_mut()).await {
            Ok(came) => came,
            Err(_) => {
                doubt();
                let half_closed = self.shared.settings.limits.half_closed;
                // Boxed, because it is rare and would make every request's future larger.
                let mut slow = Box::pin(async {
                    tokio::select! {
                        came = read => Ok(came),
                        () = self.shared.vanished(self.member.epoch) => {
                            Err(RelayError::Node(Failure::Vanished))
                        }
                        () = gone(self.client) => Err(RelayError::Client),
                        () = left(self.client, half_closed) => Err(RelayError::Client),
                    }
                });
                let slow = timer.still_within(self.limit, slow.as_mut()).await;
                slow.unwrap_or(Err(RelayError::Node(Failure::AnswerTimeout)))?
            }
        };
        came.map_err(|_| RelayError::Node(Failure::Died))
    }
}
