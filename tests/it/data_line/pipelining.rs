//! Requests that do not wait for the answers to those before them.

use std::fmt::Write as _;

use super::balancer::{GET, POST, answer, answer_of, forwarded, forwarded_get, one};

#[test]
fn requests_in_one_segment_are_answered_one_by_one_and_in_order() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, GET.repeat(100));
    for number in 0..100 {
        node.expect(forwarded_get());
        node.send(answer(&number.to_string()));
    }
    for number in 0..100 {
        client.expect(answer_of("ada", &number.to_string()));
    }
    ada.expect_nobody();
}

#[test]
fn a_request_that_comes_with_the_tail_of_a_body_is_the_next_one() {
    let (ada, lb) = one();
    let mut client = lb.client();
    let (start, tail) = POST.split_at(POST.len() - 3);
    client.send(start);
    let mut node = ada.accept();
    node.expect(forwarded("POST /", "Content-Length: 5\r\n") + "he");
    client.send(format!("{tail}{GET}"));
    node.expect("llo");
    node.send(answer("1"));
    client.expect(answer_of("ada", "1"));
    node.expect(forwarded_get());
    node.send(answer("2"));
    client.expect(answer_of("ada", "2"));
}

#[test]
fn requests_that_fill_more_than_a_buffer_are_separated() {
    let (ada, lb) = one();
    let fields = |number: usize| format!("X-Number: {number}\r\nX-Long: {}\r\n", "a".repeat(997));
    let mut all = String::new();
    for number in 0..100 {
        write!(all, "GET / HTTP/1.1\r\nHost: pi\r\n{}\r\n", fields(number)).unwrap();
    }
    let (mut client, mut node) = lb.send(&ada, all);
    for number in 0..100 {
        node.expect(forwarded("GET /", &fields(number)));
        node.send(answer(&number.to_string()));
        client.expect(answer_of("ada", &number.to_string()));
    }
}

#[test]
fn a_request_in_one_segment_with_a_body_before_it_is_the_next_one() {
    let chunked = "POST / HTTP/1.1\r\nHost: pi\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5;x=\"y\"\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for post in [POST, chunked] {
        let (ada, lb) = one();
        let (mut client, mut node) = lb.send(&ada, format!("{post}{GET}{post}"));
        for (start, body) in [("POST", Some(post)), ("GET", None), ("POST", Some(post))] {
            node.expect_head(start);
            if let Some((_, body)) = body.and_then(|post| post.split_once("\r\n\r\n")) {
                node.expect(body);
            }
            node.send(answer(start));
            client.expect(answer_of("ada", start));
        }
    }
}

#[test]
fn requests_after_one_that_ends_the_connection_are_not_executed() {
    let closing = "GET / HTTP/1.1\r\nHost: pi\r\nConnection: close\r\n\r\n";
    for last in [closing, &GET.replace("1.1", "1.0")] {
        let (ada, lb) = one();
        let (mut client, mut node) = lb.send(&ada, format!("{GET}{last}{GET}{POST}"));
        for number in ["1", "2"] {
            node.expect_head("GET / HTTP/1.1\r\n");
            node.send(answer(number));
        }
        client.expect(answer_of("ada", "1"));
        let head = client.expect_head("HTTP/1.1 200 OK\r\n");
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        client.expect("2");
        client.expect_end();
        node.expect_silence(std::time::Duration::from_millis(50));
        ada.expect_nobody();
    }
}

#[test]
fn requests_after_an_answer_that_ends_the_connection_are_not_executed() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, GET.repeat(3));
    node.head();
    node.send("HTTP/1.1 200 OK\r\n\r\nall");
    node.finish();
    client.expect_head("HTTP/1.1 200 OK\r\n");
    client.expect("all");
    client.expect_end();
    node.expect_end();
    ada.expect_nobody();
}
