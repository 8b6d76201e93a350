//! The loop of a downstream connection of HTTP/1: reads the next request's head, has it exchanged, and
//! goes on or ends.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use tokio::net::TcpStream;

use crate::cluster::pool::Member;
use crate::http1::limits::HEAD_BYTES_MAX;
use crate::proxy::access::CLIENT_LEFT;
use crate::proxy::conn::Conn;
use crate::proxy::disposition::Disposition;
use crate::proxy::downstream::{AttemptError, Downstream, Relayed};
use crate::proxy::exchange::exchange;
use crate::proxy::headers::Forwarding;
use crate::proxy::pinned::Pinned;
use crate::proxy::proxy_protocol::{self, ProxiedClient, ProxyHeaderError};
use crate::proxy::reject::{Form, Reject};
use crate::proxy::relay::relay;
use crate::proxy::request::{Request, SwitchOffer};
use crate::proxy::shared::Shared;
use crate::proxy::upload::UploadError;
use crate::proxy::{head, io};
use crate::server::ConnectionGuard;
use crate::server::buffer::Need;

/// Serves a connection to its end.
pub(super) async fn serve(
    shared: Rc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    guard: ConnectionGuard,
) {
    let proxies = &shared.settings.trusted_proxies;
    let trusted = proxies.contains(peer.ip());
    let mut conn = Conn::new(&shared, stream, peer.ip(), trusted, guard);
    // A trusted proxy has connections for many clients.
    let mut counted = (!trusted).then(|| peer.ip());
    if trusted && proxies.proxy_protocol {
        match Box::pin(read_proxy_header(&shared, &mut conn, peer.ip())).await {
            Introduced::As(client) => counted = client,
            Introduced::Gone => return,
            Introduced::Rejected(reject) => {
                return Box::pin(conn.turn_away(&shared, reject)).await;
            }
        }
    }
    if let Err(over) = conn.guard.claim(counted).await {
        return Box::pin(conn.turn_away(&shared, Reject::OverLimit(over))).await;
    }
    loop {
        let next = match next_request(&shared, &mut conn).await {
            Ok(mut request) if request.lacks_slash => {
                let redirect = conn.reject(&shared, &mut request, Reject::NoSlash);
                Box::pin(redirect).await
            }
            Ok(request) => exchange(&shared, &mut conn, request).await,
            Err(NoRequest::Quiet) => return conn.entry.end(CLIENT_LEFT),
            Err(NoRequest::Evicted) => {
                return Box::pin(conn.turn_away(&shared, Reject::SlowHead)).await;
            }
            Err(NoRequest::Rejected(reject)) => Box::pin(conn.refuse(&shared, reject)).await,
        };
        match next {
            Disposition::Keep => conn.forgive_an_empty_line(),
            Disposition::Close if conn.is_quiet() => return,
            Disposition::Close | Disposition::Linger => return Box::pin(conn.close()).await,
            Disposition::Cut => return conn.cut(),
        }
    }
}

/// The result of a trusted proxy's introduction of its client.
enum Introduced {
    /// The connection is for this client, if its address is known.
    As(Option<IpAddr>),
    /// The connection has ended.
    Gone,
    /// Nothing will be served.
    Rejected(Reject),
}

/// Reads a trusted proxy's introduction of its client (see [`proxy_protocol`]). From then on that
/// client is the sender of the requests, and it is believed nothing: the proxy passes on all that it
/// was sent.
async fn read_proxy_header(shared: &Shared, conn: &mut Conn, proxy: IpAddr) -> Introduced {
    let read = pin!(proxy_protocol::read(&mut conn.stream, &mut conn.inbox));
    match conn.timer.within(shared.settings.limits.head, read).await {
        Ok(Ok(ProxiedClient { client, tls })) => {
            conn.forwarding = Forwarding::of_client(client.unwrap_or(proxy), tls);
            Introduced::As(client)
        }
        Ok(Err(ProxyHeaderError::Gone)) => Introduced::Gone,
        Ok(Err(ProxyHeaderError::Invalid)) => Introduced::Rejected(Reject::NoProxyHeader),
        Err(_) => Introduced::Rejected(Reject::SlowHead),
    }
}

/// Why there is no next request.
enum NoRequest {
    /// The client left, or sent nothing for as long as it may.
    Quiet,
    /// Its place is needed for another client, and its request has been coming for a while.
    Evicted,
    /// It gets this answer.
    Rejected(Reject),
}

