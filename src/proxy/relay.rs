//! One attempt: the request goes to a node, its answer comes back.

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::cluster::health::Outcome;
use crate::cluster::node::StickyKey;
use crate::cluster::pool::Member;
use crate::cluster::retry::Failure;
use crate::http1::limits::HEAD_BYTES_MAX;
use crate::http1::{self, Body, Framing, Slots};
use crate::proxy::access::CLIENT_LEFT;
use crate::proxy::client::{Client, Next, Request};
use crate::proxy::download::{Answer, Awaited, Download, Pending, RelayError};
use crate::proxy::headers::{self, AnswerForm};
use crate::proxy::io::{gone, write_all_within};
use crate::proxy::reject::Reject;
use crate::proxy::upload::UploadError;
use crate::proxy::{Proxy, linger, tunnel};
use crate::server::buffer::{Buffer, Need};

/// The most 1xx before an answer. Each begins the wait for the answer anew, because that is what a
/// 102 is for; without a bound a node could go on for ever and never answer.
const INTERIMS_MAX: u32 = 100;

/// How an attempt ended without a whole answer.
pub(crate) enum AttemptError {
    /// The node's fault, and nothing of its answer went down: it may be tried elsewhere.
    Node { failure: Failure, written: u64 },
    /// The node's fault, after its head went down.
    Answer(Failure),
    /// The client's fault, with what to tell it, if it is still there.
    Client(Option<Reject>),
}

/// How an attempt ended well: what becomes of the two connections.
pub(crate) struct Relayed {
    pub(crate) client: Next,
    pub(crate) status: u16,
    /// The node's connection can take another request.
    pub(crate) reusable: bool,
    /// The node says that it is about to stop.
    pub(crate) draining: bool,
}

/// Sends the request to the node and its answer to the client.
pub(crate) fn attempt<'a>(
    worker: &'a Proxy,
    client: &'a mut Client,
    request: &'a mut Request,
    node: &'a mut TcpStream,
    member: &'a Member,
) -> impl Future<Output = Result<Relayed, AttemptError>> {
    let inbox = Buffer::new(&worker.buffers);
    let mut attempt = Attempt { worker, client, request, node, member, inbox, written: 0 };
    // Not an async fn, which would hold its arguments as well.
    async move { attempt.run().await }
}

/// An attempt under way. What is rare is boxed where it is awaited: the future of an ordinary
/// request stays small, and with it what is allocated for it.
struct Attempt<'a> {
    worker: &'a Proxy,
    client: &'a mut Client,
    request: &'a mut Request,
    node: &'a mut TcpStream,
    member: &'a Member,
    /// What came from the node and was not used up yet.
    inbox: Buffer,
    /// What the node was sent, counted from the first byte of the head.
    written: u64,
}

