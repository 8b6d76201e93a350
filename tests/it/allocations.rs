//! The codec reads and writes heads without an allocation once its buffer for writing exists.

use allocation_counter::measure;
use picluster::cluster::hop::Hop;
use picluster::http1::{Body, Framing, Slots, parse_request, parse_response};
use picluster::proxy::headers::{Added, AnswerForm, Forwarding, write_answer, write_request};

#[path = "../../benches/common/typical.rs"]
mod typical;
use typical::{ANSWER, REQUEST};

/// The heads that are read and written; each of them could cost an allocation.
const ROUNDS: u64 = 1000;

#[test]
fn a_request_is_read_and_written_without_an_allocation() {
    let (forwarding, hop) = (Forwarding::new([10, 0, 0, 9].into(), false), Hop::new("front"));
    let rewrite = |out: &mut Vec<u8>| {
        let mut slots = Slots::new();
        let head = parse_request(REQUEST.as_bytes(), 0, &mut slots).unwrap().unwrap();
        assert_eq!((head.len, head.fields.len()), (700, 14));
        out.clear();
        write_request(&head, &Added::usual(&forwarding, &hop, 7), out);
    };
    assert_allocates_nothing(rewrite);
}

#[test]
fn an_answer_is_read_and_written_without_an_allocation() {
    let rewrite = |out: &mut Vec<u8>| {
        let mut slots = Slots::new();
        let head = parse_response(ANSWER.as_bytes(), 0, &mut slots, false).unwrap().unwrap();
        out.clear();
        let form = AnswerForm { close: false, http10: false, node: Some("ada"), sticks_to: None };
        write_answer(&head, form, out);
    };
    assert_allocates_nothing(rewrite);
}

#[test]
fn a_chunked_body_is_followed_and_a_bad_head_refused_without_allocation() {
    assert_allocates_nothing(|out| {
        out.clear();
        let mut body = Body::new(Framing::Chunked);
        let wire = b"5;a=\"b\"\r\nhello\r\n0\r\nServer-Timing: a\r\n\r\n";
        let advance = body.decode(wire, |data| out.extend_from_slice(data));
        assert!(advance.unwrap().done && out == b"hello");
        let mut slots = Slots::new();
        assert!(parse_request(b"GET / HTTP/1.1\r\nA : b\r\n", 0, &mut slots).is_err());
    });
}

/// The first round may make room in the buffer. That it does shows that the counter counts.
fn assert_allocates_nothing(mut round: impl FnMut(&mut Vec<u8>)) {
    let mut out = Vec::new();
    let first = measure(|| round(&mut out));
    assert!(first.count_total > 0, "the counter does not count");
    let others = measure(|| (0..ROUNDS).for_each(|_| round(&mut out)));
    assert_eq!((others.count_total, others.bytes_total), (0, 0));
}
