//! A request's head: any pieces give the same head, its bounds hold, and the reader reads back what
//! the writer writes.

use picluster::config::{HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
use picluster::h1::{
    Framing, Refusal, RequestHead, Slots, Version, append_field, append_request_line, parse_request,
};

use super::pieces::cuts;
use super::said::{self, Pairs};

/// The number of empty lines that may come before a head.
const SKIPPED_BYTES_MAX: usize = 4;

/// Reads `bytes` as a request's head.
pub fn check(bytes: &[u8]) {
    let whole = read(bytes);
    // An error in a line shows at the end of the line at the latest.
    let ended = [bytes, b"\n"].concat();
    let expected = read(&ended);
    for ends in cuts(&ended) {
        assert_eq!(in_pieces(&ended, &ends), expected, "{ends:?}");
    }
    let Ok(Some(head)) = whole else { return };
    assert_eq!(expected.as_ref(), Ok(&Some(head.clone())), "what follows a head changed it");
    assert_bounds(&head, bytes.len());
    let written = write(&head);
    let again = read(&written).expect("what we write we can read").expect("and it is whole");
    assert_eq!(again.len, written.len());
    assert_eq!(write(&again), written);
    assert_eq!((&again.method, again.framing), (&head.method, head.framing));
    assert_eq!(said::sorted(again.forwarded), said::sorted(head.forwarded));
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
            fields: said::all(&head.fields),
            forwarded: said::end_to_end(&head.fields),
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
    said::assert_fields(&head.fields);
    let visible = head.target.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let form = head.target.starts_with(['/', '?']) || head.target == "*";
    assert!(visible && form, "{:?}", head.target);
    assert!(head.host.is_some() || head.version == Version::Http10);
    assert!(head.framing != Framing::Close, "a request cannot end with its connection");
}

/// Writes a head as a proxy that adds nothing would forward it.
fn write(head: &Head) -> Vec<u8> {
    let mut out = Vec::new();
    append_request_line(&mut out, &head.method, &head.target);
    // A missing host cannot be written.
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
