//! The head of a request as the node gets it.

use super::forwarding::{Forwarding, REQUEST_ID, hex};
use crate::cluster::protocol::HEADER_PREFIX;
use crate::http1::{
    Fields, Framing, RequestHead, Version, append_field, append_number, append_request_line,
};

/// The additions of the balancer to a request.
#[derive(Clone, Copy)]
pub struct Added<'a> {
    /// The sender of the request.
    pub forwarding: &'a Forwarding,
    /// Our pseudonym in `Via`.
    pub via: &'a str,
    /// Drawn once a request, so that all its attempts have the same.
    pub request_id: u128,
    /// The length in bytes of its route's path, which is cut off its target; 0 cuts nothing.
    pub strip: usize,
}

/// Writes the request as the node gets it: HTTP/1.1, Host first, the client's end-to-end fields in
/// their order, then ours.
///
/// Fields by which a client describes its own way here are dropped, because they may be untrue; those
/// of a trusted proxy are kept. No client may send `x-picluster-*`, which is between balancer and node.
pub fn write_request(head: &RequestHead<'_>, added: Added<'_>, out: &mut Vec<u8>) {
    let Added { forwarding, via, request_id, strip } = added;
    let (prefix, target) = stripped(head.target, strip);
    let passes = |name| match fate(name) {
        Fate::Passes => true,
        Fate::IsBelieved => forwarding.trusted,
        Fate::IsContinued | Fate::Ends => false,
    };
    append_request_line(out, head.method, target);
    append_field(out, "Host", head.host.unwrap_or_default().as_bytes());
    let hops_left = hops_left(head);
    for field in head.fields.end_to_end().filter(|field| passes(field.name)) {
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
    if let Some(protocols) = offered(head) {
        append_field(out, "Connection", b"upgrade");
        append_field(out, "Upgrade", protocols);
    }
    forwarding.append(head, out);
    if !prefix.is_empty() {
        append_field(out, "X-Forwarded-Prefix", prefix.as_bytes());
    }
    if forwarding.believed_id(head).is_none() {
        append_field(out, REQUEST_ID, &hex(request_id));
    }
    // RFC 9110 section 7.6.3: the version is the one in which the message was received.
    out.extend_from_slice(match head.version {
        Version::Http10 => b"Via: 1.0 ",
        Version::Http11 => b"Via: 1.1 ",
    });
    out.extend_from_slice(via.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
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

/// The protocols that are offered on to the node. With a body the switch would come behind it; no
/// client does that, so the offer is dropped, which a server may always do (RFC 9110 section 7.8).
pub(crate) fn offered<'b>(head: &RequestHead<'b>) -> Option<&'b [u8]> {
    head.upgrade.filter(|_| head.framing.is_empty())
}

/// Returns whether a node that switches to these protocols was offered all of them (RFC 9110 section
/// 7.8).
pub(crate) fn is_offered(head: &RequestHead<'_>, switched_to: &[u8]) -> bool {
    let each = |list| <[u8]>::split(list, |&b| b == b',').map(<[u8]>::trim_ascii);
    let offers = offered(head).unwrap_or_default();
    each(switched_to).all(|protocol| each(offers).any(|offer| offer.eq_ignore_ascii_case(protocol)))
}

/// The fate of a field that came with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It goes on as it came.
    Passes,
    /// It goes on if a trusted proxy sent it, in place of ours.
    IsBelieved,
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
        Some(b'x' | b'X') if begins(HEADER_PREFIX) => Fate::Ends,
        Some(b'x' | b'X') if is("x-forwarded-for") => unless_misspelt(Fate::IsContinued),
        // X-Real-IP and the other fields of X-Forwarded (-Port, -Prefix, -Server): we do not send them,
        // but an application that finds one believes that a proxy sent it.
        Some(b'x' | b'X') if begins("x-forwarded-") || is("x-real-ip") || is("x-request-id") => {
            unless_misspelt(Fate::IsBelieved)
        }
        Some(b'f' | b'F') if is("forwarded") => Fate::IsContinued,
        // The fields that frame a body, misspelt: fields like any other, but not to CGI.
        Some(b't' | b'T') if is("transfer-encoding") => Fate::Ends,
        Some(b'c' | b'C') if is("content-length") => unless_misspelt(Fate::Passes),
        _ => Fate::Passes,
    }
}

/// Returns whether the request came through the balancer of this pseudonym before
/// (RFC 9110 section 7.6.3).
pub(crate) fn is_loop(fields: &Fields<'_>, via: &str) -> bool {
    fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("via"))
        .flat_map(|field| field.value.split(|&b| b == b','))
        .filter_map(|hop| hop.trim_ascii().split(|&b| b == b' ' || b == b'\t').nth(1))
        .any(|pseudonym| pseudonym == via.as_bytes())
}
