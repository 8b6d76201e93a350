//! The heads that go on: which fields are kept, which are ours. Public for the bench and the fuzz
//! targets of the codec alone.

use std::net::{IpAddr, SocketAddr};

use crate::cluster::config::TrustedProxies;
use crate::cluster::node::StickyKey;
use crate::cluster::protocol::{HEADER_PREFIX, NODE_HEADER_WRITTEN};
use crate::http1::{
    Field, Fields, Framing, RequestHead, ResponseHead, Version, append_field, append_number,
    append_request_line, append_status_line,
};
use crate::proxy::affinity;

/// Who sends the requests of a connection: what they all say of it is rendered once, and copied
/// into each.
pub struct Forwarding {
    /// Three lines: `X-Forwarded-For`, `X-Forwarded-Proto`, and `Forwarded` without its end, for it
    /// still lacks the host.
    lines: Box<str>,
    /// What the sender says of those before it is believed.
    trusted: bool,
}

impl Forwarding {
    /// For who connects from `ip` over plain TCP. `trusted` is whether it is one of the user's own
    /// proxies.
    pub fn new(ip: IpAddr, trusted: bool) -> Self {
        Self { trusted, ..Self::of_client(ip, false) }
    }

    /// For a client at `ip`, who is believed nothing; `tls` is whether it came by TLS.
    pub(crate) fn of_client(ip: IpAddr, tls: bool) -> Self {
        let ip = ip.to_canonical();
        // RFC 7239 section 6: an IPv6 address is bracketed, and quoted for its colons.
        let node = if ip.is_ipv6() { format!("\"[{ip}]\"") } else { ip.to_string() };
        let proto = if tls { "https" } else { "http" };
        let lines = format!(
            "X-Forwarded-For: {ip}\r\nX-Forwarded-Proto: {proto}\r\nForwarded: for={node};proto={proto}"
        );
        Self { lines: lines.into(), trusted: false }
    }

    /// The address that requests are forwarded for.
    pub(crate) fn client(&self) -> &str {
        let start = self.lines.split("\r\n").next();
        start.and_then(|line| line.split_once(": ")).unwrap_or_default().1
    }

    /// Who a trusted proxy says its client is: the last address of `X-Forwarded-For` that is not
    /// itself a trusted proxy's, as far as all behind it are.
    pub(crate) fn named_client(
        &self,
        head: &RequestHead<'_>,
        proxies: &TrustedProxies,
    ) -> Option<IpAddr> {
        let said = |field: &Field<'_>| field.name.eq_ignore_ascii_case("x-forwarded-for");
        let fields: Vec<_> = head.fields.end_to_end().filter(said).map(|f| f.value).collect();
        let entries = fields.iter().rev().flat_map(|value| value.rsplit(|&b| b == b','));
        let addresses = entries.map_while(|entry| {
            let entry = str::from_utf8(entry).ok()?.trim();
            entry.parse().or_else(|_| entry.parse().map(|addr: SocketAddr| addr.ip())).ok()
        });
        addresses.filter(|_| self.trusted).find(|ip| !proxies.contains(*ip))
    }

    /// The id with which a request goes on: that of a trusted proxy, or ours.
    pub(crate) fn request_id(&self, head: &RequestHead<'_>, ours: u128) -> String {
        let ours = hex(ours);
        String::from_utf8_lossy(self.believed_id(head).unwrap_or(&ours)).into_owned()
    }

