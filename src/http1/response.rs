//! Reads a response head: the status line, the fields, and the framing that follows from them. It
//! decides nothing about forwarding.

use httparse::{Error, Response, Status};

use super::fields::Fields;
use super::head::{Slots, ends_in_crlf, is_worth_reading};
use super::limits::HEAD_BYTES_MAX;
use super::message::{Framing, Version};
use super::refusal::Refusal;
use super::semantics::{Semantics, Tolerance, first_length, interpret};

/// A response head that every recipient understands in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead<'b> {
    /// The version that the node speaks.
    pub version: Version,
    /// The status, from 100 to 599.
    pub status: u16,
    /// The reason phrase, unchanged and often empty. It has no control byte but HTAB.
    pub reason: &'b [u8],
    /// All fields that were received, in their order. The fields to forward of a response that can
    /// have no body, 1xx and 204, are without Content-Length (RFC 9110 8.6); those of an answer to
    /// HEAD and of a 304 keep it.
    pub fields: Fields<'b>,
    /// The length of the body.
    pub framing: Framing,
    /// True if the node stated its Content-Length more than once. The fields to forward are without it
    /// then, and [`restated_length`](Self::restated_length) is to be written.
    restates_length: bool,
    /// True if the connection can take another request after the body (RFC 9112 9.3). Never after a
    /// head that was not in the strict form.
    pub keep_alive: bool,
    /// The protocols of a 101, which always names some, or of a 426. To forward them, write
    /// `Connection: upgrade` and this value as `Upgrade`. In other responses they advertise
    /// something about the connection to the node alone, and this is `None`.
    pub upgrade: Option<&'b [u8]>,
    /// The length of the head in bytes, with the empty line after it.
    pub len: usize,
}

impl ResponseHead<'_> {
    /// Returns true if the head of the final response is still to follow (RFC 9110 15.2). A 101 is
    /// final: the bytes after it are no longer HTTP/1.
    pub const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Returns the Content-Length to write, where the node stated it more than once.
    pub fn restated_length(&self) -> Option<u64> {
        if !self.restates_length {
            return None;
        }
        self.fields.get("content-length").and_then(first_length)
    }
}

/// Reads the response head at the start of `buf`. Returns `None` if the head is incomplete.
///
/// `seen` is the number of these bytes that an earlier call found incomplete, and 0 at first.
/// `head_request` is true for the response to a HEAD, which has no body even if its fields announce
/// one.
///
/// # Errors
///
/// Any [`Refusal`] that concerns a head. The client gets a 502 for it.
#[inline]
pub fn parse_response<'b>(
    buf: &'b [u8],
    seen: usize,
    slots: &'b mut Slots<'b>,
    head_request: bool,
) -> Result<Option<ResponseHead<'b>>, Refusal> {
    if !is_worth_reading(buf, seen) {
        return Ok(None);
    }
    let input = &buf[..buf.len().min(HEAD_BYTES_MAX)];
    // httparse would skip empty lines, which nothing allows before a response (RFC 9112 2.2).
    if matches!(input, [b'\r' | b'\n', ..]) {
        return Err(Refusal::BadStatusLine);
    }
    let mut response = Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        input,
        &mut slots.headers,
    );
    match parsed {
        Ok(Status::Complete(len)) => understand(response, &input[..len], head_request).map(Some),
        Ok(Status::Partial) if buf.len() >= HEAD_BYTES_MAX => Err(Refusal::HeadTooLong),
        Ok(Status::Partial) => Ok(None),
        Err(Error::HeaderName) => Err(Refusal::BadFieldName),
        Err(Error::HeaderValue) => Err(Refusal::BadFieldValue),
        Err(Error::TooManyHeaders) => Err(Refusal::TooManyFields),
        Err(Error::NewLine) => Err(Refusal::BadLineEnd),
        Err(Error::Status | Error::Token | Error::Version) => Err(Refusal::BadStatusLine),
    }
}

