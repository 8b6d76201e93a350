//! The head of a request: any pieces give the same head, its bounds hold, and a head that was
//! written is read back.

use picluster::http1::limits::{HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
use picluster::http1::{
    Framing, Refusal, RequestHead, Slots, Version, append_field, append_request_line, parse_request,
};

use super::owned::{self, Pairs};
use super::pieces::cuts;

/// The bytes of the empty lines that may stand before a head.
const SKIPPED_BYTES_MAX: usize = 4;

/// Reads `bytes` as the head of a request.
pub fn check(bytes: &[u8]) {
    let whole = read(bytes);
    // A fault in a line shows at the latest when the line ends.
    let ended = [bytes, b"\n"].concat();
    let expected = read(&ended);
    for ends in cuts(&ended) {
        assert_eq!(in_pieces(&ended, &ends), expected, "{ends:?}");
    }
    let Ok(Some(head)) = whole else { return };
    assert_eq!(expected.as_ref(), Ok(&Some(head.clone())), "the bytes after a head changed it");
    assert_bounds(&head, bytes.len());
    let written = write(&head);
    let again = read(&written)
        .expect("a head that was written is read")
        .expect("the written head is complete");
    assert_eq!(again.len, written.len());
    assert_eq!(write(&again), written);
    assert_eq!((&again.method, again.framing), (&head.method, head.framing));
    assert_eq!(owned::sorted(again.forwarded), owned::sorted(head.forwarded));
    assert_eq!((again.upgrade, again.expect_continue), (head.upgrade, head.expect_continue));
}

/// A head that outlives its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    method: String,
    target: String,
    version: Version,
    host: Option<String>,
    fields: Pairs,
    forwarded: Pairs,
    framing: Framing,
    keep_alive: bool,
    expect_continue: bool,
    upgrade: Option<Vec<u8>>,
    len: usize,
}

impl From<RequestHead<'_>> for Head {
    fn from(head: RequestHead<'_>) -> Self {
        Self {
            method: head.method.to_owned(),
            target: head.target.to_owned(),
            version: head.version,
            host: head.host.map(str::to_owned),
            fields: owned::all(&head.fields),
            forwarded: owned::end_to_end(&head.fields),
            framing: head.framing,
            keep_alive: head.keep_alive,
            expect_continue: head.expect_continue,
            upgrade: head.upgrade.map(<[u8]>::to_vec),
            len: head.len,
        }
    }
}

fn read(bytes: &[u8]) -> Result<Option<Head>, Refusal> {
    read_on(bytes, 0)
}

fn read_on(bytes: &[u8], seen: usize) -> Result<Option<Head>, Refusal> {
    parse_request(bytes, seen, &mut Slots::new()).map(|head| head.map(Head::from))
}

fn in_pieces(bytes: &[u8], ends: &[usize]) -> Result<Option<Head>, Refusal> {
    let mut seen = 0;
    for &end in ends {
        let judged = read_on(&bytes[..end], seen);
        if judged != Ok(None) {
            return judged;
        }
        seen = end;
    }
    Ok(None)
}

fn assert_bounds(head: &Head, bytes: usize) {
    assert!(head.len <= bytes && head.len <= HEAD_BYTES_MAX + SKIPPED_BYTES_MAX);
    assert!(head.fields.len() <= HEADERS_MAX && head.target.len() <= TARGET_BYTES_MAX);
    owned::assert_fields(&head.fields);
    let visible = head.target.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let form = head.target.starts_with(['/', '?']) || head.target == "*";
    assert!(visible && form, "{:?}", head.target);
    assert!(head.host.is_some() || head.version == Version::Http10);
    assert!(head.framing != Framing::Close, "the body of a request cannot end with its connection");
}

/// Writes the head that a proxy which adds nothing would forward.
fn write(head: &Head) -> Vec<u8> {
    let mut out = Vec::new();
    append_request_line(&mut out, &head.method, &head.target);
    // A request of HTTP/1.1 needs a host, even if the one that was read had none.
    append_field(&mut out, "Host", head.host.as_deref().unwrap_or("pi").as_bytes());
    for (name, value) in &head.forwarded {
        append_field(&mut out, name, value);
    }
    if head.framing == Framing::Chunked {
        append_field(&mut out, "Transfer-Encoding", b"chunked");
    }
    if let Some(protocols) = &head.upgrade {
        append_field(&mut out, "Connection", b"upgrade");
        append_field(&mut out, "Upgrade", protocols);
    }
    out.extend_from_slice(b"\r\n");
    out
}
