//! A client's connection: from one request to the next.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::cluster::pool::Destination;
use crate::cluster::retry::Safety;
use crate::http1::limits::HEAD_BYTES_MAX;
use crate::http1::{self, RequestHead, Slots, Version};
use crate::proxy::Proxy;
use crate::proxy::access::{CLIENT_LEFT, LogEntry};
use crate::proxy::affinity::Affinity;
use crate::proxy::headers::{self, Added, Forwarding, is_offered};
use crate::proxy::io::{is_quiet, write_all_within};
use crate::proxy::linger;
use crate::proxy::path::is_private;
use crate::proxy::proxy_protocol::{self, ProxiedClient, ProxyHeaderError};
use crate::proxy::reject::{Answer, Reject};
use crate::proxy::timer::Timer;
use crate::proxy::upload::Upload;
use crate::server::ConnectionGuard;
use crate::server::buffer::{Buffer, Need};

/// After an answer that ends the connection, the client's bytes are read and dropped for this long
/// and up to this many: closing at once would reset it and could take the answer away.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// A client's connection and what is known of it.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// The present request from its first byte, then what came behind it.
    pub(crate) inbox: Buffer,
    pub(crate) timer: Timer,
    pub(crate) life: ConnectionGuard,
    pub(crate) forwarding: Forwarding,
    /// Bytes of answers that its socket has taken at once, since it last did not.
    pub(crate) kept_up: usize,
    /// What the access log is to tell of the present request.
    pub(crate) entry: LogEntry,
}

/// The facts of a request whose head has come. The head itself stays in the client's buffer.
pub(crate) struct Request {
    pub(crate) safety: Safety,
    /// HEAD: its answer has no body.
    pub(crate) is_head: bool,
    pub(crate) http10: bool,
    /// The client lets the connection persist.
    pub(crate) keep_alive: bool,
    /// It offers to switch protocols.
    pub(crate) upgrade: bool,
    pub(crate) upload: Upload,
    /// What decides its node there.
    pub(super) affinity: Option<Box<Affinity>>,
    /// Nothing but its first node was waited for: its body came with its head, no attempt has failed.
    pub(super) at_once: bool,
    /// The same in all attempts.
    id: RequestId,
    /// Where it goes; `None` if no route takes it.
    pub(crate) to: Option<Destination>,
    /// Marks the rendering of its head in the worker's scratch.
    pub(crate) ticket: u64,
    pub(crate) came: Instant,
}

/// Not the number itself, which would be aligned to 16 bytes, and all that holds it with it.
type RequestId = [u8; 16];

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next request may come.
    Keep,
    /// It ends. The client has nothing more to send.
    Close,
    /// It ends while the client may still be sending: not before it has read what was sent.
    Linger,
    /// It ends visibly short: the answer could not be completed.
    Cut,
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    worker: Rc<Proxy>,
    stream: TcpStream,
    peer: SocketAddr,
    life: ConnectionGuard,
) {
    let proxies = &worker.settings.trusted_proxies;
    let trusted = proxies.contains(peer.ip());
    let mut client = Client {
        stream,
        inbox: Buffer::new(&worker.buffers),
        timer: Timer::default(),
        life,
        forwarding: Forwarding::new(peer.ip(), trusted),
        kept_up: 0,
        entry: LogEntry::default(),
    };
    // A trusted proxy has connections for many clients.
    let mut counted = (!trusted).then(|| peer.ip());
    if trusted && proxies.proxy_protocol {
        match Box::pin(client.meet(&worker, peer.ip())).await {
            Ok(introduced) => counted = introduced,
            Err(None) => return,
            Err(Some(reject)) => return Box::pin(client.turn_away(&worker, reject)).await,
        }
    }
    if let Err(over) = client.life.claim(counted).await {
        return Box::pin(client.turn_away(&worker, Reject::OverLimit(over))).await;
    }
    loop {
        let next = match client.request(&worker).await {
            Ok(request) => worker.exchange(&mut client, request).await,
            Err(Ended::Quietly) => return client.entry.end(CLIENT_LEFT),
            Err(Ended::Evicted) => {
                return Box::pin(client.turn_away(&worker, Reject::SlowHead)).await;
            }
            Err(Ended::With(reject)) => Box::pin(client.refuse(&worker, reject)).await,
        };
        match next {
            Next::Keep => client.forgive_an_empty_line(),
            Next::Close if client.is_quiet() => return,
            Next::Close | Next::Linger => return Box::pin(client.close()).await,
            Next::Cut => return client.cut(),
        }
    }
}