    fn believed_id<'b>(&self, head: &RequestHead<'b>) -> Option<&'b [u8]> {
        if !self.trusted {
            return None;
        }
        let is_id = |field: &Field<'_>| field.name.eq_ignore_ascii_case(REQUEST_ID);
        head.fields.end_to_end().find(is_id).map(|field| field.value)
    }

    /// Appends what is known of the way here: from a client nothing but who it is, from a trusted
    /// proxy what it says with our own entry behind it.
    fn append(&self, head: &RequestHead<'_>, out: &mut Vec<u8>) {
        let host = head.host.unwrap_or_default();
        if self.trusted {
            return self.append_behind(head, host, out);
        }
        out.extend_from_slice(self.lines.as_bytes());
        append_host(host, out);
        out.extend_from_slice(b"\r\n");
        if !host.is_empty() {
            append_field(out, "X-Forwarded-Host", host.as_bytes());
        }
    }

    fn append_behind(&self, head: &RequestHead<'_>, host: &str, out: &mut Vec<u8>) {
        let says = |name| is_forwarded(head, name);
        for line in self.lines.split("\r\n") {
            let (name, own) = line.split_once(": ").unwrap_or_default();
            match name {
                "X-Forwarded-Proto" if says(name) => {}
                "X-Forwarded-Proto" => append_field(out, name, own.as_bytes()),
                _ => {
                    append_list(name, &head.fields, own, out);
                    if name == "Forwarded" {
                        append_host(host, out);
                    }
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        if !host.is_empty() && !says("X-Forwarded-Host") {
            append_field(out, "X-Forwarded-Host", host.as_bytes());
        }
    }
}

/// Whether a field of this name came and was not named away by Connection.
fn is_forwarded(head: &RequestHead<'_>, name: &str) -> bool {
    head.fields.end_to_end().any(|field| field.name.eq_ignore_ascii_case(name))
}

/// Ends an entry of `Forwarded` with the host that was asked for; quoted, because it may have a
/// port. What passed as a Host has neither a quote nor a backslash.
fn append_host(host: &str, out: &mut Vec<u8>) {
    if !host.is_empty() {
        for part in [";host=\"", host, "\""] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// Appends `name: ` and all that came under this name as one list, ours last, without a line end.
/// Connection cannot name these fields away: they are read here, not forwarded. What ends within
/// quotes is left out, for ours would stand in them too.
fn append_list(name: &str, fields: &Fields<'_>, own: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let same = |field: &Field<'_>| field.name.eq_ignore_ascii_case(name);
    let goes_on =
        |field: &Field<'_>| !field.value.is_empty() && is_unquoted_at_its_end(field.value);
    for field in fields.iter().filter(same).filter(goes_on) {
        out.extend_from_slice(field.value);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(own.as_bytes());
}

/// Whether each quoted string in it is closed (RFC 9110 section 5.6.4).
fn is_unquoted_at_its_end(value: &[u8]) -> bool {
    let (mut quoted, mut bytes) = (false, value.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => drop(bytes.next()),
            _ => {}
        }
    }
    !quoted
}

/// What the balancer adds to a request.
#[derive(Clone, Copy)]
pub struct Added<'a> {
    /// Who sent it.
    pub forwarding: &'a Forwarding,
    /// Our pseudonym in `Via`.
    pub via: &'a str,
    /// Drawn once a request, so that all its attempts have the same.
    pub request_id: u128,
    /// So many bytes of its target, the path of its route, go no further.
    pub strip: usize,
}

/// Writes the request as the node gets it: HTTP/1.1, Host first, the client's end-to-end fields in
/// their order, then ours.
///
/// What a client says of its own way here is dropped, because nobody knows whether it is true;
/// what a trusted proxy says is kept. `x-picluster-*`, which is between balancer and node, is
/// nobody's to send.
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

/// A target without the first bytes of its path, and these. What is left begins with one slash: a
/// second one would make a host of the first segment where an application sends its client on.
pub(crate) fn stripped(target: &str, strip: usize) -> (&str, &str) {
    let (prefix, rest) = target.split_at_checked(strip).unwrap_or(("", target));
    if prefix.is_empty() || !rest.starts_with('/') {
        // Empty, or a query: its slash is written with the request line.
        return (prefix, if rest.is_empty() { "/" } else { rest });
    }
    let slashes = rest.bytes().take_while(|&b| b == b'/').count();
    (prefix, &rest[slashes - 1..])
}

/// How many more hops a request may make. The limit is for those that ask about the way itself
/// (RFC 9110 section 7.6.2); what is no number is no limit.
pub(crate) fn hops_left(head: &RequestHead<'_>) -> Option<u64> {
    if !matches!(head.method, "OPTIONS" | "TRACE") {
        return None;
    }
    let value = str::from_utf8(head.fields.get(MAX_FORWARDS)?).ok()?;
    value.bytes().all(|digit| digit.is_ascii_digit()).then(|| value.parse().ok()).flatten()
}

const MAX_FORWARDS: &str = "Max-Forwards";

/// By which a request is found in the logs of all it passed.
const REQUEST_ID: &str = "X-Request-Id";

/// A number as 32 hexadecimal digits.
fn hex(number: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&HEX[usize::from(byte)]);
    }
    digits
}

/// The two digits of each byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

/// The protocols that are offered on to the node. With a body the switch would come behind it;
/// nobody does that, so the offer is dropped, which a server may always do (RFC 9110 section 7.8).
pub(crate) fn offered<'b>(head: &RequestHead<'b>) -> Option<&'b [u8]> {
    head.upgrade.filter(|_| head.framing.is_empty())
}

/// Whether a node that switches to these protocols was offered all of them (RFC 9110 section 7.8).
pub(crate) fn is_offered(head: &RequestHead<'_>, switched_to: &[u8]) -> bool {
    let each = |list| <[u8]>::split(list, |&b| b == b',').map(<[u8]>::trim_ascii);
    let offers = offered(head).unwrap_or_default();
    each(switched_to).all(|protocol| each(offers).any(|offer| offer.eq_ignore_ascii_case(protocol)))
}

