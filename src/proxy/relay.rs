//! One attempt on a connection of HTTP/1: the request goes to a node, its answer comes back.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::cluster::health::Outcome;
use crate::cluster::pool::Member;
use crate::cluster::retry::{Failure, Reach, Safety};
use crate::http1::limits::{HEAD_BYTES_MAX, INTERIMS_MAX};
use crate::http1::{Refusal, Version};
use crate::proxy::access::CLIENT_LEFT;
use crate::proxy::conn::Conn;
use crate::proxy::disposition::{Disposition, NodeConnection};
use crate::proxy::download::{Awaited, Download, Pending, RelayError};
use crate::proxy::downstream::{AttemptError, Relayed};
use crate::proxy::io::{gone, write_all_within};
use crate::proxy::reject::Reject;
use crate::proxy::request::Request;
use crate::proxy::response::{BodyForm, Kind, Response};
use crate::proxy::shared::Shared;
use crate::proxy::upload::{Progress, UploadError};
use crate::proxy::{head, linger, outcome, tunnel, upstream};
use crate::server::buffer::{Buffer, Need};

/// Sends the request to the node and its answer to the client.
pub(super) fn relay<'a>(
    shared: &'a Shared,
    conn: &'a mut Conn,
    request: &'a mut Request,
    node: &'a mut TcpStream,
    member: &'a Member,
) -> impl Future<Output = Result<Relayed, AttemptError>> {
    let inbox = Buffer::new(&shared.buffers);
    let mut relay = Relay { shared, conn, request, node, member, inbox };
    // Not an async fn, which would hold its arguments as well.
    async move { relay.run().await }
}

impl From<RelayError> for AttemptError {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Client => Self::ClientLeft,
            RelayError::Node(failure) => Self::Node(failure),
        }
    }
}

/// An attempt under way. Rare steps are boxed where they are awaited: the future of an ordinary request
/// stays small, and with it the memory that is allocated for it.
struct Relay<'a> {
    shared: &'a Shared,
    conn: &'a mut Conn,
    request: &'a mut Request,
    node: &'a mut TcpStream,
    member: &'a Member,
    /// The bytes that came from the node and were not used up yet.
    inbox: Buffer,
}

