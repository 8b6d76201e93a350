//! An answer on its way down: the wait for it, its head, its body.

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::config::BUFFER_BYTES_LARGE;
use crate::h1::Body;
use crate::pool::Member;
use crate::proxy::Worker;
use crate::proxy::access::Entry;
use crate::proxy::client::{gone, left};
use crate::proxy::timer::Timer;
use crate::proxy::upload::{write_all_within, write_what_fits, write_within};
use crate::retry::Failure;
use crate::server::buffer::{Buffer, Need};

/// A request that is unanswered for this long asks whether its node is still there, and its client.
const UNANSWERED: Duration = Duration::from_millis(300);

/// A client that takes no byte for this long may take none for much longer.
const STALLED: Duration = Duration::from_secs(1);

/// After so many bytes it is somebody else's turn: where node and client are quick, nothing else
/// would end it, and small answers would wait behind megabytes.
const TURN_BYTES: usize = 128 * 1024;

/// Whose fault it is that an answer does not come or does not go down.
pub(super) enum Stopped {
    /// It went away, or does not read.
    Client,
    Node(Failure),
}

/// The facts of an answer whose head has come.
pub(super) struct Answer {
    pub(super) head_len: usize,
    pub(super) status: u16,
    pub(super) body: Body,
    /// It came when the whole request had gone up.
    pub(super) was_owed: bool,
    /// The node sent a 1xx that is not a 101; another head follows.
    pub(super) interim: bool,
    /// Its head, or a part of it, went to the client.
    pub(super) head_sent: bool,
    pub(super) switches: bool,
    pub(super) until_close: bool,
    pub(super) keep_alive: bool,
    pub(super) close_client: bool,
    /// The body goes to the client without its chunk framing.
    pub(super) unchunk: bool,
    pub(super) draining: bool,
    pub(super) ticket: u64,
}

/// An answer on its way to the client.
pub(super) struct Download<'a> {
    pub(super) worker: &'a Worker,
    pub(super) member: &'a Member,
    pub(super) timer: &'a mut Timer,
    pub(super) entry: &'a Entry,
    pub(super) to_client: WriteHalf<'a>,
    pub(super) from_node: ReadHalf<'a>,
    /// What came of the body and was not sent yet.
    pub(super) inbox: &'a mut Buffer,
    pub(super) answer: &'a mut Answer,
    /// The request, which nobody reads while the client is waited for.
    pub(super) request: Option<&'a mut Buffer>,
    /// Bytes that the client's socket has taken at once, since it last did not.
    pub(super) kept_up: &'a mut usize,
}

impl Download<'_> {
    /// The head with what has come of the body, then the rest of the body.
    pub(super) async fn run(mut self) -> Result<(), Stopped> {
        let limits = &self.worker.settings.limits;
        let (mut plain, mut turn_bytes) = (Vec::new(), 0);
        loop {
            turn_bytes += self.inbox.len();
            self.pass_on(&mut plain, limits.send).await?;
            if self.answer.body.is_done() {
                return Ok(());
            }
            if turn_bytes >= TURN_BYTES {
                turn_bytes = 0;
                tokio::task::yield_now().await;
            }
            let next = Awaited {
                worker: self.worker,
                member: self.member,
                client: self.to_client.as_ref(),
                limit: limits.answer_body,
            };
            let request = &mut self.request;
            let doubt = || request.iter_mut().for_each(|request| request.stow());
            if next.read(self.timer, &mut self.from_node, self.inbox, doubt).await? == 0 {
                return self.answer.body.eof().map_err(|_| Stopped::Node(Failure::Died));
            }
            // One that does not keep up would have more memory stand still for it.
            if self.inbox.is_full() && *self.kept_up >= BUFFER_BYTES_LARGE {
                // Without it, it takes more system calls.
                let _ = self.inbox.grow(BUFFER_BYTES_LARGE, Need::Speeds);
            }
        }
    }

    /// Sends what has come of the body; before the first of it, the head. `plain` is where chunks
    /// are taken apart.
    async fn pass_on(&mut self, plain: &mut Vec<u8>, silence_max: Duration) -> Result<(), Stopped> {
        let came = self.inbox.filled();
        let body = &mut self.answer.body;
        let advance = if self.answer.unchunk {
            plain.clear();
            body.decode(came, &mut |data: &[u8]| plain.extend_from_slice(data))
        } else {
            body.advance(came)
        };
        let used = advance.map_err(|_| Stopped::Node(Failure::BadAnswer))?.consumed;
        let bytes = if self.answer.unchunk { plain.as_slice() } else { &came[..used] };
        let mut first = 0;
        if !self.answer.head_sent {
            self.answer.head_sent = true;
            self.member.answered(self.worker.now());
            let sent = send_first(self.worker, &mut self.to_client, self.timer, bytes).await;
            first = sent.map_err(|_| Stopped::Client)?;
            self.entry.sent(first);
        }
        let sent = if self.answer.unchunk {
            self.inbox.consume(used);
            self.inbox.release();
            let bytes = &plain[first..];
            let sent = write_all_within(&mut self.to_client, self.timer, silence_max, bytes).await;
            sent.inspect(|()| self.entry.sent(bytes.len()))
        } else {
            self.inbox.consume(first);
            self.send(used - first, silence_max).await
        };
        sent.map_err(|_| Stopped::Client)
    }

    /// Sends the first `left` bytes of what came. While the client takes none of them, no more
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

/// Sends the rendered head and, in the same system call, as much of `body` as the kernel takes.
/// Gives the number of body bytes that went.
pub(super) async fn send_first(
    worker: &Worker,
    to: &mut WriteHalf<'_>,
    timer: &mut Timer,
    body: &[u8],
) -> io::Result<usize> {
    let sent = worker.scratch.send(body, to.as_ref())?;
    write_all_within(to, timer, worker.settings.limits.send, &sent.rest).await?;
    Ok(sent.body)
}

/// What a read waits for: the next bytes of an answer, as long as its node and its client are there.
pub(super) struct Awaited<'a> {
    pub(super) worker: &'a Worker,
    pub(super) member: &'a Member,
    pub(super) client: &'a TcpStream,
    pub(super) limit: Duration,
}

impl Awaited<'_> {
    /// Reads what comes next. When nothing comes for a while, `doubt` is called, and the wait ends
    /// if the node is known to have vanished or the client goes away; not earlier, so that an
    /// ordinary answer does not pay for it. Gives 0 at the end of what the node sends.
    pub(super) async fn read(
        &self,
        timer: &mut Timer,
        node: &mut ReadHalf<'_>,
        inbox: &mut Buffer,
        doubt: impl FnOnce(),
    ) -> Result<usize, Stopped> {
        let mut read = pin!(inbox.read_from(node));
        let soon = UNANSWERED.min(self.limit);
        let came = match timer.within(soon, read.as_mut()).await {
            Ok(came) => came,
            Err(_) => {
                doubt();
                let half_closed = self.worker.settings.limits.half_closed;
                // Boxed, because it is rare and would make every request's future larger.
                let mut slow = Box::pin(async {
                    tokio::select! {
                        came = read => Ok(came),
                        () = self.worker.vanished(self.member.epoch) => {
                            Err(Stopped::Node(Failure::Vanished))
                        }
                        () = gone(self.client) => Err(Stopped::Client),
                        () = left(self.client, half_closed) => Err(Stopped::Client),
                    }
                });
                let slow = timer.still_within(self.limit, slow.as_mut()).await;
                slow.unwrap_or(Err(Stopped::Node(Failure::AnswerTimeout)))?
            }
        };
        came.map_err(|_| Stopped::Node(Failure::Died))
    }
}
