//! The common parts of reading a request head and reading a response head: the space for the
//! fields, the decision to read, and the check of line ends.

use std::mem::MaybeUninit;

use super::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// Stack space for the fields of one head: 3 KiB that are never initialised, so new slots cost
/// nothing. A head borrows its slots for good, so parsing again takes new ones. Keep both in a
/// function that does not wait: held over an `await` they would be 3 KiB of every connection's
/// task.
pub struct Slots<'b> {
    pub(super) headers: [MaybeUninit<httparse::Header<'b>>; HEADERS_MAX],
    /// For a host that goes on without its zone.
    pub(super) host: HostRoom,
}

/// Room for an IPv6 address in brackets, and a port.
pub(super) type HostRoom = [u8; 56];

impl Slots<'_> {
    /// Makes space for [`HEADERS_MAX`] fields.
    pub const fn new() -> Self {
        let headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        Self { headers, host: [0; 56] }
    }
}

impl Default for Slots<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns true if reading the head again can give another result. Only the first bytes, a new line
/// or a full buffer can, so a head that comes byte by byte is read once for each line, some hundred
/// times at most and not 65,536 times.
pub(super) fn is_worth_reading(buf: &[u8], seen: usize) -> bool {
    seen == 0
        || buf.len() >= HEAD_BYTES_MAX
        || buf.get(seen..).is_some_and(|fresh| fresh.contains(&b'\n'))
}

/// Returns true if each of the head's `lines` lines ends in CR LF. RFC 9112 2.2 lets a recipient
/// accept a bare LF; an attacker can play two recipients that differ in it against each other.
///
/// `httparse` accepts a bare LF as the end of a line, and a CR only if an LF follows it. So no LF
/// was bare exactly if there are as many CRs as lines. The count takes a few vector instructions.
/// It is kept in a byte, which a block of 255 bytes cannot overflow.
pub(super) fn ends_in_crlf(head: &[u8], lines: usize) -> bool {
    let crs = |block: &[u8]| block.iter().map(|&b| u8::from(b == b'\r')).sum::<u8>();
    head.chunks(255).map(|block| usize::from(crs(block))).sum::<usize>() == lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_again_only_at_a_new_line_or_at_the_bound() {
        assert!(is_worth_reading(b"GE", 0));
        assert!(!is_worth_reading(b"GET / HTTP/1.1\r\nHo", 16));
        assert!(is_worth_reading(b"GET / HTTP/1.1\r\nHo", 15));
        assert!(!is_worth_reading(b"GET", 7), "a wrong hint does not panic");
        assert!(is_worth_reading(&vec![b'a'; HEAD_BYTES_MAX], HEAD_BYTES_MAX));
    }

    #[test]
    fn carriage_returns_are_counted_beyond_one_block() {
        let head = b"\r\n".repeat(1000);
        assert!(ends_in_crlf(&head, 1000));
        assert!(!ends_in_crlf(&head, 1001));
        assert!(ends_in_crlf(&[b'\r'; 255], 255));
    }
}
