//! The head of a response: any pieces give the same head, its bounds hold, and a head that was
//! written is read back.

use picluster::http1::limits::{HEAD_BYTES_MAX, HEADERS_MAX};
use picluster::http1::{
    Framing, Refusal, ResponseHead, Slots, Version, append_field, append_status_line,
    parse_response,
};

use super::owned::{self, Pairs};
use super::pieces::cuts;

/// Reads `bytes` as the head of a response: to a HEAD, and to another method.
pub fn check(bytes: &[u8]) {
    let (plain, bodiless) = (check_one(bytes, false), check_one(bytes, true));
    let Some((plain, bodiless)) = plain.zip(bodiless) else { return };
    assert_eq!(bodiless.framing, Framing::None);
    assert_eq!(
        (plain.status, plain.fields, plain.len),
        (bodiless.status, bodiless.fields, bodiless.len)
    );
}

fn check_one(bytes: &[u8], head_request: bool) -> Option<Head> {
    let whole = read(bytes, 0, head_request);
    // A fault in a line shows at the latest when the line ends.
    let ended = [bytes, b"\n"].concat();
    let expected = read(&ended, 0, head_request);
    for ends in cuts(&ended) {
        assert_eq!(in_pieces(&ended, &ends, head_request), expected, "{ends:?}");
    }
    let head = whole.ok()??;
    assert_eq!(expected.as_ref(), Ok(&Some(head.clone())), "the bytes after a head changed it");
    assert_bounds(&head, bytes.len());
    let written = write(&head);
    let again = read(&written, 0, head_request).expect("a head that was written is read");
    let again = again.expect("the written head is complete");
    assert_eq!(again.len, written.len());
    if head.restated_length.is_none() {
        assert_eq!(write(&again), written);
    }
    assert_eq!((again.status, &again.reason), (head.status, &head.reason));
    assert_eq!((again.framing, &again.upgrade), (head.framing, &head.upgrade));
    if head.restated_length.is_none() {
        assert_eq!(again.forwarded, head.forwarded);
    }
    assert_eq!(again.restated_length, None, "it is written in the strict form");
    Some(head)
}

/// A head that outlives its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    version: Version,
    status: u16,
    reason: Vec<u8>,
    fields: Pairs,
    forwarded: Pairs,
    framing: Framing,
    restated_length: Option<u64>,
    keep_alive: bool,
    upgrade: Option<Vec<u8>>,
    len: usize,
}

impl From<ResponseHead<'_>> for Head {
    fn from(head: ResponseHead<'_>) -> Self {
        Self {
            version: head.version,
            status: head.status,
            reason: head.reason.to_vec(),
            fields: owned::all(&head.fields),
            forwarded: owned::end_to_end(&head.fields),
            framing: head.framing,
            restated_length: head.restated_length(),
            keep_alive: head.keep_alive,
            upgrade: head.upgrade.map(<[u8]>::to_vec),
            len: head.len,
        }
    }
}

fn read(bytes: &[u8], seen: usize, head_request: bool) -> Result<Option<Head>, Refusal> {
    let mut slots = Slots::new();
    parse_response(bytes, seen, &mut slots, head_request).map(|head| head.map(Head::from))
}

fn in_pieces(bytes: &[u8], ends: &[usize], head_request: bool) -> Result<Option<Head>, Refusal> {
    let mut seen = 0;
    for &end in ends {
        let judged = read(&bytes[..end], seen, head_request);
        if judged != Ok(None) {
            return judged;
        }
        seen = end;
    }
    Ok(None)
}

fn assert_bounds(head: &Head, bytes: usize) {
    assert!(head.len <= bytes && head.len <= HEAD_BYTES_MAX);
    assert!(head.fields.len() <= HEADERS_MAX);
    assert!((100..600).contains(&head.status));
    owned::assert_fields(&head.fields);
    assert!(head.reason.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f)));
    assert!(head.framing != Framing::Close || !head.keep_alive);
    assert!(head.status != 101 || head.upgrade.is_some());
}

/// Writes the head that a proxy which adds nothing would forward.
fn write(head: &Head) -> Vec<u8> {
    let mut out = Vec::new();
    append_status_line(&mut out, head.status, &head.reason);
    for (name, value) in &head.forwarded {
        append_field(&mut out, name, value);
    }
    if let Some(bytes) = head.restated_length {
        append_field(&mut out, "Content-Length", bytes.to_string().as_bytes());
    }
    if head.framing == Framing::Chunked {
        append_field(&mut out, "Transfer-Encoding", b"chunked");
    }
    if let Some(protocol) = &head.upgrade {
        append_field(&mut out, "Connection", b"upgrade");
        append_field(&mut out, "Upgrade", protocol);
    }
    out.extend_from_slice(b"\r\n");
    out
}