/// Waits for the next request's head. Holds no buffer until its first byte has come.
async fn next_request(shared: &Shared, conn: &mut Conn) -> Result<Request, NoRequest> {
    let limits = &shared.settings.limits;
    if conn.inbox.is_empty() {
        conn.inbox.release();
        conn.guard.idle_since(conn.timer.begin().into_std());
        let came = if conn.pinned.is_some() {
            Box::pin(first_bytes_while_pinned(shared, conn)).await
        } else {
            let read = pin!(conn.inbox.read_from(&mut conn.stream));
            matches!(conn.timer.still_within(limits.keep_alive, read).await, Ok(Ok(1..)))
        };
        conn.guard.serves();
        if !came {
            return Err(NoRequest::Quiet);
        }
    }
    let mut seen = 0;
    let mut began = None;
    loop {
        if let Some(mut request) = head::read(shared, conn, seen).map_err(NoRequest::Rejected)? {
            if request.switch == SwitchOffer::AwaitsBody {
                Box::pin(hold_body(shared, conn, &mut request)).await?;
            }
            // It is read again only if an attempt fails. A small copy waits with it, and the buffer,
            // which is still in the cache, serves the next connection.
            if request.upload.has_come() {
                conn.inbox.stow();
            }
            return Ok(request);
        }
        conn.entry.begin(shared.access_log.as_ref(), &conn.forwarding);
        seen = conn.inbox.len();
        if conn.inbox.is_full() && !conn.inbox.grow(HEAD_BYTES_MAX, Need::Must) {
            return Err(NoRequest::Rejected(Reject::NoMemory));
        }
        let began = *began.get_or_insert_with(Instant::now);
        let read = pin!(conn.inbox.read_from(&mut conn.stream));
        let came = tokio::select! {
            biased;
            () = conn.guard.evicted(began) => return Err(NoRequest::Evicted),
            came = conn.timer.within(limits.head.saturating_sub(began.elapsed()), read) => came,
        };
        match came {
            Err(_) => return Err(NoRequest::Rejected(Reject::SlowHead)),
            Ok(Ok(0) | Err(_)) => return Err(NoRequest::Quiet),
            Ok(Ok(_)) => {}
        }
    }
}

/// Waits for the first bytes of a client that has a connection to a node for itself. Returns whether they
/// came, before the time of a silent client was over or that connection has to end.
async fn first_bytes_while_pinned(shared: &Shared, conn: &mut Conn) -> bool {
    let Conn { inbox, stream, timer, pinned: Some(pinned), .. } = conn else { return false };
    let read = pin!(inbox.read_from(stream));
    let limit = shared.settings.limits.keep_alive;
    tokio::select! {
        biased;
        came = timer.still_within(limit, read) => matches!(came, Ok(Ok(1..))),
        () = pinned.over(shared) => false,
    }
}

/// Reads the whole body of a request that offers to switch protocols, as far as it may be held.
async fn hold_body(
    shared: &Shared,
    conn: &mut Conn,
    request: &mut Request,
) -> Result<(), NoRequest> {
    let limit = shared.settings.limits.body;
    let held = request.upload.hold(&mut conn.inbox, &mut conn.stream, limit).await;
    let reject = match held {
        Ok(()) => {
            let is_whole = request.upload.has_come();
            request.switch = if is_whole { SwitchOffer::Stands } else { SwitchOffer::None };
            request.rendered_for = None;
            return Ok(());
        }
        Err(UploadError::ClientSilent) => Reject::SlowBody,
        Err(UploadError::Framing(refusal)) => Reject::Refused(refusal),
        Err(UploadError::ClientGone | UploadError::NodeSilent | UploadError::Node) => {
            return Err(NoRequest::Quiet);
        }
    };
    conn.entry = std::mem::take(&mut request.entry);
    Err(NoRequest::Rejected(reject))
}

impl Downstream for Conn {
    fn gone(&self) -> impl Future<Output = ()> {
        io::gone(&self.stream)
    }

    fn route_again(&self, shared: &Shared, request: &mut Request) -> bool {
        head::route_again(shared, self, request)
    }

    fn relay<'a>(
        &'a mut self,
        shared: &'a Shared,
        request: &'a mut Request,
        node: &'a mut TcpStream,
        member: &'a Member,
    ) -> impl Future<Output = Result<Relayed, AttemptError>> {
        relay(shared, self, request, node, member)
    }

    fn take_pinned(&mut self, request: &Request) -> Option<Box<Pinned>> {
        let goes_there = request.affinity.as_ref().is_some_and(|affinity| affinity.pinned);
        if goes_there { self.pinned.take() } else { None }
    }

    fn pin(&mut self, pinned: Option<Box<Pinned>>) -> Disposition {
        self.pinned = pinned;
        if self.pinned.is_some() { Disposition::Keep } else { Disposition::Close }
    }

    /// The connection is kept if the whole request has come.
    async fn reject(
        &mut self,
        shared: &Shared,
        request: &mut Request,
        reject: Reject,
    ) -> Disposition {
        let keep = request.keep_alive && request.upload.has_come() && !self.guard.is_draining();
        let form = Form {
            is_head: request.is_head,
            version: request.version,
            browser_port: head::browser_port(self, request),
            location: (reject == Reject::NoSlash).then(|| head::with_slash(self, request)),
            then: if keep { Disposition::Keep } else { Disposition::Linger },
        };
        let next = self.respond(shared, &mut request.entry, reject, form).await;
        self.inbox.consume(request.upload.used());
        next
    }
}
