//! Reads a request head: the request line, the fields, and the framing that follows from them. It
//! decides nothing about forwarding.

use httparse::{Error, Request, Status};

use super::fields::Fields;
use super::head::{HostRoom, Slots, ends_in_crlf, is_worth_reading};
use super::limits::{HEAD_BYTES_MAX, TARGET_BYTES_MAX};
use super::message::{Framing, Version};
use super::refusal::Refusal;
use super::semantics::{Semantics, Tolerance, interpret};
use super::target;

/// The empty lines that are skipped before a request line. RFC 9112 2.2 asks a server to skip at
/// least one, because old clients end a body with one too many.
const EMPTY_LINES_MAX: usize = 2;

/// The first bytes that an HTTP/2 client sends (RFC 9113 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A request head that every recipient understands in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead<'b> {
    /// The method, a token in which case is significant (RFC 9110 9.1). It is never CONNECT.
    pub method: &'b str,
    /// The target to forward, in visible ASCII without `#`. It starts with `/`, or with `?` if the
    /// path is empty ([`append_request_line`](super::append_request_line) writes the slash), or it
    /// is the `*` of an OPTIONS.
    pub target: &'b str,
    /// The version that the client speaks.
    pub version: Version,
    /// The Host to forward: the one in the target if that was in absolute-form (RFC 9112 3.2.2),
    /// else the value of the field. `None` only in HTTP/1.0.
    pub host: Option<&'b str>,
    /// All fields that were received, in their order.
    pub fields: Fields<'b>,
    /// The length of the body.
    pub framing: Framing,
    /// True if the client lets the connection persist (RFC 9112 9.3).
    pub keep_alive: bool,
    /// True if the client waits for a 100 before it sends its body (RFC 9110 10.1.1).
    pub expect_continue: bool,
    /// True if the client takes trailers behind the body of the answer. To pass that on, write
    /// `Connection: TE` and `TE: trailers` (RFC 9110 10.1.4).
    pub trailers: bool,
    /// The protocols to which the client offers to switch (RFC 9110 7.8). To forward the offer,
    /// write `Connection: upgrade` and this value as `Upgrade`.
    pub upgrade: Option<&'b [u8]>,
    /// The length of the head in bytes, with the empty lines before it and the one after it.
    pub len: usize,
}

/// Reads the request head at the start of `buf`. Returns `None` if the head is incomplete.
///
/// `seen` is the number of these bytes that an earlier call found incomplete, and 0 at first. It
/// spares reading everything again for each byte of a slow client. A fault is reported when its
/// line ends, at the latest. A head without an end within [`HEAD_BYTES_MAX`] is refused.
///
/// # Errors
///
/// Any [`Refusal`] that concerns a head. [`Refusal::Http2`] is for a caller that speaks HTTP/2: the
/// whole preface is still in `buf`.
///
/// # Examples
///
/// A head, and the body behind it:
///
/// ```
/// use picluster::http1::{Body, Slots, parse_request};
///
/// let bytes = b"POST /a HTTP/1.1\r\nHost: pi\r\nContent-Length: 5\r\n\r\nhelloGET / ";
/// let mut slots = Slots::new();
/// let head = parse_request(bytes, 0, &mut slots)?.expect("the head is complete");
/// assert_eq!((head.method, head.target, head.host), ("POST", "/a", Some("pi")));
///
/// let mut body = Body::new(head.framing);
/// let advance = body.advance(&bytes[head.len..])?;
/// assert_eq!((advance.consumed, advance.done), (5, true));
/// # Ok::<(), picluster::http1::Refusal>(())
/// ```
pub fn parse_request<'b>(
    buf: &'b [u8],
    seen: usize,
    slots: &'b mut Slots<'b>,
) -> Result<Option<RequestHead<'b>>, Refusal> {
    if !is_worth_reading(buf, seen) {
        return Ok(None);
    }
    let skipped = empty_lines(buf);
    let input = &buf[skipped..buf.len().min(HEAD_BYTES_MAX)];
    match input {
        [] | b"\r" => return Ok(None),
        // httparse would skip any number of empty lines, and bare LFs.
        [b'\r' | b'\n', ..] => return Err(Refusal::BadRequestLine),
        // A TLS record of the handshake type (RFC 8446 5.1).
        [0x16, ..] => return Err(Refusal::Tls),
        [b'P', b'R', b'I', ..] if input.starts_with(HTTP2_PREFACE) => return Err(Refusal::Http2),
        [b'P', b'R', b'I', ..] if HTTP2_PREFACE.starts_with(input) => return Ok(None),
        _ => {}
    }
    let mut request = Request::new(&mut []);
    let Slots { headers, host: room } = slots;
    let parsed = request.parse_with_uninit_headers(input, headers);
    // This comes first, so that a target that is too long is reported as that, whatever follows it.
    let target_len = match (request.method, request.path) {
        (_, Some(path)) => path.len(),
        (Some(method), None) if parsed == Ok(Status::Partial) => input.len() - method.len() - 1,
        _ => 0,
    };
    if target_len > TARGET_BYTES_MAX {
        return Err(Refusal::TargetTooLong);
    }
    match parsed {
        Ok(Status::Complete(len)) => understand(request, &input[..len], skipped, room).map(Some),
        // The whole line decides on the version.
        Err(Error::Version) if !input.contains(&b'\n') && buf.len() < HEAD_BYTES_MAX => Ok(None),
        Err(error) => Err(refusal(error, &request, input)),
        Ok(Status::Partial) if buf.len() >= HEAD_BYTES_MAX => Err(Refusal::HeadTooLong),
        Ok(Status::Partial) => Ok(None),
    }
}