/// Judges a head whose syntax `httparse` has accepted.
fn understand<'b>(
    response: Response<'b, 'b>,
    head: &'b [u8],
    head_request: bool,
) -> Result<ResponseHead<'b>, Refusal> {
    let Response { version, code, headers, .. } = response;
    let version = Version::from_minor(version);
    // RFC 9112 2.2: every line may end in a bare LF. A head in which some do has two meanings.
    let bare_lf = !ends_in_crlf(head, headers.len() + 2);
    if bare_lf && head.contains(&b'\r') {
        return Err(Refusal::BadLineEnd);
    }
    // RFC 9110 15: a status outside this range is invalid, and counts as a 5xx.
    let status = code.filter(|code| (100..600).contains(code));
    let status = status.ok_or(Refusal::BadStatusLine)?;
    let Semantics { mut fields, length, chunked, loose, keep_alive, upgrade, .. } =
        interpret(version, headers, Tolerance::SingleMeaning)?;
    let is_bodiless = status < 200 || status == 204;
    if is_bodiless && length.is_some() {
        fields.withhold_length();
    }
    if status == 101 && upgrade.is_none() {
        return Err(Refusal::BadSwitch);
    }
    // Only these two ask the recipient for something (RFC 9110 7.8, 15.5.22).
    let upgrade = upgrade.filter(|_| matches!(status, 101 | 426));
    // RFC 9112 6.3, in its order. A 205 is none of the exceptions: it should have no content
    // (RFC 9110 15.3.6), but its fields must announce that.
    let framing = match length {
        _ if head_request || is_bodiless || status == 304 => Framing::None,
        _ if chunked => Framing::Chunked,
        Some(bytes) => Framing::Length(bytes),
        None => Framing::Close,
    };
    // A response that can have no body must not announce one (RFC 9110 8.6, RFC 9112 6.1). A node
    // that did so may still send it, and it would be read as the next response.
    let announced = is_bodiless && (chunked || length.is_some_and(|bytes| bytes > 0));
    let is_strict = !bare_lf && !loose;
    let keep_alive = keep_alive && framing != Framing::Close && !announced && is_strict;
    let restates_length = loose && length.is_some() && !is_bodiless;
    let (reason, len) = (reason(head), head.len());
    Ok(ResponseHead {
        version,
        status,
        reason,
        fields,
        framing,
        restates_length,
        keep_alive,
        upgrade,
        len,
    })
}

