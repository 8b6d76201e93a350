//! The codec: one head, or 1 KiB of a chunked body. "Rewrite" reads a head and writes it as the
//! balancer forwards it.

use std::hint::black_box;

use divan::Bencher;
use picluster::cluster::hop::Hop;
use picluster::http1::{Body, Framing, Slots, parse_request, parse_response};
use picluster::proxy::headers::{Added, AnswerForm, Forwarding, write_answer, write_request};

use crate::typical::{ANSWER, REQUEST};

#[divan::bench]
fn request_parse(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let mut slots = Slots::new();
        let head = parse_request(black_box(REQUEST.as_bytes()), 0, &mut slots).unwrap().unwrap();
        black_box(head.len)
    });
}

#[divan::bench]
fn request_rewrite(bencher: Bencher<'_, '_>) {
    let (forwarding, hop) = (Forwarding::new([10, 0, 0, 9].into(), false), Hop::new("front"));
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        let mut slots = Slots::new();
        let head = parse_request(black_box(REQUEST.as_bytes()), 0, &mut slots).unwrap().unwrap();
        out.clear();
        write_request(&head, &Added::usual(&forwarding, &hop, 7), &mut out);
        black_box(out.len())
    });
}

#[divan::bench]
fn answer_parse(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let mut slots = Slots::new();
        let bytes = black_box(ANSWER.as_bytes());
        black_box(parse_response(bytes, 0, &mut slots, false).unwrap().unwrap().len)
    });
}

#[divan::bench]
fn answer_rewrite(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        let mut slots = Slots::new();
        let bytes = black_box(ANSWER.as_bytes());
        let head = parse_response(bytes, 0, &mut slots, false).unwrap().unwrap();
        out.clear();
        let form = AnswerForm {
            close: false,
            http10: false,
            node: Some("raspberrypi-3f9a21"),
            sticks_to: None,
        };
        write_answer(&head, form, &mut out);
        black_box(out.len())
    });
}

/// 1 KiB of data in chunks of this size.
#[divan::bench(args = [16, 128, 1024])]
fn chunked_kibibyte(bencher: Bencher<'_, '_>, chunk: usize) {
    let mut wire = Vec::new();
    for _ in 0..1024 / chunk {
        picluster::http1::append_chunk_size(&mut wire, chunk);
        wire.resize(wire.len() + chunk, b'x');
        wire.extend_from_slice(b"\r\n");
    }
    let end = b"0\r\n\r\n";
    wire.extend_from_slice(end);
    bencher.bench_local(|| {
        let advance = Body::new(Framing::Chunked).advance(black_box(&wire)).unwrap();
        assert!(advance.done);
    });
}

/// A refused head costs no more than an accepted one.
#[divan::bench(args = ["two framings", "space before a colon", "control byte", "second host"])]
fn request_refuse(bencher: Bencher<'_, '_>, fault: &str) {
    let field = match fault {
        "two framings" => "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "space before a colon" => "A : b",
        "control byte" => "A: \0",
        _ => "Host: a",
    };
    let request = format!("{}\r\n{field}\r\n\r\n", REQUEST.trim_end());
    bencher.bench_local(|| {
        let mut slots = Slots::new();
        assert!(parse_request(black_box(request.as_bytes()), 0, &mut slots).is_err());
    });
}
