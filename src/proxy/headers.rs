//! The heads that go on: which fields are kept, which are ours. Public for the bench and the fuzz
//! targets of the codec alone.

use std::net::SocketAddr;

use crate::h1::{
    Fields, Framing, RequestHead, ResponseHead, Version, append_field, append_request_line,
    append_status_line,
};

/// What all requests of one connection share: rendered once, copied into each.
pub struct Forwarding {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`, with their line ends.
    lines: Box<str>,
}

impl Forwarding {
    /// For a client that connected from `peer` over plain TCP.
    pub fn new(peer: SocketAddr) -> Self {
        let ip = peer.ip().to_canonical();
        Self { lines: format!("X-Forwarded-For: {ip}\r\nX-Forwarded-Proto: http\r\n").into() }
    }
}

/// Writes the request as the node gets it: HTTP/1.1, Host first, the client's end-to-end fields in
/// their order, then ours.
///
/// What the client said of its own way here (`X-Forwarded-*`, `Forwarded`) is dropped: nobody knows
/// whether it is true. So is `x-picluster-*`, which is between balancer and node.
pub fn write_request(
    head: &RequestHead<'_>,
    forwarding: &Forwarding,
    via: &str,
    out: &mut Vec<u8>,
) {
    let host = head.host.unwrap_or_default();
    append_request_line(out, head.method, head.target);
    append_field(out, "Host", host.as_bytes());
    for field in head.fields.end_to_end().filter(|field| !is_ours(field.name)) {
        append_field(out, field.name, field.value);
    }
    if head.framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if let Some(protocols) = offered(head) {
        append_field(out, "Connection", b"upgrade");
        append_field(out, "Upgrade", protocols);
    }
    out.extend_from_slice(forwarding.lines.as_bytes());
    if !host.is_empty() {
        append_field(out, "X-Forwarded-Host", host.as_bytes());
    }
    // RFC 9110 section 7.6.3: the version is the one in which the message was received.
    out.extend_from_slice(match head.version {
        Version::Http10 => b"Via: 1.0 ",
        Version::Http11 => b"Via: 1.1 ",
    });
    out.extend_from_slice(via.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

/// The protocols that are offered on to the node. With a body the switch would come behind it;
/// nobody does that, so the offer is dropped, which a server may always do (RFC 9110 section 7.8).
pub(crate) fn offered<'b>(head: &RequestHead<'b>) -> Option<&'b [u8]> {
    head.upgrade.filter(|_| head.framing.is_empty())
}

/// Whether a request field is written by the balancer alone. `_` counts as `-`: CGI and its heirs
/// (PHP, WSGI) cannot tell them apart, so a client could say by one what it may not say by the other.
fn is_ours(name: &str) -> bool {
    let folded = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    let begins = |prefix: &str| {
        name.len() >= prefix.len()
            && name.bytes().map(folded).zip(prefix.bytes()).all(|(a, b)| a == b)
    };
    let is = |ours: &str| name.len() == ours.len() && begins(ours);
    match name.as_bytes().first() {
        Some(b'x' | b'X') => {
            begins("x-picluster-")
                || is("x-forwarded-for")
                || is("x-forwarded-proto")
                || is("x-forwarded-host")
        }
        Some(b'f' | b'F') => is("forwarded"),
        // What frames a body, misspelt: these are fields like any other, but not to CGI.
        Some(b't' | b'T') => is("transfer-encoding"),
        Some(b'c' | b'C') => name.contains('_') && is("content-length"),
        _ => false,
    }
}

/// Whether the request came through the balancer of this pseudonym before
/// (RFC 9110 section 7.6.3).
pub(crate) fn is_loop(fields: &Fields<'_>, via: &str) -> bool {
    fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("via"))
        .flat_map(|field| field.value.split(|&b| b == b','))
        .filter_map(|hop| hop.trim_ascii().split(|&b| b == b' ' || b == b'\t').nth(1))
        .any(|pseudonym| pseudonym == via.as_bytes())
}

/// How the answer's connection and body are given to the client.
#[derive(Clone, Copy)]
pub struct AnswerForm<'a> {
    /// The connection ends with this answer.
    pub close: bool,
    /// The client speaks HTTP/1.0.
    pub http10: bool,
    /// The name of the node that gave it, unless that is switched off.
    pub node: Option<&'a str>,
}

/// Writes the answer's head as the client gets it: the node's end-to-end fields in their order,
/// then ours. `X-Picluster-Node` is set, not appended.
pub fn write_answer(head: &ResponseHead<'_>, form: AnswerForm<'_>, out: &mut Vec<u8>) {
    append_status_line(out, head.status, head.reason);
    // Also where it is switched off: `picluster web` writes one itself.
    let replaced = |name: &str| name.eq_ignore_ascii_case(NODE_HEADER);
    for field in head.fields.end_to_end().filter(|field| !replaced(field.name)) {
        append_field(out, field.name, field.value);
    }
    // HTTP/1.0 knows no chunks; the body is given without them and ends with the connection.
    if head.framing == Framing::Chunked && !form.http10 {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if let Some(node) = form.node {
        append_field(out, NODE_HEADER, node.as_bytes());
    }
    if let Some(protocol) = head.upgrade {
        append_field(out, "Connection", b"upgrade");
        append_field(out, "Upgrade", protocol);
    }
    // A 101 has no say in what becomes of the connection.
    if form.close && head.status != 101 {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if form.http10 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Which node gave an answer.
pub(crate) const NODE_HEADER: &str = "X-Picluster-Node";

/// Whether a target lies in `/.picluster/`, however it is spelt: nodes may decode escapes, merge
/// slashes and resolve dot segments, so all of that is done here too.
pub(crate) fn is_private(target: &str) -> bool {
    // The ordinary request is settled by this.
    let named = |part: &[u8]| part.eq_ignore_ascii_case(b"picluster");
    if !target.contains('%') && !target.as_bytes().windows(9).any(named) {
        return false;
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in decoded(path).split(|&b| b == b'/' || b == b'\\') {
        // Servlet containers cut parameters, C programs end at NUL, Windows drops dots and spaces.
        let name = segment.split(|&b| b == b';' || b == 0).next().unwrap_or_default();
        match without_tail(name) {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            other => segments.push(other.to_vec()),
        }
    }
    segments.first().is_some_and(|first| first.eq_ignore_ascii_case(b".picluster"))
}

/// A segment without dots and spaces at its end, unless it is nothing but dots.
fn without_tail(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|&b| b != b'.' && b != b' ').map_or(name.len(), |at| at + 1);
    &name[..end]
}

/// Resolves percent escapes, once. What is no escape stays.
fn decoded(path: &str) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut rest = path.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, digit(tail.first()), digit(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => out.push(first),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::{Slots, parse_request, parse_response};

    fn request(text: &str) -> String {
        let mut slots = Slots::new();
        let head = parse_request(text.as_bytes(), 0, &mut slots).expect("valid").expect("whole");
        let mut out = Vec::new();
        let forwarding = Forwarding::new(([10, 0, 0, 9], 4711).into());
        write_request(&head, &forwarding, "front", &mut out);
        String::from_utf8(out).expect("the inputs are text")
    }

    fn answer(text: &str, form: AnswerForm<'_>) -> String {
        let mut slots = Slots::new();
        let head = parse_response(text.as_bytes(), 0, &mut slots, false);
        let head = head.expect("valid").expect("whole");
        let mut out = Vec::new();
        write_answer(&head, form, &mut out);
        String::from_utf8(out).expect("the inputs are text")
    }

    #[test]
    fn end_to_end_fields_keep_their_order_and_hop_by_hop_ones_go() {
        let got = request(
            "GET /a HTTP/1.1\r\nA: 1\r\nHost: pi\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
             Cookie: a=b\r\nTE: trailers\r\nA: 2\r\n\r\n",
        );
        let expected = "GET /a HTTP/1.1\r\nHost: pi\r\nA: 1\r\nCookie: a=b\r\nA: 2\r\n\
             X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: pi\r\n\
             Via: 1.1 front\r\n\r\n";
        assert_eq!(got, expected);
    }

    #[test]
    fn what_a_client_claims_of_its_way_is_replaced() {
        let got = request(
            "GET / HTTP/1.1\r\nHost: pi\r\nX-Forwarded-For: 1.2.3.4\r\nFORWARDED: for=x\r\n\
             x-forwarded-host: evil\r\nX_Forwarded_For: 9\r\nx_picluster_node: 9\r\n\
             Transfer_Encoding: chunked\r\nContent_Length: 9\r\nX-Picluster-Node: me\r\nVia: 1.1 other\r\n\r\n",
        );
        assert!(!got.contains("1.2.3.4") && !got.contains("for=x"), "{got}");
        assert!(!got.contains("evil") && !got.to_lowercase().contains("x-picluster"), "{got}");
        assert!(!got.contains('_'), "{got}");
        assert!(got.contains("Via: 1.1 other\r\n") && got.contains("Via: 1.1 front\r\n"), "{got}");
    }

    #[test]
    fn an_http_1_0_request_goes_on_as_1_1_and_says_so_in_via() {
        let got = request("GET / HTTP/1.0\r\n\r\n");
        assert!(got.starts_with("GET / HTTP/1.1\r\nHost: \r\n"), "{got}");
        assert!(got.contains("Via: 1.0 front\r\n") && !got.contains("X-Forwarded-Host"), "{got}");
    }

    #[test]
    fn a_websocket_offer_goes_on_and_h2c_does_not() {
        let offer = |what: &str| {
            let text = format!(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {what}\r\n\r\n"
            );
            request(&text).contains(&format!("Connection: upgrade\r\nUpgrade: {what}\r\n"))
        };
        assert!(offer("websocket"));
        assert!(!offer("h2c"));
    }

    #[test]
    fn the_node_header_is_set_not_appended() {
        let text = "HTTP/1.1 200 OK\r\nx-picluster-node: forged\r\nContent-Length: 0\r\n\r\n";
        let form = AnswerForm { close: false, http10: false, node: Some("ada") };
        let expected = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Picluster-Node: ada\r\n\r\n";
        assert_eq!(answer(text, form), expected);
        let off = AnswerForm { node: None, ..form };
        assert_eq!(answer(text, off), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn a_client_of_1_0_gets_no_chunks_and_hears_what_becomes_of_the_connection() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let form = AnswerForm { close: true, http10: true, node: None };
        assert_eq!(answer(text, form), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        let kept = AnswerForm { close: false, ..form };
        let got = answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", kept);
        assert!(got.ends_with("\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn an_answer_that_names_protocols_says_close_too_and_a_101_does_not() {
        let form = AnswerForm { close: true, http10: false, node: None };
        let fields = "Connection: upgrade\r\nUpgrade: a\r\n";
        let got = answer(&format!("HTTP/1.1 426 \r\n{fields}Content-Length: 0\r\n\r\n"), form);
        assert!(got.ends_with(&format!("\r\n{fields}Connection: close\r\n\r\n")), "{got}");
        let got = answer(&format!("HTTP/1.1 101 \r\n{fields}\r\n"), form);
        assert_eq!(got, format!("HTTP/1.1 101 \r\n{fields}\r\n"));
    }

    #[test]
    fn a_loop_is_seen_in_any_via_line_and_only_as_a_whole_pseudonym() {
        let seen = |via: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 x\r\nVia: {via}\r\n\r\n");
            let mut slots = Slots::new();
            let head = parse_request(text.as_bytes(), 0, &mut slots).expect("valid");
            is_loop(&head.expect("whole").fields, "front")
        };
        assert!(seen("1.1 other, 1.1 front (picluster)"));
        assert!(!seen("1.1 front2") && !seen("1.1 a-front") && !seen("front"));
    }

    #[test]
    fn the_private_path_is_seen_in_every_spelling() {
        for target in [
            "/.picluster",
            "/.picluster/health",
            "//.picluster/x",
            "/a/../.picluster/x?y",
            "/%2epicluster/health",
            "/%2E%70icluster",
            "/./.picluster",
            "/.PICLUSTER/",
            "/%2f.picluster",
            "/.picluster;a=b/health",
            "/;/.picluster/health",
            "/x/..;/.picluster/health",
            "/.picluster%00/health",
            "/.picluster%20/health",
            "/.picluster./health",
        ] {
            assert!(is_private(target), "{target}");
        }
        for target in ["/", "/picluster", "/a/.picluster", "/?.picluster", "/.picluster2", "/%zz"] {
            assert!(!is_private(target), "{target}");
        }
    }
}
