//! The head of a request in a connection's buffer: read, routed and rendered for a node; and the same
//! again, for another attempt.

use std::time::Instant;

use crate::cluster::balance::Balance;
use crate::cluster::pool::{Destination, Pool};
use crate::cluster::retry::{Reach, Safety};
use crate::http1::{self, RequestHead, Slots};
use crate::proxy::affinity::Affinity;
use crate::proxy::conn::Conn;
use crate::proxy::headers::{self, Added, Forwarding};
use crate::proxy::path::{has_dot_segment, is_private};
use crate::proxy::reject::Reject;
use crate::proxy::request::{Request, RequestId, Timing};
use crate::proxy::shared::Shared;
use crate::proxy::upload::Upload;

/// Reads the head, if it is whole, and renders it for the node at once: in the ordinary case it
/// is sent in the same step, and no head is read twice. The first `seen` bytes were looked at before.
///
/// # Errors
/// The request may not go to a node; the answer gives the reason.
pub(super) fn read(
    shared: &Shared,
    conn: &mut Conn,
    seen: usize,
) -> Result<Option<Request>, Reject> {
    let mut slots = Slots::new();
    let head = match http1::parse_request(conn.inbox.filled(), seen, &mut slots) {
        Ok(Some(head)) => head,
        Ok(None) => return Ok(None),
        Err(refusal) => return Err(Reject::Refused(refusal)),
    };
    let (settings, forwarding, entry) = (&shared.settings, &conn.forwarding, &mut conn.entry);
    entry.begin(shared.access_log.as_ref(), forwarding);
    entry.asks(head.method, head.target);
    entry.comes_from(|| forwarding.named_client(&head, &settings.trusted_proxies));
    check(&head, &settings.via)?;
    let Route { to, affinity } = route(shared, &head, forwarding)?;
    let bytes_max = settings.limits.body_bytes;
    let mut upload =
        Upload::new(head.framing, head.len, &conn.inbox, bytes_max).map_err(Reject::Refused)?;
    if head.expect_continue {
        upload.await_continue();
    }
    let id: RequestId = fastrand::u128(..).to_ne_bytes();
    entry.goes_as(|| forwarding.request_id(&head, u128::from_ne_bytes(id)));
    let ticket = shared.scratch.render(|out| {
        headers::write_request(&head, added(shared, forwarding, id, to), out);
    });
    Ok(Some(Request {
        id,
        to,
        affinity,
        safety: safety(&head),
        is_head: head.method == "HEAD",
        version: head.version,
        keep_alive: head.keep_alive,
        offers_switch: headers::offered(&head).is_some(),
        timing: if upload.has_come() { Timing::NodeAlone } else { Timing::Mixed },
        reach: Reach::Unsent,
        upload,
        ticket,
        came: Instant::now(),
        entry: std::mem::take(entry),
    }))
}

/// Checks that a request may go to a node at all.
fn check(head: &RequestHead<'_>, via: &str) -> Result<(), Reject> {
    if is_private(head.target) {
        return Err(Reject::Private);
    }
    if headers::is_loop(&head.fields, via) {
        return Err(Reject::Loop);
    }
    if headers::hops_left(head) == Some(0) {
        return Err(Reject::LastHop { trace: head.method == "TRACE" });
    }
    Ok(())
}

/// The destination of a request, and the parts of it that decide its node there.
#[derive(Default)]
struct Route {
    /// `None` if no route takes it.
    to: Option<Destination>,
    affinity: Option<Box<Affinity>>,
}

/// Looks up a request's route by the newest pool.
fn route(
    shared: &Shared,
    head: &RequestHead<'_>,
    forwarding: &Forwarding,
) -> Result<Route, Reject> {
    let pool = shared.pool();
    if pool.services().by_path() && has_dot_segment(head.target) {
        return Err(Reject::DotSegment);
    }
    let Some(to) = pool.route(head.host.unwrap_or_default(), head.target) else {
        return Ok(Route::default());
    };
    if to.strip > 0 && is_private(headers::stripped(head.target, to.strip.into()).1) {
        return Err(Reject::Private);
    }
    let settings = &shared.settings;
    let (balance, sticky) = (pool.of(to).map(Pool::balance), settings.sticky);
    let asks = |balance: &&Balance| sticky || matches!(balance, Balance::Hash(_));
    let affinity = balance.filter(asks).map(|balance| {
        let service = pool.services().name(to).filter(|_| sticky);
        let named = || forwarding.named_client(head, &settings.trusted_proxies);
        Box::new(Affinity::read(head, balance, service, forwarding.client(), named))
    });
    Ok(Route { to: Some(to), affinity })
}

/// Decides whether a request may be sent twice (RFC 9110 section 9.2.2): by its method, or by the field
/// in which its sender allows it.
fn safety(head: &RequestHead<'_>) -> Safety {
    match Safety::of_method(head.method) {
        Safety::Unsafe if head.fields.get("idempotency-key").is_some() => Safety::Idempotent,
        safety => safety,
    }
}

/// The additions to a request on its way to a node.
fn added<'a>(
    shared: &'a Shared,
    forwarding: &'a Forwarding,
    id: RequestId,
    to: Option<Destination>,
) -> Added<'a> {
    let strip = to.map_or(0, |to| to.strip.into());
    let request_id = u128::from_ne_bytes(id);
    Added { forwarding, via: &shared.settings.via, request_id, strip }
}

/// Reads the head of the present request again.
fn again<T>(conn: &Conn, request: &Request, read: impl FnOnce(&RequestHead<'_>) -> T) -> T {
    let mut slots = Slots::new();
    let head = &conn.inbox.filled()[..request.upload.head_len()];
    let head = http1::parse_request(head, 0, &mut slots);
    read(&head.ok().flatten().expect("a head that was read once reads the same again"))
}

/// Renders the head of the present request again, for another attempt.
pub(super) fn render_again(shared: &Shared, conn: &Conn, request: &mut Request) {
    let added = added(shared, &conn.forwarding, request.id, request.to);
    request.ticket = again(conn, request, |head| {
        shared.scratch.render(|out| headers::write_request(head, added, out))
    });
}

/// Looks up the present request's route by the newest pool, and renders its head for the nodes there.
/// Returns whether there is one.
pub(super) fn route_again(shared: &Shared, conn: &Conn, request: &mut Request) -> bool {
    let route = again(conn, request, |head| route(shared, head, &conn.forwarding));
    let Route { to, affinity } = route.unwrap_or_default();
    (request.to, request.affinity) = (to, affinity);
    render_again(shared, conn, request);
    request.to.is_some()
}

/// Returns whether the present request offers to switch to these protocols.
pub(super) fn offers(conn: &Conn, request: &Request, protocols: &[u8]) -> bool {
    request.offers_switch && again(conn, request, |head| headers::is_offered(head, protocols))
}

/// The port at which a browser asked, as it writes it behind the host: `:8000`, or nothing. `None` if
/// the client wants no HTML.
pub(super) fn browser_port(conn: &Conn, request: &Request) -> Option<String> {
    again(conn, request, |head| {
        let accept = head.fields.get("accept").unwrap_or_default();
        let port = head.host.and_then(|host| host.rsplit_once(':'));
        let port = port.filter(|(_, port)| port.parse::<u16>().is_ok());
        accept
            .windows(9)
            .any(|part| part == b"text/html")
            .then(|| port.map_or_else(String::new, |(_, port)| format!(":{port}")))
    })
}