/// Returns the reason phrase, which follows `HTTP/1.1 200 `. `httparse` leaves it out if it has
/// obs-text. RFC 9112 4 wants the space even if no reason follows; it costs nothing to accept a
/// line without it.
fn reason(head: &[u8]) -> &[u8] {
    let rest = head.get(13..).unwrap_or_default();
    let end = rest.iter().position(|&b| matches!(b, b'\r' | b'\n')).unwrap_or(0);
    if head.get(12) == Some(&b' ') { &rest[..end] } else { b"" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns status, framing, persistence and length of a head, or its refusal.
    fn read(head: &str, head_request: bool) -> Result<(u16, Framing, bool, usize), Refusal> {
        let mut slots = Slots::new();
        let head = parse_response(head.as_bytes(), 0, &mut slots, head_request)?.unwrap();
        Ok((head.status, head.framing, head.keep_alive, head.len))
    }

    fn framing(line_and_fields: &str) -> Result<(Framing, bool), Refusal> {
        let head = format!("HTTP/1.1 {line_and_fields}\r\n\r\n");
        read(&head, false).map(|(_, framing, keep_alive, _)| (framing, keep_alive))
    }

    #[test]
    fn the_length_of_a_body_follows_from_status_and_fields() {
        use Framing::{Chunked, Close, Length, None};
        assert_eq!(framing("200 OK\r\nContent-Length: 5"), Ok((Length(5), true)));
        assert_eq!(framing("200 OK\r\nTransfer-Encoding: Chunked"), Ok((Chunked, true)));
        assert_eq!(framing("200 OK"), Ok((Close, false)));
        assert_eq!(framing("205 Reset Content\r\nContent-Length: 0"), Ok((Length(0), true)));
        assert_eq!(framing("205 Reset Content"), Ok((Close, false)));
        assert_eq!(framing("204 No Content"), Ok((None, true)));
        assert_eq!(framing("204 No Content\r\nContent-Length: 0"), Ok((None, true)));
        assert_eq!(framing("304 Not Modified\r\nTransfer-Encoding: chunked"), Ok((None, true)));
        assert_eq!(framing("304 Not Modified\r\nContent-Length: 5"), Ok((None, true)));
        assert_eq!(framing("103 Early Hints"), Ok((None, true)));
        assert_eq!(
            framing("200 OK\r\nConnection: close\r\nContent-Length: 0"),
            Ok((Length(0), false))
        );
        let head = read("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", true);
        assert_eq!(head, Ok((200, None, false, 38)));
        let head =
            read("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", false);
        assert_eq!(head.map(|head| head.2), Ok(true));
    }

    #[test]
    fn a_node_that_announces_a_body_where_none_can_be_gets_no_further_request() {
        for status in ["204 No Content", "103 Early Hints"] {
            for field in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
                let got = framing(&format!("{status}\r\n{field}"));
                assert_eq!(got, Ok((Framing::None, false)), "{status} {field}");
            }
        }
    }

    #[test]
    fn an_answer_is_held_to_the_rules_of_a_request() {
        assert_eq!(framing("200 OK\r\nContent-Length: 5, 6"), Err(Refusal::BadLength));
        assert_eq!(framing("200 OK\r\nTransfer-Encoding: gzip, chunked"), Err(Refusal::BadCoding));
        assert_eq!(framing("200 OK\r\nA : b"), Err(Refusal::BadFieldName));
        // RFC 9112 5.2: a folded line of an answer may be refused or made one line.
        assert_eq!(framing("200 OK\r\nA: b\r\n c"), Err(Refusal::BadFieldName));
        assert_eq!(framing("200 OK\r\n A: b"), Err(Refusal::BadFieldName));
        assert_eq!(framing("200 OK\r\nA: b\rc"), Err(Refusal::BadFieldValue));
        assert_eq!(framing("200 OK\r\nA: b\0"), Err(Refusal::BadFieldValue));
        assert_eq!(framing("200 OK\nA: b"), Err(Refusal::BadLineEnd), "a part of its lines");
        let old = read("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false);
        assert_eq!(old, Err(Refusal::BadCoding));
    }

    #[test]
    fn an_answer_with_one_meaning_is_taken_and_ends_its_connection() {
        let restated = |head: &str| {
            let mut slots = Slots::new();
            let head = parse_response(head.as_bytes(), 0, &mut slots, false)?.unwrap();
            let lengths = head.fields.end_to_end().filter(|field| field.name == "Content-Length");
            assert_eq!(
                lengths.count(),
                usize::from(head.keep_alive && head.framing != Framing::Chunked)
            );
            Ok((head.framing, head.keep_alive, head.restated_length()))
        };
        let five = Ok((Framing::Length(5), false, Some(5)));
        let line = "HTTP/1.1 200 OK\r\nContent-Length: 5";
        assert_eq!(restated(&format!("{line}\r\nContent-Length: 5\r\n\r\n")), five);
        assert_eq!(restated(&format!("{line}, 05 ,5\r\n\r\n")), five);
        assert_eq!(restated(&format!("{line}\r\nContent-Length: 5, 5\r\n\r\n")), five);
        let chunked = "Transfer-Encoding: chunked";
        assert_eq!(
            restated(&format!("{line}\r\n{chunked}\r\n\r\n")),
            Ok((Framing::Chunked, false, None))
        );
        for (other, refusal) in [
            ("6", Refusal::BadLength),
            ("5,", Refusal::BadLength),
            ("+5", Refusal::BadLength),
            ("", Refusal::BadLength),
            ("5;5", Refusal::BadLength),
        ] {
            let head = format!("{line}\r\nContent-Length: {other}\r\n\r\n");
            assert_eq!(restated(&head), Err(refusal), "{other}");
        }
    }

    #[test]
    fn a_head_ends_all_its_lines_in_one_way_or_is_refused() {
        let lines = ["HTTP/1.1 200 OK", "Content-Length: 5", "A: b", ""];
        for ends in 0..1_u32 << lines.len() {
            let end = |at: usize| if ends >> at & 1 == 1 { "\n" } else { "\r\n" };
            let head: String =
                lines.iter().enumerate().map(|(at, line)| format!("{line}{}", end(at))).collect();
            let expected = match ends {
                0 => Ok((200, Framing::Length(5), true, head.len())),
                0b1111 => Ok((200, Framing::Length(5), false, head.len())),
                _ => Err(Refusal::BadLineEnd),
            };
            assert_eq!(read(&head, false), expected, "{head:?}");
        }
        // No line of another field becomes a part of a value.
        assert_eq!(read("HTTP/1.1 200 OK\nA: b\n c\n\n", false), Err(Refusal::BadFieldName));
        assert_eq!(read("HTTP/1.1 200 OK\nA: b\rc\n\n", false), Err(Refusal::BadFieldValue));
    }

    #[test]
    fn a_bad_status_line_is_refused_at_once() {
        for line in [
            "\r\nHTTP/1.1 200 OK\r\n",
            "ICY 200 OK\r\n",
            "http/1.1 200 OK\r\n",
            "HTTP/2.0 200 OK\r\n",
            "HTTP/1.1 20 OK\r\n",
            "HTTP/1.1 2000 OK\r\n",
            "HTTP/1.1  200 OK\r\n",
            "HTTP/1.1\r\n",
            "HTTP/1.1 200 O\0K\r\n",
            "HTTP/1.1 099 \r\n\r\n",
            "HTTP/1.1 600 \r\n\r\n",
            "<",
            "HTTP/1.1 200\r ",
        ] {
            let got = parse_response(line.as_bytes(), 0, &mut Slots::new(), false).err();
            assert_eq!(got, Some(Refusal::BadStatusLine), "{line:?}");
        }
    }

    #[test]
    fn a_reason_phrase_stays_unchanged() {
        for (line, expected) in [
            ("200 OK", "OK"),
            ("200 ", ""),
            ("200", ""),
            ("404 Nicht da", "Nicht da"),
            ("200 für dich", "für dich"),
        ] {
            let head = format!("HTTP/1.1 {line}\r\n\r\n");
            let mut slots = Slots::new();
            let head = parse_response(head.as_bytes(), 0, &mut slots, false).unwrap().unwrap();
            assert_eq!(head.reason, expected.as_bytes());
        }
    }

    #[test]
    fn a_101_names_the_protocol_that_it_switches_to() {
        let bytes = b"HTTP/1.1 101 \r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81";
        let mut slots = Slots::new();
        let head = parse_response(bytes, 0, &mut slots, false).unwrap().unwrap();
        assert_eq!(head.upgrade, Some(&b"websocket"[..]));
        assert!(!head.is_interim() && head.framing == Framing::None);
        assert_eq!(&bytes[head.len..], b"\x81");
        assert_eq!(framing("101 \r\nUpgrade: websocket"), Err(Refusal::BadSwitch));
        let old = "HTTP/1.0 101 \r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(read(old, false), Err(Refusal::BadSwitch));
    }

    #[test]
    fn an_answer_that_switches_nothing_names_protocols_only_with_a_426() {
        let names = |status: &str| {
            let head = format!("HTTP/1.1 {status} \r\nConnection: upgrade\r\nUpgrade: h2\r\n\r\n");
            let mut slots = Slots::new();
            let head = parse_response(head.as_bytes(), 0, &mut slots, false).unwrap().unwrap();
            head.upgrade.is_some()
        };
        assert!(names("426") && !names("200"));
    }

    #[test]
    fn a_length_that_means_nothing_is_not_forwarded() {
        let length_goes_on = |status: &str, head_request| {
            let head = format!("HTTP/1.1 {status} \r\nContent-Length: 5\r\n\r\n");
            let mut slots = Slots::new();
            let head = parse_response(head.as_bytes(), 0, &mut slots, head_request);
            head.unwrap().unwrap().fields.end_to_end().next().is_some()
        };
        assert!(length_goes_on("200", true) && length_goes_on("304", false));
        assert!(!length_goes_on("204", false) && !length_goes_on("103", false));
    }

    #[test]
    fn a_head_without_an_end_is_refused_at_the_bound() {
        let mut bytes = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
        bytes.resize(HEAD_BYTES_MAX, b'a');
        let mut slots = Slots::new();
        let got = parse_response(&bytes, bytes.len() - 1, &mut slots, false);
        assert_eq!(got, Err(Refusal::HeadTooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes: Vec<u8>, seen: usize) {
            let _ = parse_response(&bytes, seen, &mut Slots::new(), false);
            let bytes = [b"HTTP/1.1 200 ", &bytes[..]].concat();
            let _ = parse_response(&bytes, 0, &mut Slots::new(), false);
        }

        #[test]
        fn an_answer_in_pieces_is_judged_like_a_whole_one(
            fields in "([A-B]: [a-c]{0,3}\r?\n|\r\n|Content-Length: 5\r\n){0,5}",
            cuts in prop::collection::btree_set(1_usize..80, 0..20),
        ) {
            let bytes = format!("HTTP/1.1 200 OK\r\n{fields}\n").into_bytes();
            let mut slots = Slots::new();
            let whole = parse_response(&bytes, 0, &mut slots, false);
            let mut seen = 0;
            for len in cuts.into_iter().filter(|&cut| cut < bytes.len()).chain([bytes.len()]) {
                let mut slots = Slots::new();
                let part = parse_response(&bytes[..len], seen, &mut slots, false);
                if part != Ok(None) || len == bytes.len() {
                    prop_assert_eq!(part, whole);
                    break;
                }
                seen = len;
            }
        }
    }
}