/// What becomes of a field that came with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It goes on as it came.
    Passes,
    /// It goes on if a trusted proxy sent it, in place of what we would say.
    IsBelieved,
    /// It is a list; if a trusted proxy sent it, ours is written behind it.
    IsContinued,
    /// It goes no further, whoever sent it.
    Ends,
}

/// `_` counts as `-` where a field ends here: CGI and its heirs (PHP, WSGI) cannot tell them apart,
/// so a client could say by one what it may not say by the other.
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
        // X-Real-IP and the many of X-Forwarded (-Port, -Prefix, -Server): not ours to send, but
        // applications that find one take it for a proxy's word.
        Some(b'x' | b'X') if begins("x-forwarded-") || is("x-real-ip") || is("x-request-id") => {
            unless_misspelt(Fate::IsBelieved)
        }
        Some(b'f' | b'F') if is("forwarded") => Fate::IsContinued,
        // What frames a body, misspelt: these are fields like any other, but not to CGI.
        Some(b't' | b'T') if is("transfer-encoding") => Fate::Ends,
        Some(b'c' | b'C') if is("content-length") => unless_misspelt(Fate::Passes),
        _ => Fate::Passes,
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
    /// The node that the client shall stick to from now on, if it does not yet, and its service.
    pub sticks_to: Option<(&'a str, StickyKey)>,
}

