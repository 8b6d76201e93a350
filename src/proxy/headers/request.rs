//! The head of a request as the node gets it.

use std::io::Write;
use std::net::SocketAddr;

use super::forwarding::{Forwarding, REQUEST_ID, Way, hex};
use super::marks::RequestMarks;
use crate::cluster::hop::Hop;
use crate::cluster::node::{ForwardFields, Node};
use crate::cluster::protocol::{HEADER_PREFIX, HOP_HEADER};
use crate::http1::{
    Framing, RequestHead, Version, append_field, append_number, append_request_line, is_bound_login,
};

/// The additions of the balancer to a request.
#[derive(Clone, Copy)]
pub struct Added<'a> {
    /// The sender of the request.
    pub forwarding: &'a Forwarding,
    /// Our pseudonym in `Via`.
    pub via: &'a str,
    /// It is sent.
    pub sends_via: bool,
    /// Our mark.
    pub hop: &'a Hop,
    /// Drawn once a request, so that all its attempts have the same.
    pub request_id: u128,
    /// The length in bytes of its route's path, which is cut off its target; 0 cuts nothing.
    pub strip: usize,
    /// The switch that the client offers is offered on: see [`RequestHead::upgrade`].
    pub offers_switch: bool,
    /// The wishes of the node.
    pub wishes: Wishes,
    /// The node's address: the Host of a request that has none (RFC 9112 section 3.2 wants one).
    pub node: Option<&'a SocketAddr>,
}

impl<'a> Added<'a> {
    /// The additions for most nodes, to a request whose path stays.
    pub fn usual(forwarding: &'a Forwarding, hop: &'a Hop, request_id: u128) -> Self {
        let (via, sends_via, strip, offers_switch, node) = ("", false, 0, false, None);
        Self {
            forwarding,
            via,
            sends_via,
            hop,
            request_id,
            strip,
            offers_switch,
            wishes: Wishes::USUAL,
            node,
        }
    }
}

/// The wishes of a node for the head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// The fields by which it learns of the client.
    pub fields: ForwardFields,
    /// It learns whether the client takes trailers. A foreign device does not: it may know neither
    /// chunks nor the field `TE`.
    pub trailers: bool,
}

impl Wishes {
    /// Those of most nodes: picluster nodes that say nothing.
    pub const USUAL: Self = Self { fields: ForwardFields::All, trailers: true };

    /// Those of this node.
    pub(crate) fn of(node: &Node) -> Self {
        Self { fields: node.offer.forward, trailers: node.is_picluster() }
    }
}

/// Writes the request as the node gets it: HTTP/1.1, Host first, the client's end-to-end fields in
/// their order, then ours.
///
/// Fields by which a client describes its own way here are dropped, because they may be untrue; those
/// of a trusted proxy are kept. No client may send `x-picluster-*`, which is between balancer and node.
///
/// Returns the marks that were seen on the way through the fields.
pub fn write_request(head: &RequestHead<'_>, added: &Added<'_>, out: &mut Vec<u8>) -> RequestMarks {
    let &Added { forwarding, via, sends_via, hop, strip, offers_switch, wishes, node, .. } = added;
    let (prefix, target) = stripped(head.target, strip);
    let names_all = wishes.fields == ForwardFields::All;
    let believed = names_all && forwarding.trusted;
    let mut marks = RequestMarks::default();
    append_request_line(out, head.method, target);
    match (head.host, node) {
        (None, Some(node)) => append_own_host(node, out),
        (host, _) => append_field(out, "Host", host.unwrap_or_default().as_bytes()),
    }
    let hops_left = hops_left(head);
    for field in head.fields.iter() {
        if field.hop_by_hop {
            continue;
        }
        let passes = match fate(field.name) {
            Fate::Passes => true,
            Fate::IsBelieved => believed,
            Fate::IsContinued | Fate::Ends => false,
            Fate::IsLogin => {
                marks.login |= is_bound_login(field.value);
                true
            }
            Fate::IsVia => {
                marks.hops.is_loop |= names(field.value, via);
                believed || (names_all && sends_via)
            }
            Fate::IsForwarded => {
                hop.read_forwarded(field.value, &mut marks.hops);
                false
            }
            Fate::IsHop => {
                hop.read_short(field.value, &mut marks.hops);
                false
            }
        };
        if !passes {
            continue;
        }
        match hops_left {
            Some(hops) if field.name.eq_ignore_ascii_case(MAX_FORWARDS) => {
                out.extend_from_slice(b"Max-Forwards: ");
                append_number(out, hops.saturating_sub(1));
                out.extend_from_slice(b"\r\n");
            }
            _ => append_field(out, field.name, field.value),
        }
    }
    if head.framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    let offered = head.upgrade.filter(|_| offers_switch);
    append_connection(offered, head.trailers && wishes.trailers, out);
    forwarding.append(head, Way { fields: wishes.fields, hop, hops: marks.hops }, out);
    if names_all {
        append_rest(head, added, prefix, out);
    }
    out.extend_from_slice(b"\r\n");
    marks
}

