//! A downstream connection of HTTP/1: its socket, its buffer, its timer, and the ways to answer on it
//! and to end it. Reading requests from it is `serve`'s business.

use std::net::IpAddr;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::proxy::access::LogEntry;
use crate::proxy::disposition::Disposition;
use crate::proxy::headers::Forwarding;
use crate::proxy::io::{is_quiet, write_all_within};
use crate::proxy::linger;
use crate::proxy::pinned::Pinned;
use crate::proxy::reject::{Form, Reject};
use crate::proxy::shared::Shared;
use crate::proxy::timer::Timer;
use crate::server::ConnectionGuard;
use crate::server::buffer::Buffer;

/// After an answer that ends the connection, the client's bytes are read and dropped for this long:
/// closing at once would reset it and could take the answer away. Many clients read no answer before they
/// have sent their whole request. The times are those of nginx (`lingering_time`, `lingering_timeout`).
const LINGER: Duration = Duration::from_secs(30);

/// A client that sends nothing for this long meanwhile has had the time to read the answer.
const LINGER_SILENCE: Duration = Duration::from_secs(5);

/// After this time its place may be given to another client.
const LINGER_SURELY: Duration = Duration::from_secs(1);

/// A client's connection and what is known of it.
pub(super) struct Conn {
    pub(super) stream: TcpStream,
    /// The present request from its first byte, then the bytes that came behind it.
    pub(super) inbox: Buffer,
    /// For all limits of the connection, one after the other.
    pub(super) timer: Timer,
    /// Its place among the worker's connections.
    pub(super) guard: ConnectionGuard,
    /// The fields that name the client to nodes.
    pub(super) forwarding: Forwarding,
    /// Bytes of answers that its socket has taken at once, since it last did not.
    pub(super) kept_up: usize,
    /// The connection to a node that serves this client alone, while no request runs.
    pub(super) pinned: Option<Box<Pinned>>,
    /// The access log's line for a request whose head is still coming; then the request has it.
    pub(super) entry: LogEntry,
}

impl Conn {
    /// A fresh connection from `ip`. `trusted` is whether it is one of the user's own proxies.
    pub(super) fn new(
        shared: &Shared,
        stream: TcpStream,
        ip: IpAddr,
        trusted: bool,
        guard: ConnectionGuard,
    ) -> Self {
        Self {
            stream,
            inbox: Buffer::new(&shared.buffers),
            timer: Timer::default(),
            guard,
            forwarding: Forwarding::new(ip, trusted),
            kept_up: 0,
            pinned: None,
            entry: LogEntry::default(),
        }
    }

    /// Returns whether the client has sent nothing that was not read.
    pub(super) fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && is_quiet(&self.stream)
    }

    /// Old clients end a body with an empty line too many (RFC 9112 section 2.2). Left where it is,
    /// it would be a head that never comes to its end.
    pub(super) fn forgive_an_empty_line(&mut self) {
        if self.inbox.filled() == b"\r\n" {
            self.inbox.consume(2);
        }
    }

    /// Answers on the balancer's own behalf, counts that, and ends the access log's `entry`.
    pub(super) async fn respond(
        &mut self,
        shared: &Shared,
        entry: &mut LogEntry,
        reject: Reject,
        form: Form,
    ) -> Disposition {
        shared.count_reject(reject);
        if let Some(refusal) = reject.refusal() {
            entry.refused(refusal);
        }
        let mut out = Vec::new();
        let empty = &shared.settings.empty_cluster_page;
        let body_bytes = reject.write(&form, SystemTime::now(), empty, &shared.pool(), &mut out);
        entry.answered_for(reject.status());
        let (_, mut to) = self.stream.split();
        let limit = shared.settings.limits.send;
        let written = write_all_within(&mut to, &mut self.timer, limit, &out).await;
        entry.sent(if written.is_ok() { body_bytes } else { 0 });
        entry.end(reject.cause());
        if written.is_ok() { form.then } else { Disposition::Cut }
    }

    /// Answers bytes that are no request, after which the connection ends.
    pub(super) async fn refuse(&mut self, shared: &Shared, reject: Reject) -> Disposition {
        let mut entry = std::mem::take(&mut self.entry);
        entry.begin(shared.access_log.as_ref(), &self.forwarding);
        let is_head = self.inbox.filled().starts_with(b"HEAD ");
        self.respond(shared, &mut entry, reject, Form::last(is_head)).await
    }

    /// Answers why it is not served, and ends without keeping its place meanwhile.
    pub(super) async fn turn_away(mut self, shared: &Shared, reject: Reject) {
        if self.refuse(shared, reject).await == Disposition::Linger {
            self.guard.part(self.stream);
        }
    }

    /// Ends the connection so that the client can read all that was sent (RFC 9112 section 9.6):
    /// announces the end, then drops what still comes, for a while.
    pub(super) async fn close(&mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let (began, mut surely) = (Instant::now(), true);
        loop {
            self.inbox.consume(self.inbox.len());
            let waited = began.elapsed();
            if surely && waited >= LINGER_SURELY {
                surely = false;
                self.guard.idle_since(began.into_std());
            }
            let limit = if surely { LINGER_SURELY } else { LINGER }.saturating_sub(waited);
            let read = pin!(self.inbox.read_from(&mut self.stream));
            match self.timer.within(limit.min(LINGER_SILENCE), read).await {
                Ok(Ok(1..)) => {}
                Err(_) if surely => {}
                // The client has read the answer, or will not.
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Resets the connection, so that an answer without a length cannot be taken for a whole one.
    pub(super) fn cut(self) {
        linger::reset_on_drop(&self.stream);
    }
}
