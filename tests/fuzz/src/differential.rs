//! Holds our reading against those of hyper and of a plain httparse. They must accept each message
//! that we accept, with the same method, target, fields and body, both as it was received and as we
//! would forward it. We may refuse more than they do.
//!
//! # Known differences
//!
//! The list is complete. Each difference is left out of the comparison as narrowly as possible.
//!
//! 1. hyper keeps a target in its `Uri` type, which refuses some visible bytes that browsers send
//!    unescaped. Such a request is not compared ([`hyper_refuses_target`]).
//! 2. `OPTIONS http://host` stands for `OPTIONS *` (RFC 9112 3.2.4). hyper leaves it unchanged.
//! 3. hyper bounds chunk extensions and trailers at 16 KiB, we at 64 KiB. The inputs are shorter.
//! 4. A 101 ends HTTP/1: the bytes after it are not compared.

use hyper::Uri;
use picluster::cluster::hop::Hop;
use picluster::http1::{RequestHead, ResponseHead, Slots, parse_request, parse_response};
use picluster::proxy::headers::{Added, AnswerForm, Forwarding, write_answer, write_request};

use super::hyper_view::{self, View};
use super::owned::{self, Pairs};

/// The most interim responses that are skipped before a final one.
const INTERIM_MAX: usize = 10;

/// Reads `bytes` as a response if they begin like one, else as a request.
pub fn check(bytes: &[u8]) {
    if bytes.starts_with(b"HTTP/") {
        check_response(bytes, false);
        check_response(bytes, true);
    } else {
        check_request(bytes);
    }
}

fn check_request(bytes: &[u8]) {
    let mut slots = Slots::new();
    let Ok(Some(head)) = parse_request(bytes, 0, &mut slots) else { return };
    let Ok(body) = owned::body(head.framing, &bytes[head.len..]) else { return };
    if hyper_refuses_target(head.target) || hyper_refuses_target(&bytes_of_target(bytes)) {
        return;
    }
    let wire = &bytes[..head.len + body.consumed];
    let expected = body.whole.then_some(body.data);

    let view = hyper_view::request(wire).expect("hyper accepts the received bytes");
    assert_eq!(view.method, head.method);
    if head.target != "*" {
        assert_eq!(path_and_query(&view), whole_target(&head));
    }
    assert_eq!(owned::sorted(view.fields), owned::sorted(owned::all(&head.fields)));
    assert_eq!(view.body, expected);

    let mut sent = Vec::new();
    let forwarding = Forwarding::new([10, 0, 0, 9].into(), false);
    let hop = Hop::new("front");
    write_request(&head, &Added::usual(&forwarding, &hop, 7), &mut sent);
    let fields = parsed_request(&sent, &head);
    sent.extend_from_slice(&wire[head.len..]);
    let view = hyper_view::request(&sent).expect("hyper accepts the forwarded bytes");
    assert_eq!((view.method.as_str(), &view.target), (head.method, &whole_target(&head)));
    assert_eq!(owned::sorted(view.fields), owned::sorted(fields));
    assert_eq!(view.body, expected);
}

/// Reads the head that is forwarded with a plain httparse.
fn parsed_request(sent: &[u8], head: &RequestHead<'_>) -> Pairs {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut headers);
    assert_eq!(parsed.parse(sent), Ok(httparse::Status::Complete(sent.len())));
    assert_eq!((parsed.method, parsed.version), (Some(head.method), Some(1)));
    assert_eq!(parsed.path, Some(&*whole_target(head)));
    let fields = owned::pairs(parsed.headers.iter().map(|field| (field.name, field.value)));
    assert_eq!(fields[0], ("Host".to_owned(), head.host.unwrap_or_default().into()));
    fields
}

/// Returns the target with the slash that stands for an empty path (RFC 9112 3.2.1).
fn whole_target(head: &RequestHead<'_>) -> String {
    let slash = if head.target.starts_with('?') { "/" } else { "" };
    format!("{slash}{}", head.target)
}

/// Returns the target that was received: the text between the first two spaces.
fn bytes_of_target(bytes: &[u8]) -> String {
    let target = bytes.split(|&b| b == b' ').nth(1).unwrap_or_default();
    String::from_utf8_lossy(target).into_owned()
}

fn hyper_refuses_target(target: &str) -> bool {
    // We write the same slash before it.
    let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
    target.parse::<Uri>().is_err()
}

fn path_and_query(view: &View) -> String {
    let uri: Uri = view.target.parse().expect("hyper has parsed it as one");
    uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string)
}

fn check_response(bytes: &[u8], head_request: bool) {
    let Some(start) = final_head(bytes, head_request) else { return };
    let mut slots = Slots::new();
    let Ok(Some(head)) = parse_response(&bytes[start..], 0, &mut slots, head_request) else {
        return;
    };
    if head.status == 101 {
        return;
    }
    let behind = &bytes[start + head.len..];
    let Ok(body) = owned::body(head.framing, behind) else { return };
    let wire = &bytes[..start + head.len + body.consumed];
    let expected = body.whole.then_some(body.data.clone());

    if is_strict(&head, &wire[start..start + head.len]) {
        let view =
            hyper_view::response(wire, head_request).expect("hyper accepts the received bytes");
        assert_eq!(view.status, head.status);
        assert_eq!(owned::sorted(view.fields), owned::sorted(owned::all(&head.fields)));
        assert_eq!(view.body, expected);
    }

    for form in [(false, false), (true, false), (true, true)] {
        let (close, http10) = form;
        let form = AnswerForm { close, http10, node: Some("ada"), sticks_to: None };
        let mut sent = Vec::new();
        write_answer(&head, form, &mut sent);
        let fields = parsed_response(&sent, &head);
        // A client of HTTP/1.0 gets only the data.
        sent.extend_from_slice(if http10 { &body.data } else { &behind[..body.consumed] });
        let view =
            hyper_view::response(&sent, head_request).expect("hyper accepts the forwarded bytes");
        assert_eq!(view.status, head.status);
        assert_eq!(owned::sorted(view.fields), owned::sorted(fields));
        if !http10 || body.whole {
            assert_eq!(view.body, expected);
        }
    }
}

/// Returns whether nothing of a head is in a form that is only tolerated.
fn is_strict(head: &ResponseHead<'_>, bytes: &[u8]) -> bool {
    let lengths = head.fields.iter().filter(|f| f.name.eq_ignore_ascii_case("content-length"));
    let (lengths, is_chunked) = (lengths.count(), head.fields.get("transfer-encoding").is_some());
    bytes.contains(&b'\r')
        && head.restated_length().is_none()
        && lengths + usize::from(is_chunked) < 2
}

/// Returns the place at which the head of the final response begins.
fn final_head(bytes: &[u8], head_request: bool) -> Option<usize> {
    let mut start = 0;
    for _ in 0..INTERIM_MAX {
        let mut slots = Slots::new();
        let head = parse_response(&bytes[start..], 0, &mut slots, head_request).ok()??;
        if !head.is_interim() {
            return Some(start);
        }
        start += head.len;
    }
    None
}

/// Reads the head that is forwarded with a plain httparse.
fn parsed_response(sent: &[u8], head: &ResponseHead<'_>) -> Pairs {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Response::new(&mut headers);
    assert_eq!(parsed.parse(sent), Ok(httparse::Status::Complete(sent.len())));
    assert_eq!((parsed.code, parsed.version), (Some(head.status), Some(1)));
    owned::pairs(parsed.headers.iter().map(|field| (field.name, field.value)))
}
