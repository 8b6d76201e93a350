//! The head of a request in a connection's buffer: read, routed and rendered for a node; and the same
//! again, for another attempt.

use std::net::SocketAddr;
use std::time::Instant;

use crate::cluster::balance::Balance;
use crate::cluster::node::Node;
use crate::cluster::pool::{Destination, Pool};
use crate::cluster::retry::{Reach, Safety};
use crate::http1::{self, RequestHead, Slots};
use crate::proxy::affinity::Affinity;
use crate::proxy::conn::Conn;
use crate::proxy::headers::{self, Added, Forwarding, RequestMarks, Wishes};
use crate::proxy::path::{has_dot_segment, is_private};
use crate::proxy::pinned::Pinned;
use crate::proxy::reject::Reject;
use crate::proxy::request::{Request, RequestId, SwitchOffer, Timing};
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
    check(&head)?;
    let pinned = conn.pinned.as_deref().map(Pinned::epoch);
    let Route { to, affinity, wishes } = route(shared, &head, forwarding, pinned)?;
    let bytes_max = settings.limits.body_bytes;
    let mut upload =
        Upload::new(head.framing, head.len, &conn.inbox, bytes_max).map_err(Reject::Refused)?;
    if head.expect_continue {
        upload.await_continue();
    }
    let id: RequestId = fastrand::u128(..).to_ne_bytes();
    entry.goes_as(|| forwarding.request_id(&head, u128::from_ne_bytes(id)));
    let switch = switch(&head, &upload);
    let added = added(shared, forwarding, (id, to), switch, wishes, None);
    let (ticket, marks) = shared.scratch.render(|out| headers::write_request(&head, &added, out));
    if marks.hops.is_loop {
        return Err(Reject::Loop);
    }
    Ok(Some(Request {
        id,
        to,
        affinity,
        safety: safety(&head, marks),
        is_head: head.method == "HEAD",
        version: head.version,
        keep_alive: head.keep_alive,
        switch,
        lacks_slash: lacks_slash(&head, to),
        // The node's address is missing.
        rendered_for: head.host.is_some().then_some(wishes),
        timing: if upload.has_come() { Timing::NodeAlone } else { Timing::Mixed },
        reach: Reach::Unsent,
        upload,
        ticket,
        came: Instant::now(),
        entry: std::mem::take(entry),
    }))
}

/// Checks that a request may go to a node at all.
fn check(head: &RequestHead<'_>) -> Result<(), Reject> {
    if is_private(head.target) {
        return Err(Reject::Private);
    }
    if headers::hops_left(head) == Some(0) {
        return Err(Reject::LastHop { trace: head.method == "TRACE" });
    }
    Ok(())
}

/// The destination of a request, and the parts of it that decide its node there.
struct Route {
    /// `None` if no route takes it.
    to: Option<Destination>,
    affinity: Option<Box<Affinity>>,
    /// The wishes of the first node there: those of all others as a rule.
    wishes: Wishes,
}

impl Route {
    const NONE: Self = Self { to: None, affinity: None, wishes: Wishes::USUAL };
}

/// Looks up a request's route by the newest pool. `pinned` is the epoch to which the client has a
/// connection of its own.
fn route(
    shared: &Shared,
    head: &RequestHead<'_>,
    forwarding: &Forwarding,
    pinned: Option<u64>,
) -> Result<Route, Reject> {
    let pool = shared.pool();
    if pool.services().by_path() && has_dot_segment(head.target) {
        return Err(Reject::DotSegment);
    }
    let Some(to) = pool.route(head.host.unwrap_or_default(), head.target) else {
        return Ok(Route::NONE);
    };
    if to.strip > 0 && is_private(headers::stripped(head.target, to.strip.into()).1) {
        return Err(Reject::Private);
    }
    let settings = &shared.settings;
    let (members, sticky) = (pool.of(to), settings.sticky);
    let (balance, first) =
        (members.map(Pool::balance), members.and_then(|members| members.eligible().first()));
    let asks = |balance: &&Balance| sticky || matches!(balance, Balance::Hash(_));
    let mut affinity = balance.filter(asks).map(|balance| {
        let service = pool.services().name(to).filter(|_| sticky);
        let named = || forwarding.named_client(head, &settings.trusted_proxies);
        Box::new(Affinity::read(head, balance, service, forwarding.client(), named))
    });
    if let Some(node) = pinned.and_then(|epoch| members?.member(epoch)) {
        let affinity = affinity.get_or_insert_default();
        (affinity.sticky, affinity.pinned) = (Some(node.node.id.sticky_key()), true);
    }
    let wishes = first.map_or(Wishes::USUAL, |member| Wishes::of(&member.node));
    Ok(Route { to: Some(to), affinity, wishes })
}

