//! One attempt: the request goes to a node, its answer comes back.

use std::io;
use std::pin::pin;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::config::HEAD_BYTES_MAX;
use crate::h1::{self, Body, Framing, Slots};
use crate::health::Outcome;
use crate::pool::Member;
use crate::proxy::client::{Client, Next, Request};
use crate::proxy::download::{Answer, Awaited, Download, Stopped, send_first};
use crate::proxy::headers::{self, AnswerForm};
use crate::proxy::reject::Reject;
use crate::proxy::upload::UploadError;
use crate::proxy::{Worker, tunnel};
use crate::retry::Failure;
use crate::server::buffer::Buffer;

/// How an attempt ended without a whole answer.
pub(crate) enum Broken {
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
    /// The node's connection can take another request.
    pub(crate) reusable: bool,
    /// The node says that it is about to stop.
    pub(crate) draining: bool,
}

/// Sends the request to the node and its answer to the client.
pub(crate) async fn attempt(
    worker: &Worker,
    client: &mut Client,
    request: &mut Request,
    node: &mut TcpStream,
    member: &Member,
) -> Result<Relayed, Broken> {
    let inbox = Buffer::new(&worker.buffers);
    Attempt { worker, client, request, node, member, inbox, written: 0 }.run().await
}

/// An attempt under way. What is rare is boxed where it is awaited: the future of an ordinary
/// request stays small, and with it what is allocated for it.
struct Attempt<'a> {
    worker: &'a Worker,
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
    async fn run(mut self) -> Result<Relayed, Broken> {
        self.send_head().await;
        let mut answer = loop {
            let answer = self.await_head().await?;
            if !answer.interim {
                break answer;
            }
            self.request.awaits_continue = false;
            self.send_interim(&answer).await?;
            self.inbox.consume(answer.head_len);
        };
        self.worker.heard(self.member, answer.status);
        if answer.switches {
            self.member.answered(self.worker.now());
            let client = Box::pin(self.switch(&answer)).await;
            return Ok(Relayed { client, reusable: false, draining: answer.draining });
        }
        match self.relay(&mut answer).await {
            Ok(()) => Ok(self.relayed(&answer)),
            Err(Stopped::Client) => Err(Broken::Client(None)),
            Err(Stopped::Node(failure)) if answer.head_sent => Err(Broken::Answer(failure)),
            Err(Stopped::Node(failure)) => Err(self.broken(failure)),
        }
    }

    fn broken(&self, failure: Failure) -> Broken {
        Broken::Node { failure, written: self.written }
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
    async fn await_head(&mut self) -> Result<Answer, Broken> {
        let mut seen = 0;
        loop {
            if !self.inbox.is_empty() {
                let parsed = self.parse(seen).map_err(|_| self.broken(Failure::BadAnswer))?;
                if let Some(answer) = parsed {
                    return Ok(answer);
                }
                seen = self.inbox.len();
                if self.inbox.is_full() {
                    self.inbox.grow(HEAD_BYTES_MAX);
                }
            }
            if self.request.upload.is_over() {
                self.read_answer().await?;
            } else {
                Box::pin(self.read_answer_or_send_body()).await?;
            }
        }
    }

    /// The whole request went up: the node owes the next bytes.
    async fn read_answer(&mut self) -> Result<(), Broken> {
        let (worker, member) = (self.worker, self.member);
        let (_, to_client) = self.client.stream.split();
        let (mut from_node, _) = self.node.split();
        let (client, limit) = (to_client.as_ref(), worker.settings.limits.answer);
        let doubt = || worker.tell(member.epoch, Outcome::Silent);
        let next = Awaited { worker, member, client, limit };
        let timer = &mut self.client.timer;
        match next.read(timer, &mut from_node, &mut self.inbox, doubt).await {
            Ok(n) if n > 0 => Ok(()),
            Ok(_) => Err(self.broken(Failure::Died)),
            Err(Stopped::Client) => Err(Broken::Client(None)),
            Err(Stopped::Node(failure)) => Err(self.broken(failure)),
        }
    }

    /// The node may answer before it has the whole body (RFC 9112 section 9.3).
    async fn read_answer_or_send_body(&mut self) -> Result<(), Broken> {
        let limits = &self.worker.settings.limits;
        let (mut from_client, _) = self.client.stream.split();
        let (mut from_node, mut to_node) = self.node.split();
        let awaits_continue = self.request.awaits_continue;
        let silence_max = if awaits_continue { limits.answer } else { limits.body };
        let (up, written) = (&mut self.client.inbox, &mut self.written);
        let (from, to) = (&mut from_client, &mut to_node);
        let failure = tokio::select! {
            biased;
            read = self.inbox.read_from(&mut from_node) => match read {
                Ok(n) if n > 0 => return Ok(()),
                _ => Failure::Died,
            },
            pumped = self.request.upload.pump(up, from, to, silence_max, written) => match pumped {
                // What the node answered before it stopped taking more still counts.
                Ok(()) | Err(UploadError::Node) => return Ok(()),
                // The client waits for its 100: it is the node that is silent.
                Err(UploadError::ClientSilent) if awaits_continue => Failure::AnswerTimeout,
                Err(UploadError::ClientSilent) => {
                    return Err(Broken::Client(Some(Reject::SlowBody)));
                }
                Err(UploadError::ClientGone) => return Err(Broken::Client(None)),
                Err(UploadError::Framing(refusal)) => {
                    return Err(Broken::Client(Some(Reject::Refused(refusal))));
                }
            },
            () = self.worker.vanished(self.member.epoch) => Failure::Vanished,
        };
        Err(self.broken(failure))
    }

    /// Reads the answer's head, if it is whole, and renders it for the client.
    fn parse(&self, seen: usize) -> Result<Option<Answer>, h1::Refusal> {
        let (worker, request) = (self.worker, &*self.request);
        let mut slots = Slots::new();
        let head = h1::parse_response(self.inbox.filled(), seen, &mut slots, request.is_head)?;
        let Some(head) = head else { return Ok(None) };
        let switches = head.status == 101;
        if switches && !request.upgrade {
            return Err(h1::Refusal::BadSwitch);
        }
        let unchunk = request.http10 && head.framing == Framing::Chunked;
        let until_close = head.framing == Framing::Close;
        let draining = head.fields.get(STATE_HEADER).is_some_and(|state| state == b"draining");
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
        };
        let ticket = worker.scratch.render(|out| headers::write_answer(&head, form, out));
        Ok(Some(Answer {
            head_len: head.len,
            status: head.status,
            body: Body::new(head.framing),
            interim,
            head_sent: false,
            switches,
            until_close,
            keep_alive: head.keep_alive,
            close_client,
            unchunk,
            draining,
            ticket,
        }))
    }

    /// Gives a 1xx to the client. A client of HTTP/1.0 has no use for one (RFC 9110 section 15.2).
    async fn send_interim(&mut self, answer: &Answer) -> Result<(), Broken> {
        if self.request.http10 {
            return Ok(());
        }
        let rendered = self.worker.scratch.holds(answer.ticket);
        debug_assert!(rendered, "nothing was awaited since it was rendered");
        self.send_rendered().await.map_err(|_| Broken::Client(None))
    }

    /// Sends the client a head that has no body.
    async fn send_rendered(&mut self) -> io::Result<()> {
        let (_, mut to_client) = self.client.stream.split();
        send_first(self.worker, &mut to_client, &mut self.client.timer, &[]).await.map(drop)
    }

    /// Follows a 101: both connections become a tunnel.
    async fn switch(mut self, answer: &Answer) -> Next {
        self.inbox.consume(answer.head_len);
        if self.send_rendered().await.is_err() {
            return Next::Cut;
        }
        let Self { worker, client, request, node, inbox, .. } = self;
        client.inbox.consume(request.upload.used());
        let early = std::mem::replace(&mut client.inbox, Buffer::new(&worker.buffers));
        let silence_max = worker.settings.limits.tunnel;
        let (free, stream) = (&worker.buffers, &mut client.stream);
        match tunnel::run(stream, node, early, inbox, free, silence_max).await {
            // Both sides have ended.
            Ok(()) => Next::Close,
            Err(_) => Next::Cut,
        }
    }

    /// Gives the answer to the client.
    async fn relay(&mut self, answer: &mut Answer) -> Result<(), Stopped> {
        self.inbox.consume(answer.head_len);
        if !self.request.upload.is_over() {
            return Box::pin(self.relay_both_ways(answer)).await;
        }
        let Self { worker, client, node, member, inbox, .. } = self;
        let (_, to_client) = client.stream.split();
        let (from_node, _) = node.split();
        let timer = &mut client.timer;
        Download { worker, member, timer, to_client, from_node, inbox, answer }.run().await
    }

    /// Gives the answer to the client while what is left of the request's body goes up.
    async fn relay_both_ways(&mut self, answer: &mut Answer) -> Result<(), Stopped> {
        let Self { worker, client, request, node, member, inbox, .. } = self;
        let (mut from_client, to_client) = client.stream.split();
        let (from_node, mut to_node) = node.split();
        let timer = &mut client.timer;
        let download = Download { worker, member, timer, to_client, from_node, inbox, answer };
        let mut download = pin!(download.run());
        let silence_max = worker.settings.limits.body;
        let (up, from, mut uncounted) = (&mut client.inbox, &mut from_client, 0);
        let pump = request.upload.pump(up, from, &mut to_node, silence_max, &mut uncounted);
        let pumped = tokio::select! {
            whole = download.as_mut() => return whole,
            pumped = pump => pumped,
        };
        if pumped.is_err() {
            // The answer goes on, but the node should not wait for the rest of the body.
            let _ = to_node.shutdown().await;
        }
        download.await
    }

    /// What becomes of the two connections after a whole answer.
    fn relayed(self, answer: &Answer) -> Relayed {
        let upload = &self.request.upload;
        self.client.inbox.consume(upload.used());
        let reusable = answer.keep_alive
            && !answer.until_close
            && !answer.draining
            && self.inbox.is_empty()
            && upload.went_at_once();
        let client = match (answer.close_client, upload.has_come()) {
            (false, _) => Next::Keep,
            (true, true) => Next::Close,
            (true, false) => Next::Linger,
        };
        Relayed { client, reusable, draining: answer.draining }
    }
}

/// How a node says in its answers that it is about to stop.
const STATE_HEADER: &str = "x-picluster-state";
