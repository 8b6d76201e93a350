//! One attempt: the request goes to a node, its answer comes back.

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
    let mut written = 0;
    send_head(worker, client, request, node, &mut written).await;
    let mut inbox = Buffer::new(&worker.buffers);
    let mut answer = loop {
        let answer =
            await_head(worker, client, request, node, member, &mut inbox, &mut written).await?;
        if !answer.interim {
            break answer;
        }
        request.awaits_continue = false;
        send_interim(worker, client, request, &answer).await?;
        inbox.consume(answer.head_len);
    };
    if answer.switches {
        member.answered(worker.now());
        let client = switch(worker, client, request, node, inbox, &answer).await;
        return Ok(Relayed { client, reusable: false, draining: answer.draining });
    }
    match relay(worker, client, request, node, member, &mut inbox, &mut answer).await {
        Ok(()) => Ok(relayed(client, request, &inbox, &answer)),
        Err(Stopped::Client) => Err(Broken::Client(None)),
        Err(Stopped::Node(failure)) if answer.head_sent => Err(Broken::Answer(failure)),
        Err(Stopped::Node(failure)) => Err(Broken::Node { failure, written }),
    }
}

/// Sends the head, and with it in one system call what has come of the body. An error is not told:
/// the node may have answered before it closed, and reading from it tells which.
async fn send_head(
    worker: &Worker,
    client: &mut Client,
    request: &mut Request,
    node: &mut TcpStream,
    written: &mut u64,
) {
    if !worker.scratch.holds(request.ticket) {
        client.render_again(worker, request);
    }
    let body = request.upload.pending(&client.inbox);
    let sent = worker.scratch.send(body, node);
    let Ok(sent) = sent else { return request.upload.give_up() };
    *written += sent.total as u64;
    request.upload.sent(sent.body);
    let mut rest: &[u8] = &sent.rest;
    while !rest.is_empty() {
        match node.write(rest).await {
            Ok(n) if n > 0 => {
                rest = &rest[n..];
                *written += n as u64;
            }
            _ => return request.upload.give_up(),
        }
    }
}

/// Waits for the answer's head while what is left of the request's body goes up.
async fn await_head(
    worker: &Worker,
    client: &mut Client,
    request: &mut Request,
    node: &mut TcpStream,
    member: &Member,
    inbox: &mut Buffer,
    written: &mut u64,
) -> Result<Answer, Broken> {
    let mut seen = 0;
    loop {
        if !inbox.is_empty() {
            let parsed = parse(worker, client, request, member, inbox, seen);
            let broken = |_| Broken::Node { failure: Failure::BadAnswer, written: *written };
            if let Some(answer) = parsed.map_err(broken)? {
                return Ok(answer);
            }
            seen = inbox.len();
            if inbox.is_full() {
                inbox.grow(HEAD_BYTES_MAX);
            }
        }
        let limits = &worker.settings.limits;
        let (mut from_client, to_client) = client.stream.split();
        let (mut from_node, mut to_node) = node.split();
        if request.upload.is_over() {
            let doubt = || worker.tell(member.epoch, Outcome::Silent);
            let next = Awaited { worker, member, client: to_client.as_ref(), limit: limits.answer };
            let came = next.read(&mut client.timer, &mut from_node, inbox, doubt).await;
            match came {
                Ok(n) if n > 0 => continue,
                Ok(_) => return Err(Broken::Node { failure: Failure::Died, written: *written }),
                Err(Stopped::Client) => return Err(Broken::Client(None)),
                Err(Stopped::Node(failure)) => {
                    return Err(Broken::Node { failure, written: *written });
                }
            }
        }
        let silence_max = if request.awaits_continue { limits.answer } else { limits.body };
        let pump = request.upload.pump(
            &mut client.inbox,
            &mut from_client,
            &mut to_node,
            silence_max,
            written,
        );
        tokio::select! {
            biased;
            read = inbox.read_from(&mut from_node) => match read {
                Ok(n) if n > 0 => {}
                _ => return Err(Broken::Node { failure: Failure::Died, written: *written }),
            },
            pumped = pump => match pumped {
                // What the node answered before it stopped taking more still counts.
                Ok(()) | Err(UploadError::Node) => {}
                Err(UploadError::ClientSilent) if request.awaits_continue => {
                    let failure = Failure::AnswerTimeout;
                    return Err(Broken::Node { failure, written: *written });
                }
                Err(UploadError::ClientSilent) => {
                    return Err(Broken::Client(Some(Reject::SlowBody)));
                }
                Err(UploadError::ClientGone) => return Err(Broken::Client(None)),
                Err(UploadError::Framing(refusal)) => {
                    return Err(Broken::Client(Some(Reject::Refused(refusal))));
                }
            },
            () = worker.vanished(member.epoch) => {
                return Err(Broken::Node { failure: Failure::Vanished, written: *written });
            }
        }
    }
}