/// Returns the number of bytes at the start of `buf` that are empty lines to skip.
fn empty_lines(buf: &[u8]) -> usize {
    let lines = buf.chunks(2).take(EMPTY_LINES_MAX).take_while(|line| line == b"\r\n");
    lines.count() * 2
}

/// Judges a head whose syntax `httparse` has accepted.
fn understand<'b>(
    request: Request<'b, 'b>,
    head: &[u8],
    skipped: usize,
    room: &'b mut HostRoom,
) -> Result<RequestHead<'b>, Refusal> {
    let Request { method, path, version, headers } = request;
    let version = Version::from_minor(version);
    // The request line and the empty line.
    if !ends_in_crlf(head, headers.len() + 2) {
        return Err(Refusal::BadLineEnd);
    }
    let (Some(method), Some(received)) = (method, path) else {
        return Err(Refusal::BadRequestLine);
    };
    if method == "CONNECT" {
        return Err(Refusal::Connect);
    }
    let (target, authority) = target::to_origin_form(method, received)?;
    let Semantics { fields, length, chunked, keep_alive, upgrade, trailers, host, expect, .. } =
        interpret(version, headers, Tolerance::None)?;
    if host.is_none() && version == Version::Http11 {
        return Err(Refusal::NoHost);
    }
    if let (Some(_), Some(unused)) = (authority, host) {
        target::parse_host(unused, &mut [0; 56])?;
    }
    let host = authority.map(str::as_bytes).or(host);
    let host = host.map(|host| target::parse_host(host, room)).transpose()?;
    // RFC 9112 6.3: a request without either has no body.
    let framing = match length {
        _ if chunked => Framing::Chunked,
        Some(bytes) => Framing::Length(bytes),
        None => Framing::None,
    };
    if expect.is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::BadExpectation);
    }
    // A client that has no body to send waits for nothing (RFC 9110 10.1.1).
    let expect_continue = expect.is_some() && !framing.is_empty();
    let len = skipped + head.len();
    Ok(RequestHead {
        method,
        target,
        version,
        host,
        fields,
        framing,
        keep_alive,
        expect_continue,
        trailers,
        upgrade,
        len,
    })
}

/// Translates an error of `httparse` for a request.
fn refusal(error: Error, request: &Request<'_, '_>, input: &[u8]) -> Refusal {
    match error {
        Error::HeaderName => Refusal::BadFieldName,
        Error::HeaderValue => Refusal::BadFieldValue,
        Error::TooManyHeaders => Refusal::TooManyFields,
        Error::Version if names_a_version(request, input) => Refusal::BadVersion,
        Error::NewLine => Refusal::BadLineEnd,
        _ => Refusal::BadRequestLine,
    }
}