/// Why there is no next request.
enum Ended {
    /// The client left, or said nothing for as long as it may.
    Quietly,
    /// Its place is needed for somebody else, and its request has been coming for a while.
    Evicted,
    /// It has to be told something.
    With(Reject),
}

impl Client {
    /// Waits for the next request's head. Holds no buffer until its first byte has come.
    async fn request(&mut self, worker: &Proxy) -> Result<Request, Ended> {
        let limits = &worker.settings.limits;
        if self.inbox.is_empty() {
            self.inbox.release();
            self.life.idle_since(self.timer.begin().into_std());
            let read = pin!(self.inbox.read_from(&mut self.stream));
            let came = self.timer.still_within(limits.keep_alive, read).await;
            self.life.serves();
            let Ok(Ok(1..)) = came else { return Err(Ended::Quietly) };
        }
        let mut seen = 0;
        let mut began = None;
        loop {
            if let Some(request) = self.parse(worker, seen).map_err(Ended::With)? {
                // It is read again only if an attempt fails. A small copy waits with it, and the buffer,
                // which is still in the cache, serves whoever comes next.
                if request.upload.has_come() {
                    self.inbox.stow();
                }
                return Ok(request);
            }
            self.entry.begin(worker.access_log.as_ref(), &self.forwarding);
            seen = self.inbox.len();
            if self.inbox.is_full() && !self.inbox.grow(HEAD_BYTES_MAX, Need::Must) {
                return Err(Ended::With(Reject::NoMemory));
            }
            let began = *began.get_or_insert_with(Instant::now);
            let read = pin!(self.inbox.read_from(&mut self.stream));
            let came = tokio::select! {
                biased;
                () = self.life.evicted(began) => return Err(Ended::Evicted),
                came = self.timer.within(limits.head.saturating_sub(began.elapsed()), read) => came,
            };
            match came {
                Err(_) => return Err(Ended::With(Reject::SlowHead)),
                Ok(Ok(0) | Err(_)) => return Err(Ended::Quietly),
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Reads from a trusted proxy who its client is (see [`proxy_protocol`]). From then on that is who
    /// sends the requests, and it is believed nothing: the proxy passes on what it was sent. Gives
    /// its address if that is known, or why nothing will be served, if there is somebody to tell.
    async fn meet(
        &mut self,
        worker: &Proxy,
        proxy: IpAddr,
    ) -> Result<Option<IpAddr>, Option<Reject>> {
        let read = pin!(proxy_protocol::read(&mut self.stream, &mut self.inbox));
        let met = self.timer.within(worker.settings.limits.head, read).await;
        match met.map_err(|_| Some(Reject::SlowHead))? {
            Ok(ProxiedClient { client, tls }) => {
                self.forwarding = Forwarding::of_client(client.unwrap_or(proxy), tls);
                Ok(client)
            }
            Err(ProxyHeaderError::Gone) => Err(None),
            Err(ProxyHeaderError::Invalid) => Err(Some(Reject::NoProxyHeader)),
        }
    }

    /// Reads the head, if it is whole, and renders it for the node at once: in the ordinary case it
    /// is sent in the same step, and no head is read twice.
    fn parse(&mut self, worker: &Proxy, seen: usize) -> Result<Option<Request>, Reject> {
        let mut slots = Slots::new();
        let bytes = self.inbox.filled();
        let head = match http1::parse_request(bytes, seen, &mut slots) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(None),
            Err(refusal) => return Err(Reject::Refused(refusal)),
        };
        let entry = &mut self.entry;
        entry.begin(worker.access_log.as_ref(), &self.forwarding);
        entry.asks(head.method, head.target);
        let proxies = &worker.settings.trusted_proxies;
        entry.comes_from(|| self.forwarding.named_client(&head, proxies));
        if is_private(head.target) {
            return Err(Reject::Private);
        }
        if headers::is_loop(&head.fields, &worker.settings.via) {
            return Err(Reject::Loop);
        }
        if headers::hops_left(&head) == Some(0) {
            return Err(Reject::LastHop { trace: head.method == "TRACE" });
        }
        let route = worker.route(&head, &self.forwarding)?;
        let to = route.as_ref().map(|route| route.to);
        let bytes_max = worker.settings.limits.body_bytes;
        let mut upload =
            Upload::new(head.framing, head.len, &self.inbox, bytes_max).map_err(Reject::Refused)?;
        if head.expect_continue {
            upload.await_continue();
        }
        let id: RequestId = fastrand::u128(..).to_ne_bytes();
        entry.goes_as(|| self.forwarding.request_id(&head, u128::from_ne_bytes(id)));
        let ticket = worker.scratch.render(|out| {
            headers::write_request(&head, self.added(worker, id, to), out);
        });
        Ok(Some(Request {
            id,
            to,
            safety: safety(&head),
            is_head: head.method == "HEAD",
            http10: head.version == Version::Http10,
            keep_alive: head.keep_alive,
            upgrade: headers::offered(&head).is_some(),
            at_once: upload.has_come(),
            upload,
            affinity: route.and_then(|route| route.affinity),
            ticket,
            came: Instant::now(),
        }))
    }

    /// Reads the head of the present request again.
    fn head_again<T>(&self, head_len: usize, read: impl FnOnce(&RequestHead<'_>) -> T) -> T {
        let mut slots = Slots::new();
        let head = http1::parse_request(&self.inbox.filled()[..head_len], 0, &mut slots);
        read(&head.ok().flatten().expect("a head that was read once reads the same again"))
    }

    /// Renders the head of the present request again, for another attempt.
    pub(crate) fn render_again(&self, worker: &Proxy, request: &mut Request) {
        let added = self.added(worker, request.id, request.to);
        request.ticket = self.head_again(request.upload.head_len(), |head| {
            worker.scratch.render(|out| headers::write_request(head, added, out))
        });
    }

    /// Looks up the present request's route by the newest pool. Says whether there is one.
    pub(crate) fn route_again(&self, worker: &Proxy, request: &mut Request) -> bool {
        let head_len = request.upload.head_len();
        let route = self.head_again(head_len, |head| worker.route(head, &self.forwarding));
        let route = route.ok().flatten();
        request.to = route.as_ref().map(|route| route.to);
        request.affinity = route.and_then(|route| route.affinity);
        self.render_again(worker, request);
        request.to.is_some()
    }

    /// Whether the present request offers to switch to this.
    pub(crate) fn offers(&self, request: &Request, protocols: &[u8]) -> bool {
        request.upgrade
            && self.head_again(request.upload.head_len(), |head| is_offered(head, protocols))
    }

    /// What each of this client's requests is given on its way.
    fn added<'a>(&'a self, worker: &'a Proxy, id: RequestId, to: Option<Destination>) -> Added<'a> {
        let request_id = u128::from_ne_bytes(id);
        let strip = to.map_or(0, |to| to.strip.into());
        Added { forwarding: &self.forwarding, via: &worker.settings.via, request_id, strip }
    }

    /// Old clients end a body with an empty line too many (RFC 9112 section 2.2). Left where it is,
    /// it would be a head that never comes to its end.
    fn forgive_an_empty_line(&mut self) {
        if self.inbox.filled() == b"\r\n" {
            self.inbox.consume(2);
        }
    }

    /// Whether the client has sent nothing that was not read.
    fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && is_quiet(&self.stream)
    }

    /// Answers a request on the balancer's own behalf. The connection is kept if the whole request
    /// has come.
    pub(crate) async fn reject(
        &mut self,
        worker: &Proxy,
        request: &Request,
        reject: Reject,
    ) -> Next {
        let close = !request.keep_alive || !request.upload.has_come() || self.life.is_draining();
        let browser = self.browser(request.upload.head_len());
        let next =
            self.answer(worker, reject, request.is_head, request.http10, browser, close).await;
        self.inbox.consume(request.upload.used());
        next
    }

    /// Answers what is no request, and ends.
    async fn refuse(&mut self, worker: &Proxy, reject: Reject) -> Next {
        self.entry.begin(worker.access_log.as_ref(), &self.forwarding);
        let is_head = self.inbox.filled().starts_with(b"HEAD ");
        self.answer(worker, reject, is_head, false, None, true).await
    }

    /// Says why it is not served, and ends without keeping its place meanwhile.
    async fn turn_away(mut self, worker: &Proxy, reject: Reject) {
        if self.refuse(worker, reject).await == Next::Linger {
            self.life.part(self.stream);
        }
    }

    async fn answer(
        &mut self,
        worker: &Proxy,
        reject: Reject,
        head_only: bool,
        http10: bool,
        browser: Option<String>,
        close: bool,
    ) -> Next {
        worker.count(reject);
        let pool = worker.pool();
        let answer = Answer {
            head_only,
            browser: browser.as_deref(),
            http10,
            close,
            now: SystemTime::now(),
            teaching: &worker.settings.teaching,
            pool: &pool,
        };
        let mut out = Vec::new();
        let body_bytes = reject.write(&answer, &mut out);
        self.entry.answered_for(reject.status());
        let (_, mut to) = self.stream.split();
        let limit = worker.settings.limits.send;
        let written = write_all_within(&mut to, &mut self.timer, limit, &out).await;
        self.entry.sent(if written.is_ok() { body_bytes } else { 0 });
        self.entry.end(reject.cause());
        match written {
            Ok(()) if close => Next::Linger,
            Ok(()) => Next::Keep,
            Err(_) => Next::Cut,
        }
    }

    /// The port at which a browser asked, as it writes it behind the host: `:8000`, or nothing. `None` if
    /// the client wants no HTML.
    fn browser(&self, head_len: usize) -> Option<String> {
        self.head_again(head_len, |head| {
            let accept = head.fields.get("accept").unwrap_or_default();
            let port = head.host.and_then(|host| host.rsplit_once(':'));
            let port = port.filter(|(_, port)| port.parse::<u16>().is_ok());
            accept
                .windows(9)
                .any(|part| part == b"text/html")
                .then(|| port.map_or_else(String::new, |(_, port)| format!(":{port}")))
        })
    }

    /// Ends the connection so that the client can read all that was sent (RFC 9112 section 9.6):
    /// says so, then drops what still comes, for a while.
    async fn close(&mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        self.inbox.consume(self.inbox.len());
        let drain = pin!(async {
            let mut left = LINGER_BYTES_MAX;
            while left > 0 {
                match self.inbox.read_from(&mut self.stream).await? {
                    0 => break,
                    n => left = left.saturating_sub(n),
                }
                self.inbox.consume(self.inbox.len());
            }
            io::Result::Ok(())
        });
        // Whether it ended well or not, there is nobody to tell.
        let _ = self.timer.within(LINGER, drain).await;
    }

    /// Resets the connection, so that an answer without a length cannot be taken for a whole one.
    fn cut(self) {
        linger::reset_on_drop(&self.stream);
    }
}

/// Whether a request may be sent twice (RFC 9110 section 9.2.2), or its sender says so.
fn safety(head: &RequestHead<'_>) -> Safety {
    match Safety::of_method(head.method) {
        Safety::Unsafe if head.fields.get("idempotency-key").is_some() => Safety::Idempotent,
        safety => safety,
    }
}