/// Appends the fields of a node that wants all, but for those that name the way.
#[inline]
fn append_rest(head: &RequestHead<'_>, added: &Added<'_>, prefix: &str, out: &mut Vec<u8>) {
    let &Added { forwarding, via, sends_via, request_id, .. } = added;
    if !prefix.is_empty() {
        append_field(out, "X-Forwarded-Prefix", prefix.as_bytes());
    }
    if forwarding.believed_id(head).is_none() {
        append_field(out, REQUEST_ID, &hex(request_id));
    }
    if sends_via {
        // RFC 9110 section 7.6.3: the version is the one in which the message was received.
        out.extend_from_slice(match head.version {
            Version::Http10 => b"Via: 1.0 ",
            Version::Http11 => b"Via: 1.1 ",
        });
        out.extend_from_slice(via.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the Host of a request that came without one: strict servers refuse an empty one. A zone
/// means something on this machine alone, so it is left out (RFC 6874 section 1).
#[inline(never)]
fn append_own_host(node: &SocketAddr, out: &mut Vec<u8>) {
    let host = SocketAddr::new(node.ip(), node.port());
    // Writing to a vector cannot fail.
    let _ = write!(out, "Host: {host}\r\n");
}

/// Appends the fields of this hop: the switch that is offered, and whether the client takes trailers.
/// Each field of one hop is named in Connection (RFC 9110 sections 7.8 and 10.1.4).
fn append_connection(offered: Option<&[u8]>, trailers: bool, out: &mut Vec<u8>) {
    match (offered.is_some(), trailers) {
        (false, false) => return,
        (true, false) => append_field(out, "Connection", b"upgrade"),
        (false, true) => append_field(out, "Connection", b"TE"),
        (true, true) => append_field(out, "Connection", b"upgrade, TE"),
    }
    if let Some(protocols) = offered {
        append_field(out, "Upgrade", protocols);
    }
    if trailers {
        append_field(out, "TE", b"trailers");
    }
}

/// The first `strip` bytes of a target's path, and the target without them. The rest begins with one
/// slash: a second one would make a host of the first segment where an application redirects its
/// client.
pub(crate) fn stripped(target: &str, strip: usize) -> (&str, &str) {
    let (prefix, rest) = target.split_at_checked(strip).unwrap_or(("", target));
    if prefix.is_empty() || !rest.starts_with('/') {
        // Empty, or a query: its slash is written with the request line.
        return (prefix, if rest.is_empty() { "/" } else { rest });
    }
    let slashes = rest.bytes().take_while(|&b| b == b'/').count();
    (prefix, &rest[slashes - 1..])
}

/// The number of hops that a request may still make. The limit is for methods that ask about the way
/// itself (RFC 9110 section 7.6.2); a value that is no number is no limit.
pub(crate) fn hops_left(head: &RequestHead<'_>) -> Option<u64> {
    if !matches!(head.method, "OPTIONS" | "TRACE") {
        return None;
    }
    let value = str::from_utf8(head.fields.get(MAX_FORWARDS)?).ok()?;
    value.bytes().all(|digit| digit.is_ascii_digit()).then(|| value.parse().ok()).flatten()
}

const MAX_FORWARDS: &str = "Max-Forwards";

/// Returns whether a node that switches to these protocols was offered all of them (RFC 9110 section
/// 7.8).
pub(crate) fn is_offered(head: &RequestHead<'_>, switched_to: &[u8]) -> bool {
    let each = |list| <[u8]>::split(list, |&b| b == b',').map(<[u8]>::trim_ascii);
    let offers = head.upgrade.unwrap_or_default();
    each(switched_to).all(|protocol| each(offers).any(|offer| offer.eq_ignore_ascii_case(protocol)))
}

/// The fate of a field that came with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It goes on as it came.
    Passes,
    /// It goes on if a trusted proxy sent it, in place of ours.
    IsBelieved,
    /// It goes on as it came, and may carry a login.
    IsLogin,
    /// It is the list in which proxies name themselves (RFC 9110 section 7.6.3). It goes on where we
    /// take part in it, and where a trusted proxy sent it.
    IsVia,
    /// It is continued like a list, and may have the mark of a balancer.
    IsForwarded,
    /// It is the mark of a balancer, and goes no further.
    IsHop,
    /// It is a list; if a trusted proxy sent it, ours is written behind it.
    IsContinued,
    /// It goes no further from any sender.
    Ends,
}

/// `_` counts as `-` where a field ends here: CGI and its heirs (PHP, WSGI) cannot tell them apart,
/// so a client could send by one spelling what it may not send by the other.
fn fate(name: &str) -> Fate {
    let folded = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    let begins = |prefix: &str| {
        name.len() >= prefix.len()
            && name.bytes().map(folded).zip(prefix.bytes()).all(|(a, b)| a == b)
    };
    let is = |known: &str| name.len() == known.len() && begins(known);
    let unless_misspelt = |fate| if name.contains('_') { Fate::Ends } else { fate };
    match name.as_bytes().first() {
        Some(b'x' | b'X') if begins(HEADER_PREFIX) && is(HOP_HEADER) => Fate::IsHop,
        Some(b'x' | b'X') if begins(HEADER_PREFIX) => Fate::Ends,
        Some(b'x' | b'X') if is("x-forwarded-for") => unless_misspelt(Fate::IsContinued),
        // X-Real-IP and the other fields of X-Forwarded (-Port, -Prefix, -Server): we do not send them,
        // but an application that finds one believes that a proxy sent it.
        Some(b'x' | b'X') if begins("x-forwarded-") || is("x-real-ip") || is("x-request-id") => {
            unless_misspelt(Fate::IsBelieved)
        }
        Some(b'f' | b'F') if is("forwarded") => Fate::IsForwarded,
        Some(b'v' | b'V') if is("via") => Fate::IsVia,
        Some(b'a' | b'A') if is("authorization") => Fate::IsLogin,
        Some(b'p' | b'P') if is("proxy-authorization") => Fate::IsLogin,
        // The fields that frame a body, misspelt: fields like any other, but not to CGI.
        Some(b't' | b'T') if is("transfer-encoding") => Fate::Ends,
        Some(b'c' | b'C') if is("content-length") => unless_misspelt(Fate::Passes),
        _ => Fate::Passes,
    }
}

/// Returns whether a value of `Via` names this pseudonym (RFC 9110 section 7.6.3).
fn names(via: &[u8], pseudonym: &str) -> bool {
    let hops = via.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    let mut received_by = hops.filter_map(|hop| hop.split(|&b| b == b' ' || b == b'\t').nth(1));
    received_by.any(|by| by == pseudonym.as_bytes())
}
