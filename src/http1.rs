//! HTTP/1 without I/O: bytes in, heads and framing out. Strict: what two recipients could read in
//! two ways is refused, never repaired (RFC 9112 11.1, 11.2). No socket, no clock, and nothing is
//! allocated but what the caller's own output buffer needs.
//!
//! [`parse_request`] and [`parse_response`] read a head in place, [`Body`] follows the framing
//! behind it, the `append_` functions write what goes on. Which fields are added, what is
//! retried and what a client is told is `proxy`'s business.

use std::mem::MaybeUninit;

use crate::http1::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

mod body;
mod chunked;
mod fields;
pub mod limits;
mod refusal;
mod request;
mod response;
mod target;
mod trailer;
mod write;

pub use body::{Advance, Body};
pub use fields::{Field, Fields};
pub use refusal::Refusal;
pub use request::{RequestHead, parse_request};
pub use response::{ResponseHead, parse_response};
pub use write::{
    append_chunk_size, append_field, append_number, append_request_line, append_status_line,
};

/// The longest body that may be announced: what a signed number of 64 bits holds, because that is
/// what many recipients count in. A larger one would be negative to them, or cut (RFC 9112 6.3 and
/// 7.1 warn of the overflow); nobody has 8 EiB to send.
const BODY_BYTES_MAX: u64 = i64::MAX.unsigned_abs();

/// The versions spoken here. What is sent on is always HTTP/1.1 (RFC 9112 2.3: an intermediary
/// sends its own version).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked body, no interim answer, persistence only where it is asked for.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// From the minor version as `httparse` gives it; it knows no other than 0 and 1.
    const fn from_minor(minor: Option<u8>) -> Self {
        if matches!(minor, Some(1)) { Self::Http11 } else { Self::Http10 }
    }
}

/// How long a body is (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// This many bytes; also 0, where a `Content-Length` said so.
    Length(u64),
    /// Chunks, then trailers.
    Chunked,
    /// Until the connection ends. Answers only.
    Close,
}

impl Framing {
    /// Whether no byte follows the head.
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// Stack space for the fields of one head: 3 KiB that are never initialised, so a new one is free.
/// A head borrows its slots for good; parsing again takes new ones. Both belong into a function
/// that does not wait: held over an `await` they would be 3 KiB of every connection's task.
pub struct Slots<'b>([MaybeUninit<httparse::Header<'b>>; HEADERS_MAX]);

impl Slots<'_> {
    /// Space for [`HEADERS_MAX`] fields.
    pub const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; HEADERS_MAX])
    }
}

impl Default for Slots<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether reading the head again can bring anything new. Only the first bytes, a new line or a
/// full buffer can, so a head that comes byte by byte is read once a line, at most some hundred
/// times, and not 65,536 times.
fn is_worth_reading(buf: &[u8], seen: usize) -> bool {
    seen == 0
        || buf.len() >= HEAD_BYTES_MAX
        || buf.get(seen..).is_some_and(|fresh| fresh.contains(&b'\n'))
}

/// Whether every one of the head's lines ends in CR LF (RFC 9112 2.2 lets a recipient take a bare
/// LF; two that differ in it can be played against each other).
///
/// `httparse` takes a bare LF as the end of a line, and a CR only with an LF behind it: so no LF
/// was bare exactly if there are as many CRs as lines. Counting is a few vector instructions,
/// in bytes because a block of 255 cannot overflow one.
fn ends_in_crlf(head: &[u8], lines: usize) -> bool {
    let crs = |block: &[u8]| block.iter().map(|&b| u8::from(b == b'\r')).sum::<u8>();
    head.chunks(255).map(|block| usize::from(crs(block))).sum::<usize>() == lines
}

/// `tchar` of RFC 9110 5.6.2.
const fn is_tchar(b: u8) -> bool {
    matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        || b.is_ascii_alphanumeric()
}

/// What a field value consists of (RFC 9110 5.5): HTAB, SP, VCHAR and obs-text.
const fn is_text(b: u8) -> bool {
    matches!(b, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_again_only_when_a_line_or_the_bound_was_reached() {
        assert!(is_worth_reading(b"GE", 0));
        assert!(!is_worth_reading(b"GET / HTTP/1.1\r\nHo", 16));
        assert!(is_worth_reading(b"GET / HTTP/1.1\r\nHo", 15));
        assert!(!is_worth_reading(b"GET", 7), "a hint that is wrong does not panic");
        assert!(is_worth_reading(&vec![b'a'; HEAD_BYTES_MAX], HEAD_BYTES_MAX));
    }

    #[test]
    fn crs_are_counted_beyond_one_block() {
        let head = b"\r\n".repeat(1000);
        assert!(ends_in_crlf(&head, 1000));
        assert!(!ends_in_crlf(&head, 1001));
        assert!(ends_in_crlf(&[b'\r'; 255], 255));
    }

    #[test]
    fn tchars_are_those_of_the_grammar() {
        let expected = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        assert!((0..=255).all(|b| is_tchar(b) == expected(b)));
    }
}