/// Reads the answer's head, if it is whole, and renders it for the client.
fn parse(
    worker: &Worker,
    client: &Client,
    request: &Request,
    member: &Member,
    inbox: &Buffer,
    seen: usize,
) -> Result<Option<Answer>, h1::Refusal> {
    let mut slots = Slots::new();
    let Some(head) = h1::parse_response(inbox.filled(), seen, &mut slots, request.is_head)? else {
        return Ok(None);
    };
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
        || client.life.is_draining()
        || !request.upload.is_done();
    let interim = head.is_interim();
    let form = AnswerForm {
        close: close_client && !interim,
        http10: request.http10 && !interim,
        node: worker.settings.node_header.then_some(member.node.name.as_str()),
    };
    let ticket = worker.scratch.render(|out| headers::write_answer(&head, form, out));
    Ok(Some(Answer {
        head_len: head.len,
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

/// How a node says in its answers that it is about to stop.
const STATE_HEADER: &str = "x-picluster-state";

/// Gives a 1xx to the client. A client of HTTP/1.0 has no use for one (RFC 9110 section 15.2).
async fn send_interim(
    worker: &Worker,
    client: &mut Client,
    request: &Request,
    answer: &Answer,
) -> Result<(), Broken> {
    if request.http10 {
        return Ok(());
    }
    debug_assert!(worker.scratch.holds(answer.ticket), "nothing was awaited since it was rendered");
    let (_, mut to_client) = client.stream.split();
    send_first(worker, &mut to_client, &mut client.timer, &[])
        .await
        .map(drop)
        .map_err(|_| Broken::Client(None))
}

/// Follows a 101: both connections become a tunnel.
async fn switch(
    worker: &Worker,
    client: &mut Client,
    request: &Request,
    node: &mut TcpStream,
    mut inbox: Buffer,
    answer: &Answer,
) -> Next {
    inbox.consume(answer.head_len);
    let (_, mut to_client) = client.stream.split();
    if send_first(worker, &mut to_client, &mut client.timer, &[]).await.is_err() {
        return Next::Cut;
    }
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

/// Gives the answer to the client; what is left of the request's body goes up meanwhile.
async fn relay(
    worker: &Worker,
    client: &mut Client,
    request: &mut Request,
    node: &mut TcpStream,
    member: &Member,
    inbox: &mut Buffer,
    answer: &mut Answer,
) -> Result<(), Stopped> {
    inbox.consume(answer.head_len);
    let (mut from_client, to_client) = client.stream.split();
    let (from_node, mut to_node) = node.split();
    let timer = &mut client.timer;
    let download = Download { worker, member, timer, to_client, from_node, inbox, answer };
    if request.upload.is_over() {
        return download.run().await;
    }
    let mut download = pin!(download.run());
    let silence_max = worker.settings.limits.body;
    let (up, from) = (&mut client.inbox, &mut from_client);
    let mut uncounted = 0;
    let pumped = tokio::select! {
        whole = download.as_mut() => return whole,
        pumped = request.upload.pump(up, from, &mut to_node, silence_max, &mut uncounted) => pumped,
    };
    if pumped.is_err() {
        // The answer goes on, but the node should not wait for the rest of the body.
        let _ = to_node.shutdown().await;
    }
    download.await
}

/// What becomes of the two connections after a whole answer.
fn relayed(client: &mut Client, request: &Request, inbox: &Buffer, answer: &Answer) -> Relayed {
    client.inbox.consume(request.upload.used());
    let reusable = answer.keep_alive
        && !answer.until_close
        && !answer.draining
        && inbox.is_empty()
        && request.upload.went_at_once();
    let client = match (answer.close_client, request.upload.has_come()) {
        (false, _) => Next::Keep,
        (true, true) => Next::Close,
        (true, false) => Next::Linger,
    };
    Relayed { client, reusable, draining: answer.draining }
}
