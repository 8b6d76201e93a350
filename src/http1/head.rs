//! The parts that reading a request head and reading a response head have in common: the space for
//! the fields, the moment to read, and the ends of the lines.

use std::mem::MaybeUninit;

use super::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// Stack space for the fields of one head: 3 KiB that are never initialised, so a new one is free.
/// A head borrows its slots for good; parsing again takes new ones. Both belong into a function
/// that does not wait: held over an `await` they would be 3 KiB of every connection's task.
pub struct Slots<'b>(pub(super) [MaybeUninit<httparse::Header<'b>>; HEADERS_MAX]);

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
pub(super) fn is_worth_reading(buf: &[u8], seen: usize) -> bool {
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
pub(super) fn ends_in_crlf(head: &[u8], lines: usize) -> bool {
    let crs = |block: &[u8]| block.iter().map(|&b| u8::from(b == b'\r')).sum::<u8>();
    head.chunks(255).map(|block| usize::from(crs(block))).sum::<usize>() == lines
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
}