/// Returns true if the request line ends in the form of a version: `HTTP/` DIGIT `.` DIGIT, in
/// which case is significant (RFC 9112 2.3).
fn names_a_version(request: &Request<'_, '_>, input: &[u8]) -> bool {
    let before = request.method.map_or(0, str::len) + request.path.map_or(0, str::len) + 2;
    let rest = input.get(before..).unwrap_or_default();
    let line = rest.split(|&b| matches!(b, b'\r' | b'\n')).next();
    matches!(line, Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::limits::HEADERS_MAX;
    use super::*;

    /// Returns the refusal of a head, or `None` if it is accepted. The head must be complete.
    fn refused(head: &str) -> Option<Refusal> {
        parse_request(head.as_bytes(), 0, &mut Slots::new()).map(|head| head.unwrap().len).err()
    }

    /// Returns the refusal of the fields of a request that is good otherwise.
    fn refused_with(fields: &str) -> Option<Refusal> {
        refused(&format!("GET / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n"))
    }

    #[test]
    fn a_plain_request_is_understood() {
        let bytes = b"\r\nPOST /a?b HTTP/1.1\r\nhost: pi:80 \r\nContent-Length: 5\r\n\
            Expect: 100-Continue\r\nX:\r\n\r\nhello";
        let mut slots = Slots::new();
        let head = parse_request(bytes, 0, &mut slots).unwrap().unwrap();
        assert_eq!((head.method, head.target, head.version), ("POST", "/a?b", Version::Http11));
        assert_eq!(head.host, Some("pi:80"));
        assert_eq!(head.framing, Framing::Length(5));
        assert!(head.keep_alive && head.expect_continue && head.upgrade.is_none());
        assert_eq!(&bytes[head.len..], b"hello");
        assert_eq!(head.fields.get("x"), Some(&b""[..]));
        assert_eq!(head.fields.len(), 4);
    }

    #[test]
    fn a_request_without_length_or_coding_has_no_body() {
        let mut slots = Slots::new();
        let head = parse_request(b"POST / HTTP/1.0\r\n\r\n", 0, &mut slots).unwrap().unwrap();
        assert_eq!((head.framing, head.host, head.keep_alive), (Framing::None, None, false));
        let mut slots = Slots::new();
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let head = parse_request(bytes, 0, &mut slots).unwrap().unwrap();
        assert_eq!(head.framing, Framing::Chunked);
    }

    #[test]
    fn a_target_in_absolute_form_brings_its_own_host() {
        let bytes = b"GET http://a/b HTTP/1.1\r\nHost: c\r\n\r\n";
        let mut slots = Slots::new();
        let head = parse_request(bytes, 0, &mut slots).unwrap().unwrap();
        assert_eq!((head.target, head.host), ("/b", Some("a")));
        let mut slots = Slots::new();
        let bytes = b"GET http://a?b HTTP/1.1\r\nHost: c\r\n\r\n";
        let head = parse_request(bytes, 0, &mut slots).unwrap().unwrap();
        assert_eq!((head.target, head.host), ("?b", Some("a")));
    }

    #[test]
    fn a_bad_request_line_is_refused() {
        for line in [
            "GET",
            "GET /",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            " GET / HTTP/1.1",
            "/ HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1.",
            "GET / HTTPS/1.1",
            "G(T / HTTP/1.1",
            "GET / a HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET /\0 HTTP/1.1",
            "\r\n\r\n\r\nGET / HTTP/1.1",
            "\nGET / HTTP/1.1",
            "SSH-2.0-x",
        ] {
            let got = refused(&format!("{line}\r\nHost: pi\r\n\r\n"));
            assert_eq!(got, Some(Refusal::BadRequestLine), "{line:?}");
        }
        for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3.0"] {
            let got = refused(&format!("GET / {version}\r\n\r\n"));
            assert_eq!(got, Some(Refusal::BadVersion), "{version}");
        }
        for line in ["GET / HTTP/1.1 ", "GET / HTTP/1.1.1"] {
            assert_eq!(refused(&format!("{line}\r\n\r\n")), Some(Refusal::BadLineEnd), "{line:?}");
        }
        assert_eq!(
            refused("GET /# HTTP/1.1\r\nHost: a\r\n\r\n"),
            Some(Refusal::BadTarget(Some(b'#')))
        );
        assert_eq!(
            refused("GET /é HTTP/1.1\r\nHost: a\r\n\r\n"),
            Some(Refusal::BadTarget(Some(0xc3)))
        );
        let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
        assert_eq!(refused(connect), Some(Refusal::Connect));
    }

    #[test]
    fn a_bare_cr_or_lf_is_refused_wherever_it_stands() {
        for head in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\rHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\rx",
        ] {
            assert_eq!(refused(head), Some(Refusal::BadLineEnd), "{head:?}");
        }
        assert_eq!(refused_with("A: b\rC: d\r\n"), Some(Refusal::BadFieldValue));
        assert_eq!(refused_with("A: b\r\r\n"), Some(Refusal::BadFieldValue));
        assert_eq!(refused_with("A:\rb\r\n"), Some(Refusal::BadFieldValue));
    }

    #[test]
    fn a_bad_field_is_refused() {
        for field in
            ["A : b", " A: b", "\tA: b", "A: b\r\n c", ": b", "A", "A\0: b", "é: b", "(: b"]
        {
            let got = refused_with(&format!("{field}\r\n"));
            assert_eq!(got, Some(Refusal::BadFieldName), "{field:?}");
        }
        for byte in (0..=0x1f_u8).chain([0x7f]).filter(|b| !b"\t\n".contains(b)) {
            let got = refused_with(&format!("A: b{}c\r\n", char::from(byte)));
            assert_eq!(got, Some(Refusal::BadFieldValue), "{byte:#x}");
        }
        assert_eq!(refused_with("A: \tb\té \r\n"), None);
        // RFC 9112 2.2: space before the first field.
        for line in [" Host: a", "\tHost: a", " ", " \r\n"] {
            let got = refused(&format!("GET / HTTP/1.1\r\n{line}\r\nHost: a\r\n\r\n"));
            assert_eq!(got, Some(Refusal::BadFieldName), "{line:?}");
        }
    }

    #[test]
    fn a_request_has_exactly_one_valid_host() {
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), Some(Refusal::NoHost));
        assert_eq!(refused("GET http://a/ HTTP/1.1\r\n\r\n"), Some(Refusal::NoHost));
        assert_eq!(refused_with("host: pi\r\n"), Some(Refusal::ManyHosts));
        assert_eq!(refused("GET / HTTP/1.1\r\nHost:\r\n\r\n"), Some(Refusal::BadHost(None)));
        assert_eq!(
            refused("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n"),
            Some(Refusal::BadHost(Some(b'/')))
        );
    }

    #[test]
    fn an_expectation_is_100_continue() {
        assert_eq!(refused_with("Expect: 200-ok\r\n"), Some(Refusal::BadExpectation));
        assert_eq!(
            refused_with(&"Expect: 100-continue\r\n".repeat(2)),
            Some(Refusal::BadExpectation)
        );
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
        let mut slots = Slots::new();
        let head = parse_request(bytes, 0, &mut slots).unwrap().unwrap();
        assert!(!head.expect_continue, "a client that has nothing to send waits for nothing");
    }

    #[test]
    fn an_expectation_of_http_1_0_is_ignored_and_not_forwarded() {
        let bytes =
            b"PUT / HTTP/1.0\r\nContent-Length: 1\r\nExpect: x\r\nExpect: 100-continue\r\n\r\n";
        let mut slots = Slots::new();
        let head = parse_request(bytes, 0, &mut slots).unwrap().unwrap();
        assert!(!head.expect_continue);
        assert_eq!(
            head.fields.end_to_end().map(|f| f.name).collect::<Vec<_>>(),
            ["Content-Length"]
        );
    }

    #[test]
    fn every_bound_holds() {
        assert_eq!(refused_with(&"A: b\r\n".repeat(HEADERS_MAX - 1)), None);
        assert_eq!(refused_with(&"A: b\r\n".repeat(HEADERS_MAX)), Some(Refusal::TooManyFields));
        let target = |len| format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(len - 1));
        assert_eq!(refused(&target(TARGET_BYTES_MAX)), None);
        assert_eq!(refused(&target(TARGET_BYTES_MAX + 1)), Some(Refusal::TargetTooLong));
        let head = |len: usize| format!("GET / HTTP/1.0\r\nA: {}\r\n\r\n", "a".repeat(len - 23));
        assert_eq!(refused(&head(HEAD_BYTES_MAX)), None);
        assert_eq!(refused(&head(HEAD_BYTES_MAX + 1)), Some(Refusal::HeadTooLong));
    }

    #[test]
    fn bytes_that_cannot_become_a_request_are_refused_before_they_end() {
        let early =
            |bytes: &[u8]| parse_request(bytes, 0, &mut Slots::new()).map(|head| head.is_some());
        assert_eq!(early(b"\x16\x03\x01"), Err(Refusal::Tls));
        assert_eq!(early(b"\0"), Err(Refusal::BadRequestLine));
        assert_eq!(early(b"GET / HTTP/1.1\r\n\0"), Err(Refusal::BadFieldName));
        let long = format!("GET /{}", "a".repeat(TARGET_BYTES_MAX));
        assert_eq!(early(long.as_bytes()), Err(Refusal::TargetTooLong));
        let empty = format!("GET \r\n{}", "a".repeat(TARGET_BYTES_MAX));
        assert_eq!(early(empty.as_bytes()), Err(Refusal::BadRequestLine));
        assert_eq!(early(&vec![b'A'; HEAD_BYTES_MAX]), Err(Refusal::HeadTooLong));
        assert_eq!(early(&vec![b'A'; HEAD_BYTES_MAX - 1]), Ok(false));
        assert_eq!(early(b"GET / HTTP/2"), Ok(false));
        for len in 0..HTTP2_PREFACE.len() {
            assert_eq!(early(&HTTP2_PREFACE[..len]), Ok(false));
        }
        assert_eq!(early(HTTP2_PREFACE), Err(Refusal::Http2));
        assert_eq!(early(b"PRI * HTTP/2.0\r\n\r\nXX"), Err(Refusal::BadVersion));
    }

    /// Makes bytes that are nearly a head: pieces of heads, good and bad, in any order.
    fn nearly_a_head() -> impl Strategy<Value = Vec<u8>> {
        let pieces: &[&[u8]] = &[
            b"GET / HTTP/1.1\r\n",
            b"POST http://a/b HTTP/1.0\r\n",
            b"Host: pi\r\n",
            b"A: b\r\n",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Connection: a\r\n",
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b" ",
            b"\0",
            b"A",
            b": ",
            b"\xff",
            b"PRI * HTTP/2.0\r\n",
        ];
        prop::collection::vec(prop::sample::select(pieces), 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes: Vec<u8>, seen: usize) {
            let _ = parse_request(&bytes, 0, &mut Slots::new());
            let _ = parse_request(&bytes, seen, &mut Slots::new());
        }

        #[test]
        fn a_head_in_pieces_is_judged_like_a_whole_one(
            mut bytes in nearly_a_head(),
            steps in prop::collection::vec(1_usize..20, 200),
        ) {
            // A fault in a line shows at the latest when the line ends.
            bytes.push(b'\n');
            let mut slots = Slots::new();
            let whole = parse_request(&bytes, 0, &mut slots);
            let mut seen = 0;
            for step in steps {
                let len = bytes.len().min(seen + step);
                let mut slots = Slots::new();
                let part = parse_request(&bytes[..len], seen, &mut slots);
                if part != Ok(None) || len == bytes.len() {
                    prop_assert_eq!(part, whole);
                    break;
                }
                seen = len;
            }
        }
    }
}