impl Attempt<'_> {
    async fn run(&mut self) -> Result<Relayed, AttemptError> {
        self.send_head().await;
        let mut interims = 0;
        let mut answer = loop {
            let answer = self.await_head().await?;
            if !answer.interim {
                break answer;
            }
            interims += 1;
            if interims > INTERIMS_MAX {
                return Err(self.broken(Failure::BadAnswer));
            }
            self.request.upload.heard();
            Box::pin(self.send_interim(&answer)).await?;
            self.inbox.consume(answer.head_len);
        };
        match answer.app_down {
            // The node says that nobody has seen the request.
            Some(Failure::Refused) if self.request.upload.is_held() => {
                return Err(AttemptError::Node { failure: Failure::Refused, written: 0 });
            }
            Some(Failure::Died) => return Err(self.broken(Failure::Died)),
            _ => {}
        }
        self.client.entry.answered(answer.status);
        self.worker.heard(self.member, answer.status);
        if answer.switches {
            let Request { came, at_once, .. } = *self.request;
            self.worker.answered(self.member, answer.status, came, at_once);
            let client = Box::pin(self.switch(&answer)).await;
            let Answer { status, draining, .. } = answer;
            return Ok(Relayed { client, status, reusable: false, draining });
        }
        match self.relay(&mut answer).await {
            Ok(()) => Ok(self.relayed(&answer)),
            Err(RelayError::Client) => Err(AttemptError::Client(None)),
            Err(RelayError::Node(failure)) if answer.head_sent => {
                Err(AttemptError::Answer(failure))
            }
            Err(RelayError::Node(failure)) => Err(self.broken(failure)),
        }
    }

    fn broken(&self, failure: Failure) -> AttemptError {
        AttemptError::Node { failure, written: self.written }
    }

    /// Sends the head, and with it in one system call what has come of the body. An error is not
    /// told: the node may have answered before it closed, and reading from it tells which.
    async fn send_head(&mut self) {
        if !self.worker.scratch.holds(self.request.ticket) {
            self.client.render_again(self.worker, self.request);
        }
        let upload = &mut self.request.upload;
        let sent = self.worker.scratch.send(upload.pending(&self.client.inbox), &*self.node);
        let Ok(sent) = sent else { return upload.give_up() };
        self.written += sent.total as u64;
        upload.sent(sent.body);
        let mut rest: &[u8] = &sent.rest;
        while !rest.is_empty() {
            match self.node.write(rest).await {
                Ok(n) if n > 0 => {
                    rest = &rest[n..];
                    self.written += n as u64;
                }
                _ => return upload.give_up(),
            }
        }
    }

    /// Waits for the answer's head while what is left of the request's body goes up.
    async fn await_head(&mut self) -> Result<Answer, AttemptError> {
        let mut seen = 0;
        let mut owed_since: Option<Instant> = None;
        loop {
            if !self.inbox.is_empty() {
                let parsed = self.parse(seen).map_err(|_| self.broken(Failure::BadAnswer))?;
                if let Some(answer) = parsed {
                    return Ok(answer);
                }
                seen = self.inbox.len();
                if self.inbox.is_full() && !self.inbox.grow(HEAD_BYTES_MAX, Need::Must) {
                    return Err(AttemptError::Client(Some(Reject::NoMemory)));
                }
            }
            if self.request.upload.is_over() {
                self.read_answer(owed_since).await?;
                owed_since.get_or_insert(self.client.timer.waiting_since());
            } else {
                Box::pin(self.read_answer_or_send_body()).await?;
            }
        }
    }

    /// The whole request went up: since then, if not since now, the node owes its answer's head, all
    /// of it.
    async fn read_answer(&mut self, owed_since: Option<Instant>) -> Result<(), AttemptError> {
        let (worker, member) = (self.worker, self.member);
        let (_, to_client) = self.client.stream.split();
        let (mut from_node, _) = self.node.split();
        let owed_for = owed_since.map_or(Duration::ZERO, |since| since.elapsed());
        let limit = worker.settings.limits.answer.saturating_sub(owed_for);
        let client = to_client.as_ref();
        let doubt = || worker.tell(member.epoch, Outcome::Silent);
        let next = Awaited { worker, member, client, limit };
        let timer = &mut self.client.timer;
        match next.read(timer, &mut from_node, &mut self.inbox, doubt).await {
            Ok(n) if n > 0 => Ok(()),
            Ok(_) => Err(self.broken(Failure::Died)),
            Err(RelayError::Client) => Err(AttemptError::Client(None)),
            Err(RelayError::Node(failure)) => Err(self.broken(failure)),
        }
    }

    /// The node may answer before it has the whole body (RFC 9112 section 9.3).
    async fn read_answer_or_send_body(&mut self) -> Result<(), AttemptError> {
        let limits = &self.worker.settings.limits;
        let (mut from_client, to_client) = self.client.stream.split();
        let (mut from_node, mut to_node) = self.node.split();
        let (up, written) = (&mut self.client.inbox, &mut self.written);
        let (from, to) = (&mut from_client, &mut to_node);
        let failure = tokio::select! {
            biased;
            read = self.inbox.read_from(&mut from_node) => match read {
                Ok(n) if n > 0 => return Ok(()),
                _ => Failure::Died,
            },
            pumped = self.request.upload.pump(up, from, to, limits, written) => match pumped {
                // What the node answered before it stopped taking more still counts.
                Ok(()) | Err(UploadError::Node) => return Ok(()),
                Err(UploadError::NodeSilent) => Failure::AnswerTimeout,
                Err(UploadError::ClientSilent) => {
                    return Err(AttemptError::Client(Some(Reject::SlowBody)));
                }
                Err(UploadError::ClientGone) => return Err(AttemptError::Client(None)),
                Err(UploadError::Framing(refusal)) => {
                    return Err(AttemptError::Client(Some(Reject::Refused(refusal))));
                }
            },
            () = self.worker.vanished(self.member.epoch) => Failure::Vanished,
            () = gone(to_client.as_ref()) => return Err(AttemptError::Client(None)),
        };
        Err(self.broken(failure))
    }

    /// Reads the answer's head, if it is whole, and renders it for the client.
    fn parse(&self, seen: usize) -> Result<Option<Answer>, http1::Refusal> {
        let (worker, request) = (self.worker, &*self.request);
        let mut slots = Slots::new();
        let head = http1::parse_response(self.inbox.filled(), seen, &mut slots, request.is_head)?;
        let Some(head) = head else { return Ok(None) };
        let switches = head.status == 101;
        if switches && !self.client.offers(request, head.upgrade.unwrap_or_default()) {
            return Err(http1::Refusal::BadSwitch);
        }
        let unchunk = request.http10 && head.framing == Framing::Chunked;
        let until_close = head.framing == Framing::Close;
        let state = head.fields.get(STATE_HEADER);
        let draining = state == Some(b"draining");
        let app_down = match head.status {
            503 => Some(Failure::Refused),
            502 => Some(Failure::Died),
            _ => None,
        };
        let app_down = app_down.filter(|_| state == Some(b"app-down"));
        let close_client = !request.keep_alive
            || unchunk
            || until_close
            || self.client.life.is_draining()
            || !request.upload.is_done();
        let interim = head.is_interim();
        let form = AnswerForm {
            close: close_client && !interim,
            http10: request.http10 && !interim,
            node: worker.settings.node_header.then_some(self.member.node.name.as_str()),
            sticks_to: (worker.settings.sticky && !interim).then(|| self.new_mark()).flatten(),
        };
        let ticket = worker.scratch.render(|out| headers::write_answer(&head, form, out));
        Ok(Some(Answer {
            head_len: head.len,
            status: head.status,
            was_owed: request.upload.is_done(),
            body: Body::new(head.framing),
            interim,
            head_sent: false,
            switches,
            until_close,
            keep_alive: head.keep_alive,
            close_client,
            unchunk,
            draining,
            app_down,
            ticket,
        }))
    }

    /// What the client has to be told of its node, if it has not said it itself.
    fn new_mark(&self) -> Option<(&str, StickyKey)> {
        let node = &self.member.node;
        let mark = node.id.mark();
        (self.request.affinity.as_ref().and_then(|affinity| affinity.sticky) != Some(mark))
            .then_some((&node.offer.service, mark))
    }

    /// Gives a 1xx to the client. A client of HTTP/1.0 has no use for one (RFC 9110 section 15.2).
    async fn send_interim(&mut self, answer: &Answer) -> Result<(), AttemptError> {
        if self.request.http10 {
            return Ok(());
        }
        let rendered = self.worker.scratch.holds(answer.ticket);
        debug_assert!(rendered, "nothing was awaited since it was rendered");
        self.send_rendered().await.map_err(|_| AttemptError::Client(None))
    }

    /// Sends the client a head that has no body.
    async fn send_rendered(&mut self) -> io::Result<()> {
        let (_, mut to) = self.client.stream.split();
        let sent = self.worker.scratch.send(&[], to.as_ref())?;
        let limit = self.worker.settings.limits.send;
        write_all_within(&mut to, &mut self.client.timer, limit, &sent.rest).await
    }

    /// Follows a 101: both connections become a tunnel.
    async fn switch(&mut self, answer: &Answer) -> Next {
        self.inbox.consume(answer.head_len);
        if self.send_rendered().await.is_err() {
            self.client.entry.end(CLIENT_LEFT);
            return Next::Cut;
        }
        let Self { worker, client, request, node, inbox, .. } = self;
        client.inbox.consume(request.upload.used());
        let early = std::mem::replace(&mut client.inbox, Buffer::new(&worker.buffers));
        let inbox = std::mem::replace(inbox, Buffer::new(&worker.buffers));
        let silence_max = worker.settings.limits.tunnel;
        let (free, stream, entry) = (&worker.buffers, &mut client.stream, &client.entry);
        let carried = tunnel::run(stream, node, early, inbox, free, silence_max, entry).await;
        let Err(error) = carried else {
            // Both sides have ended.
            return Next::Close;
        };
        let silent = error.kind() == io::ErrorKind::TimedOut;
        client.entry.end(if silent { "tunnel_silent" } else { "tunnel_broke" });
        Next::Cut
    }

    /// Gives the answer to the client.
    async fn relay(&mut self, answer: &mut Answer) -> Result<(), RelayError> {
        self.inbox.consume(answer.head_len);
        // Its end is the connection's, and one that came too early would look the same.
        let ends_with_connection = answer.until_close || answer.unchunk;
        if ends_with_connection {
            linger::reset_on_drop(&self.client.stream);
        }
        let relayed = if self.request.upload.is_over() {
            self.relay_down(answer).await
        } else {
            Box::pin(self.relay_both_ways(answer)).await
        };
        if ends_with_connection && (relayed.is_ok() || !answer.head_sent) {
            linger::close_on_drop(&self.client.stream);
        }
        relayed
    }

    async fn relay_down(&mut self, answer: &mut Answer) -> Result<(), RelayError> {
        let Self { worker, client, node, member, inbox, request, .. } = self;
        let (came, at_once) = (request.came, request.at_once);
        let Client { stream, timer, entry, inbox: request, kept_up, .. } = &mut **client;
        let (_, to_client) = stream.split();
        let (from_node, _) = node.split();
        let mut download = Download {
            worker,
            member,
            timer,
            entry,
            came,
            at_once,
            to_client,
            from_node,
            inbox,
            answer,
            request: Some(request),
            kept_up,
            unsent: Pending::default(),
        };
        if download.begin()? { Ok(()) } else { Box::pin(download.rest()).await }
    }

    /// Gives the answer to the client while what is left of the request's body goes up.
    async fn relay_both_ways(&mut self, answer: &mut Answer) -> Result<(), RelayError> {
        let Self { worker, client, request, node, member, inbox, .. } = self;
        let (mut from_client, to_client) = client.stream.split();
        let (from_node, mut to_node) = node.split();
        let (timer, came, at_once) = (&mut client.timer, request.came, request.at_once);
        // The rest of the request is read into its buffer at the same time.
        let download = Download {
            worker,
            member,
            timer,
            entry: &client.entry,
            came,
            at_once,
            to_client,
            from_node,
            inbox,
            answer,
            request: None,
            kept_up: &mut client.kept_up,
            unsent: Pending::default(),
        };
        let mut download = pin!(download.run());
        let limits = &worker.settings.limits;
        let (up, from, mut uncounted) = (&mut client.inbox, &mut from_client, 0);
        let pump = request.upload.pump(up, from, &mut to_node, limits, &mut uncounted);
        let pumped = tokio::select! {
            whole = download.as_mut() => return whole,
            pumped = pump => pumped,
        };
        match pumped {
            // A client that was not told to send its body need not.
            Ok(()) | Err(UploadError::NodeSilent) => {}
            // The answer goes on, but the node should not wait for the rest of the body.
            Err(_) => drop(to_node.shutdown().await),
        }
        download.await
    }

    /// What becomes of the two connections after a whole answer.
    fn relayed(&mut self, answer: &Answer) -> Relayed {
        let upload = &self.request.upload;
        self.client.inbox.consume(upload.used());
        let reusable = answer.keep_alive
            && !answer.until_close
            && !answer.draining
            && self.inbox.is_empty()
            // Some applications send a body to a HEAD. It may come a moment later, and would be the
            // answer to the next client's request.
            && !self.request.is_head
            // A server may answer before it has read a body, and then it closes the connection a
            // moment after an answer that does not say so.
            && (upload.went_at_once() || (answer.was_owed && answer.status < 400));
        let client = match (answer.close_client, upload.has_come()) {
            (false, _) => Next::Keep,
            (true, true) => Next::Close,
            (true, false) => Next::Linger,
        };
        Relayed { client, status: answer.status, reusable, draining: answer.draining }
    }
}

/// How a node says in its answers that it is about to stop.
const STATE_HEADER: &str = "x-picluster-state";