/// Returns whether a GET or HEAD asks for the path of a route that is cut off, without the slash behind
/// it.
fn lacks_slash(head: &RequestHead<'_>, to: Option<Destination>) -> bool {
    let strip = to.map_or(0, |to| usize::from(to.strip));
    strip > 0
        && matches!(head.method, "GET" | "HEAD")
        && matches!(head.target.as_bytes().get(strip), None | Some(b'?'))
}

/// An offer to switch with a body goes on with the whole of it, so that nothing but the answer can come
/// next. A client that holds its body back until it is asked for it gets an ordinary answer, which a
/// server may always give.
fn switch(head: &RequestHead<'_>, upload: &Upload) -> SwitchOffer {
    if head.upgrade.is_none() {
        SwitchOffer::None
    } else if upload.has_come() {
        SwitchOffer::Stands
    } else if head.expect_continue {
        SwitchOffer::None
    } else {
        SwitchOffer::AwaitsBody
    }
}

/// Decides whether a request may be sent twice (RFC 9110 section 9.2.2): by its method, or by the field
/// in which its sender allows it; never if it carries a login that is bound to its connection.
fn safety(head: &RequestHead<'_>, marks: RequestMarks) -> Safety {
    if marks.login {
        return Safety::Pinned;
    }
    match Safety::of_method(head.method) {
        Safety::Unsafe if head.fields.get("idempotency-key").is_some() => Safety::Idempotent,
        safety => safety,
    }
}

/// The additions to a request on its way to a node.
fn added<'a>(
    shared: &'a Shared,
    forwarding: &'a Forwarding,
    (id, to): (RequestId, Option<Destination>),
    switch: SwitchOffer,
    wishes: Wishes,
    node: Option<&'a SocketAddr>,
) -> Added<'a> {
    let settings = &shared.settings;
    Added {
        forwarding,
        via: &settings.via,
        sends_via: settings.sends_via,
        hop: &settings.hop,
        request_id: u128::from_ne_bytes(id),
        strip: to.map_or(0, |to| to.strip.into()),
        offers_switch: switch == SwitchOffer::Stands,
        wishes,
        node,
    }
}

/// Reads the head of the present request again.
fn again<T>(conn: &Conn, request: &Request, read: impl FnOnce(&RequestHead<'_>) -> T) -> T {
    let mut slots = Slots::new();
    let head = &conn.inbox.filled()[..request.upload.head_len()];
    let head = http1::parse_request(head, 0, &mut slots);
    read(&head.ok().flatten().expect("a head that was read once reads the same again"))
}

/// Renders the head of the present request for this node, unless it was rendered as the node wants it
/// and is still there.
pub(super) fn render_for(shared: &Shared, conn: &Conn, request: &mut Request, node: &Node) {
    let wishes = Wishes::of(node);
    if request.rendered_for == Some(wishes) && shared.scratch.holds(request.ticket) {
        return;
    }
    let &mut Request { id, to, switch, .. } = request;
    let added = added(shared, &conn.forwarding, (id, to), switch, wishes, Some(&node.endpoint));
    (request.ticket, request.rendered_for) = again(conn, request, |head| {
        let (ticket, _) = shared.scratch.render(|out| headers::write_request(head, &added, out));
        (ticket, head.host.is_some().then_some(wishes))
    });
}

/// Looks up the present request's route by the newest pool; its head has to be rendered again. Returns
/// whether there is one.
pub(super) fn route_again(shared: &Shared, conn: &Conn, request: &mut Request) -> bool {
    let pinned = conn.pinned.as_deref().map(Pinned::epoch);
    let route = again(conn, request, |head| route(shared, head, &conn.forwarding, pinned));
    let Route { to, affinity, .. } = route.unwrap_or(Route::NONE);
    (request.to, request.affinity, request.rendered_for) = (to, affinity, None);
    request.to.is_some()
}

/// Returns whether the present request offers to switch to these protocols.
pub(super) fn offers(conn: &Conn, request: &Request, protocols: &[u8]) -> bool {
    request.switch == SwitchOffer::Stands
        && again(conn, request, |head| headers::is_offered(head, protocols))
}

/// The target of the present request with the slash that it lacks. It is relative to its last segment, so
/// that it also leads there behind another proxy that cuts off a path of its own (RFC 3986 section 4.2).
pub(super) fn with_slash(conn: &Conn, request: &Request) -> String {
    let strip = request.to.map_or(0, |to| to.strip.into());
    again(conn, request, |head| {
        let (path, query) = head.target.split_at_checked(strip).unwrap_or_default();
        let segment = path.rsplit('/').next().unwrap_or_default();
        format!("{segment}/{query}")
    })
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