impl Relay<'_> {
    async fn run(&mut self) -> Result<Relayed, AttemptError> {
        self.send_head().await;
        let mut interims = 0;
        let mut response = loop {
            let response = self.await_head().await?;
            if response.kind != Kind::Interim {
                break response;
            }
            interims += 1;
            if interims > INTERIMS_MAX {
                return Err(AttemptError::Node(Failure::BadAnswer(Refusal::TooManyInterims)));
            }
            self.request.upload.heard();
            Box::pin(self.send_interim(&response)).await?;
            self.inbox.consume(response.head_len);
        };
        match response.app_down {
            // The node answers that nobody has seen the request.
            Some(Failure::Refused) if self.request.upload.is_held() => {
                self.request.reach = Reach::Unsent;
                return Err(AttemptError::Node(Failure::Refused));
            }
            Some(Failure::Died) => return Err(AttemptError::Node(Failure::Died)),
            _ => {}
        }
        self.request.entry.answered(response.status);
        outcome::head_came(self.shared, self.member, response.status);
        if response.kind == Kind::Switch {
            return Ok(Box::pin(self.switch(&response)).await);
        }
        match self.send_down(&mut response).await {
            Ok(()) => Ok(self.relayed(&response)),
            Err(RelayError::Node(failure)) if response.head_sent => {
                Err(AttemptError::Answer(failure))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends the head, and with it in one system call the bytes of the body that have come. An error is
    /// not reported: the node may have answered before it closed, and reading from it shows which.
    async fn send_head(&mut self) {
        head::render_for(self.shared, self.conn, self.request, &self.member.node);
        let upload = &mut self.request.upload;
        let sent = self.shared.scratch.send(upload.pending(&self.conn.inbox), &*self.node);
        let Ok(sent) = sent else { return upload.give_up() };
        if sent.total > 0 {
            self.request.reach = Reach::Sent;
        }
        upload.sent(sent.body);
        let mut rest: &[u8] = &sent.rest;
        while !rest.is_empty() {
            match self.node.write(rest).await {
                Ok(n) if n > 0 => {
                    rest = &rest[n..];
                    self.request.reach = Reach::Sent;
                }
                _ => return upload.give_up(),
            }
        }
    }

    /// Waits for the answer's head while what is left of the request's body goes up.
    async fn await_head(&mut self) -> Result<Response, AttemptError> {
        let mut seen = 0;
        let mut owed_since: Option<Instant> = None;
        loop {
            if !self.inbox.is_empty() {
                if let Some(response) = self.read_head(seen)? {
                    return Ok(response);
                }
                seen = self.inbox.len();
                if self.inbox.is_full() && !self.inbox.grow(HEAD_BYTES_MAX, Need::Must) {
                    return Err(AttemptError::Rejected(Reject::NoMemory));
                }
            }
            if self.request.upload.is_over() {
                self.read_answer(owed_since).await?;
                owed_since.get_or_insert(self.conn.timer.waiting_since());
            } else {
                Box::pin(self.read_answer_or_send_body()).await?;
            }
        }
    }

    fn read_head(&self, seen: usize) -> Result<Option<Response>, AttemptError> {
        let Self { shared, conn, request, member, inbox, .. } = self;
        let read = Response::read(shared, conn, request, member, inbox.filled(), seen);
        read.map_err(|refusal| AttemptError::Node(Failure::BadAnswer(refusal)))
    }

    /// The whole request went up: since then, if not since now, the node owes its answer's head, all
    /// of it.
    async fn read_answer(&mut self, owed_since: Option<Instant>) -> Result<(), AttemptError> {
        let (shared, member) = (self.shared, self.member);
        let (_, to_client) = self.conn.stream.split();
        let (mut from_node, _) = self.node.split();
        let owed_for = owed_since.map_or(Duration::ZERO, |since| since.elapsed());
        let limit = shared.settings.limits.answer.saturating_sub(owed_for);
        let client = to_client.as_ref();
        let doubt = || shared.report(member.epoch, Outcome::Silent);
        let next = Awaited { shared, member, client, limit };
        let timer = &mut self.conn.timer;
        match next.read(timer, &mut from_node, &mut self.inbox, doubt).await {
            Ok(n) if n > 0 => Ok(()),
            Ok(_) => Err(AttemptError::Node(Failure::Died)),
            Err(error) => Err(error.into()),
        }
    }

    /// The node may answer before it has the whole body (RFC 9112 section 9.3).
    async fn read_answer_or_send_body(&mut self) -> Result<(), AttemptError> {
        let limits = &self.shared.settings.limits;
        let (mut from_client, to_client) = self.conn.stream.split();
        let (mut from_node, mut to_node) = self.node.split();
        let (up, from, to) = (&mut self.conn.inbox, &mut from_client, &mut to_node);
        let waits_since = Cell::new(None);
        let failure = tokio::select! {
            biased;
            read = self.inbox.read_from(&mut from_node) => match read {
                Ok(n) if n > 0 => return Ok(()),
                _ => Failure::Died,
            },
            pumped = self.request.upload.pump(up, from, to, limits, &waits_since) => match pumped {
                // An answer that the node gave before it stopped taking more still counts.
                Ok(()) | Err(UploadError::Node) => return Ok(()),
                Err(UploadError::NodeSilent) => Failure::AnswerTimeout,
                Err(UploadError::ClientSilent) => {
                    return Err(AttemptError::Rejected(Reject::SlowBody));
                }
                Err(UploadError::ClientGone) => return Err(AttemptError::ClientLeft),
                Err(UploadError::Framing(refusal)) => {
                    return Err(AttemptError::Rejected(Reject::Refused(refusal)));
                }
            },
            () = self.shared.vanished(self.member.epoch) => Failure::Vanished,
            () = self.shared.stopped(self.member.epoch, &waits_since) => Failure::Vanished,
            () = gone(to_client.as_ref()) => return Err(AttemptError::ClientLeft),
        };
        Err(AttemptError::Node(failure))
    }

    /// Gives a 1xx to the client. A client of HTTP/1.0 has no use for one (RFC 9110 section 15.2).
    async fn send_interim(&mut self, response: &Response) -> Result<(), AttemptError> {
        if self.request.version == Version::Http10 {
            return Ok(());
        }
        let rendered = self.shared.scratch.holds(response.ticket);
        debug_assert!(rendered, "nothing was awaited since it was rendered");
        self.send_rendered().await.map_err(|_| AttemptError::ClientLeft)
    }

    /// Sends the client a head that has no body.
    async fn send_rendered(&mut self) -> io::Result<()> {
        let (_, mut to) = self.conn.stream.split();
        let sent = self.shared.scratch.send(&[], to.as_ref())?;
        let limit = self.shared.settings.limits.send;
        write_all_within(&mut to, &mut self.conn.timer, limit, &sent.rest).await
    }

    /// Follows a 101: both connections become a tunnel, and end with it.
    async fn switch(&mut self, response: &Response) -> Relayed {
        let Request { came, timing, .. } = *self.request;
        outcome::answer_begins(self.shared, self.member, response.status, came, timing);
        self.inbox.consume(response.head_len);
        let downstream = self.tunnel().await;
        let node = match response.node {
            NodeConnection::Drains => NodeConnection::Drains,
            NodeConnection::Reusable | NodeConnection::Pinned | NodeConnection::Ends => {
                NodeConnection::Ends
            }
        };
        Relayed { status: response.status, downstream, node }
    }

    async fn tunnel(&mut self) -> Disposition {
        if self.send_rendered().await.is_err() {
            self.request.entry.end(CLIENT_LEFT);
            return Disposition::Cut;
        }
        let Self { shared, conn, request, node, inbox, .. } = self;
        conn.inbox.consume(request.upload.used());
        let early = std::mem::replace(&mut conn.inbox, Buffer::new(&shared.buffers));
        let inbox = std::mem::replace(inbox, Buffer::new(&shared.buffers));
        let silence_max = shared.settings.limits.tunnel;
        // In a tunnel a side may stop reading for as long as it likes to be silent.
        upstream::allow_full_window(node, silence_max);
        let (free, stream, entry) = (&shared.buffers, &mut conn.stream, &request.entry);
        let carried = tunnel::run(stream, node, early, inbox, free, silence_max, entry).await;
        let Err(error) = carried else {
            // Both sides have ended.
            return Disposition::Close;
        };
        let silent = error.kind() == io::ErrorKind::TimedOut;
        request.entry.end(if silent { "tunnel_silent" } else { "tunnel_broke" });
        Disposition::Cut
    }

    /// Gives the answer to the client.
    async fn send_down(&mut self, response: &mut Response) -> Result<(), RelayError> {
        self.inbox.consume(response.head_len);
        // Its end is the connection's, and one that came too early would look the same.
        let ends_with_connection = response.form != BodyForm::Framed;
        if ends_with_connection {
            linger::reset_on_drop(&self.conn.stream);
        }
        let sent = if self.request.upload.is_over() {
            self.relay_down(response).await
        } else {
            Box::pin(self.relay_both_ways(response)).await
        };
        if ends_with_connection && (sent.is_ok() || !response.head_sent) {
            linger::close_on_drop(&self.conn.stream);
        }
        sent
    }

    async fn relay_down(&mut self, response: &mut Response) -> Result<(), RelayError> {
        let Self { shared, conn, node, member, inbox, request, .. } = self;
        let Conn { stream, timer, inbox: up, kept_up, .. } = &mut **conn;
        let (_, to_client) = stream.split();
        let (from_node, _) = node.split();
        let mut download = Download {
            shared,
            member,
            timer,
            entry: &request.entry,
            came: request.came,
            timing: request.timing,
            to_client,
            from_node,
            inbox,
            response,
            request: Some(up),
            kept_up,
            unsent: Pending::default(),
        };
        if download.begin()? { Ok(()) } else { Box::pin(download.rest()).await }
    }

    /// Gives the answer to the client while what is left of the request's body goes up.
    async fn relay_both_ways(&mut self, response: &mut Response) -> Result<(), RelayError> {
        let Self { shared, conn, request, node, member, inbox, .. } = self;
        let (mut from_client, to_client) = conn.stream.split();
        let (from_node, mut to_node) = node.split();
        // The rest of the request is read into its buffer at the same time.
        let download = Download {
            shared,
            member,
            timer: &mut conn.timer,
            entry: &request.entry,
            came: request.came,
            timing: request.timing,
            to_client,
            from_node,
            inbox,
            response,
            request: None,
            kept_up: &mut conn.kept_up,
            unsent: Pending::default(),
        };
        let mut download = pin!(download.run());
        let (up, from, limits) = (&mut conn.inbox, &mut from_client, &shared.settings.limits);
        let waits_since = Cell::new(None);
        let pumped = tokio::select! {
            whole = download.as_mut() => return whole,
            pumped = request.upload.pump(up, from, &mut to_node, limits, &waits_since) => pumped,
        };
        match pumped {
            // A client that was not asked to send its body need not.
            Ok(()) | Err(UploadError::NodeSilent) => {}
            // The answer goes on, but the node should not wait for the rest of the body.
            Err(_) => drop(to_node.shutdown().await),
        }
        download.await
    }

    /// The fate of the two connections after a whole answer.
    fn relayed(&mut self, response: &Response) -> Relayed {
        let upload = &self.request.upload;
        self.conn.inbox.consume(upload.used());
        let is_clean = self.inbox.is_empty()
            // Some applications send a body to a HEAD. It may come a moment later, and would be the
            // answer to the next client's request.
            && !self.request.is_head
            // A server may answer before it has read a body, and then it closes the connection a
            // moment after an answer that does not announce it.
            && match response.upload {
                Progress::AtOnce => true,
                Progress::InPieces => response.status < 400,
                Progress::Partly => false,
            };
        let downstream = match response.client {
            Disposition::Close if !upload.has_come() => Disposition::Linger,
            client => client,
        };
        let is_bound = response.login || self.request.safety == Safety::Pinned;
        let node = match response.node {
            NodeConnection::Reusable if !is_clean => NodeConnection::Ends,
            // One connection of a trusted proxy carries many users.
            NodeConnection::Reusable if is_bound && self.conn.forwarding.trusted => {
                NodeConnection::Ends
            }
            NodeConnection::Reusable if is_bound => NodeConnection::Pinned,
            node => node,
        };
        Relayed { status: response.status, downstream, node }
    }
}