/// Writes the answer's head as the client gets it: the node's end-to-end fields in their order,
/// then ours. `X-Picluster-Node` is set, not appended.
pub fn write_answer(head: &ResponseHead<'_>, form: AnswerForm<'_>, out: &mut Vec<u8>) {
    append_status_line(out, head.status, head.reason);
    // Also where it is switched off: `picluster web` writes one itself.
    let replaced = |name: &str| name.eq_ignore_ascii_case(NODE_HEADER_WRITTEN);
    for field in head.fields.end_to_end().filter(|field| !replaced(field.name)) {
        append_field(out, field.name, field.value);
    }
    // HTTP/1.0 knows no chunks; the body is given without them and ends with the connection.
    if head.framing == Framing::Chunked && !form.http10 {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if let Some(node) = form.node {
        append_field(out, NODE_HEADER_WRITTEN, node.as_bytes());
    }
    if let Some((service, mark)) = form.sticks_to {
        affinity::append_cookie(service, mark, out);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Slots, parse_request, parse_response};

    fn request_from(ip: &str, trusted: bool, text: &str) -> String {
        let mut slots = Slots::new();
        let head = parse_request(text.as_bytes(), 0, &mut slots).expect("valid").expect("whole");
        let mut out = Vec::new();
        let forwarding = Forwarding::new(ip.parse().expect("an address"), trusted);
        let added =
            Added { forwarding: &forwarding, via: "front", request_id: 0x0123_4567_89ab, strip: 0 };
        write_request(&head, added, &mut out);
        String::from_utf8(out).expect("the inputs are text")
    }

    fn request(text: &str) -> String {
        request_from("10.0.0.9", false, text)
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
             X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: http\r\n\
             Forwarded: for=10.0.0.9;proto=http;host=\"pi\"\r\nX-Forwarded-Host: pi\r\n\
             X-Request-Id: 000000000000000000000123456789ab\r\nVia: 1.1 front\r\n\r\n";
        assert_eq!(got, expected);
    }

    #[test]
    fn the_forwarding_fields_of_a_client_are_replaced() {
        let got = request(
            "GET / HTTP/1.1\r\nHost: pi\r\nX-Forwarded-For: 1.2.3.4\r\nFORWARDED: for=x\r\n\
             x-forwarded-host: evil\r\nX_Forwarded_For: 9\r\nx_picluster_node: 9\r\n\
             X-Real-Ip: 1.2.3.4\r\nx-forwarded-port: evil\r\nx-request-id: evil\r\nX_Real-IP: 9\r\n\
             Transfer_Encoding: chunked\r\nContent_Length: 9\r\nX-Picluster-Node: me\r\nVia: 1.1 other\r\n\r\n",
        );
        assert!(!got.contains("1.2.3.4") && !got.contains("for=x"), "{got}");
        assert!(!got.contains("evil") && !got.to_lowercase().contains("x-picluster"), "{got}");
        assert!(!got.contains('_'), "{got}");
        assert!(got.contains("Via: 1.1 other\r\n") && got.contains("Via: 1.1 front\r\n"), "{got}");
    }

    #[test]
    fn the_forwarding_fields_of_a_trusted_proxy_are_kept_and_continued() {
        let got = request_from(
            "fd00::9",
            true,
            "GET / HTTP/1.1\r\nHost: pi:80\r\nX-Forwarded-For: 1.2.3.4\r\nA: 1\r\n\
             x-forwarded-for: 5.6.7.8, 9.9.9.9\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
             X-Request-Id: theirs\r\nX-Real-IP: 1.2.3.4\r\nX-Picluster-Node: me\r\n\
             X_Forwarded_For: 9\r\nConnection: x-forwarded-for\r\n\r\n",
        );
        let expected = "GET / HTTP/1.1\r\nHost: pi:80\r\nA: 1\r\nX-Forwarded-Proto: https\r\n\
             X-Request-Id: theirs\r\nX-Real-IP: 1.2.3.4\r\n\
             X-Forwarded-For: 1.2.3.4, 5.6.7.8, 9.9.9.9, fd00::9\r\n\
             Forwarded: for=1.2.3.4, for=\"[fd00::9]\";proto=http;host=\"pi:80\"\r\n\
             X-Forwarded-Host: pi:80\r\nVia: 1.1 front\r\n\r\n";
        assert_eq!(got, expected);
    }

    #[test]
    fn a_field_that_ends_within_quotes_does_not_take_our_entry_into_them() {
        let forwarded = |came: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{came}\r\n");
            let got = request_from("10.0.0.9", true, &text);
            let line = got.lines().find_map(|line| line.strip_prefix("Forwarded: "));
            line.expect("it is always said").to_owned()
        };
        let ours = "for=10.0.0.9;proto=http;host=\"a\"";
        assert_eq!(forwarded("Forwarded: for=\"1.1.1.1\r\n"), ours);
        assert_eq!(forwarded("Forwarded: for=\"1.1.1.1\\\"\r\n"), ours);
        let good = "for=\"[::1]\";x=\"\\\"\"";
        assert_eq!(forwarded(&format!("Forwarded: {good}\r\n")), format!("{good}, {ours}"));
    }

    #[test]
    fn a_hop_is_counted_down_only_where_it_is_asked_for() {
        let sent = |method: &str, hops: &str| {
            let text = format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {hops}\r\n\r\n");
            let got = request(&text);
            let line = got.lines().find_map(|line| line.strip_prefix("Max-Forwards: "));
            line.expect("it goes on").to_owned()
        };
        assert_eq!((sent("OPTIONS", "5"), sent("TRACE", "1")), ("4".into(), "0".into()));
        assert_eq!((sent("GET", "5"), sent("OPTIONS", "x")), ("5".into(), "x".into()));
        assert_eq!(sent("TRACE", "99999999999999999999"), "99999999999999999999");
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let proxies = TrustedProxies {
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..TrustedProxies::default()
        };
        for (said, trusted, client) in [
            ("X-Forwarded-For: 1.2.3.4\r\n", true, Some("1.2.3.4")),
            ("X-Forwarded-For: 9.9.9.9, 1.2.3.4, 10.0.0.7\r\n", true, Some("1.2.3.4")),
            ("X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 1.2.3.4:80\r\n", true, Some("1.2.3.4")),
            ("X-Forwarded-For: [2001:db8::7]:80\r\n", true, Some("2001:db8::7")),
            ("X-Forwarded-For: 1.2.3.4, unknown\r\n", true, None),
            ("X-Forwarded-For: 10.0.0.7\r\n", true, None),
            ("X-Forwarded-For: \r\n", true, None),
            ("", true, None),
            ("X-Forwarded-For: 1.2.3.4\r\n", false, None),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: pi\r\n{said}\r\n");
            let mut slots = Slots::new();
            let head = parse_request(text.as_bytes(), 0, &mut slots).unwrap().unwrap();
            let forwarding = Forwarding::new([10, 0, 0, 1].into(), trusted);
            let expected = client.map(|client: &str| client.parse().unwrap());
            assert_eq!(forwarding.named_client(&head, &proxies), expected, "{said}");
        }
    }

    #[test]
    fn a_trusted_proxy_that_says_nothing_is_named_like_a_client() {
        let text = "GET / HTTP/1.1\r\nHost: pi\r\nForwarded: \r\n\r\n";
        assert_eq!(
            request_from("10.0.0.9", true, text),
            request("GET / HTTP/1.1\r\nHost: pi\r\n\r\n")
        );
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
        let form = AnswerForm { close: false, http10: false, node: Some("ada"), sticks_to: None };
        let expected = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Picluster-Node: ada\r\n\r\n";
        assert_eq!(answer(text, form), expected);
        let off = AnswerForm { node: None, ..form };
        assert_eq!(answer(text, off), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn a_client_of_1_0_gets_no_chunks_and_learns_if_its_connection_is_kept() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let form = AnswerForm { close: true, http10: true, node: None, sticks_to: None };
        assert_eq!(answer(text, form), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        let kept = AnswerForm { close: false, ..form };
        let got = answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", kept);
        assert!(got.ends_with("\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn an_answer_that_names_protocols_says_close_too_and_a_101_does_not() {
        let form = AnswerForm { close: true, http10: false, node: None, sticks_to: None };
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
}
