//! Messages that come before, instead of, or in the middle of an answer.

use std::time::Duration;

use super::balancer::{GET, answer, answer_of, forwarded, one, one_with};
use super::wire::PATIENCE;

const SHORT: Duration = Duration::from_millis(100);

const EXPECTING: &str =
    "POST / HTTP/1.1\r\nHost: pi\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

#[test]
fn a_100_continue_comes_from_the_node_and_then_the_body_goes() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, EXPECTING);
    node.expect(forwarded("POST /", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
    node.send("HTTP/1.1 100 Continue\r\n\r\n");
    client.expect_head("HTTP/1.1 100 Continue\r\n");
    client.send("hello");
    node.expect("hello");
    node.send(answer("1"));
    client.expect(answer_of("ada", "1"));
}

#[test]
fn a_client_may_wait_for_its_100_longer_than_it_may_be_silent() {
    let limit = Duration::from_millis(100);
    let (ada, lb) = one_with(|setup| setup.limits.body = limit);
    let (mut client, mut node) = lb.send(&ada, EXPECTING);
    node.head();
    client.expect_silence(3 * limit);
    node.send("HTTP/1.1 100 Continue\r\n\r\n");
    client.expect_head("HTTP/1.1 100 Continue\r\n");
    client.expect_head("HTTP/1.1 408 ");
}

#[test]
fn an_answer_in_place_of_the_100_ends_the_connection_and_no_body_goes() {
    for line in ["401 No", "417 Expectation Failed", "200 OK"] {
        let (ada, lb) = one();
        let (mut client, mut node) = lb.send(&ada, EXPECTING);
        node.head();
        node.send(format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nno"));
        let head = client.expect_head(&format!("HTTP/1.1 {line}\r\n"));
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        client.expect("no");
        client.expect_end();
        node.expect_end();
    }
}

#[test]
fn a_node_that_never_says_100_is_late_and_not_its_client() {
    let (ada, lb) = one_with(|setup| {
        (setup.limits.answer, setup.limits.body) = (4 * SHORT, SHORT);
    });
    let (mut client, mut node) = lb.send(&ada, EXPECTING);
    node.head();
    client.expect_head("HTTP/1.1 504 Gateway Timeout\r\n");
    node.expect_end();
    assert_eq!(lb.failed(), 1);
}

#[test]
fn a_client_that_does_not_wait_for_its_100_is_late_and_not_its_node() {
    let (ada, lb) = one_with(|setup| {
        (setup.limits.answer, setup.limits.body) = (PATIENCE, 4 * SHORT);
    });
    for at_once in [true, false] {
        let first = if at_once { "he" } else { "" };
        let (mut client, mut node) = lb.send(&ada, format!("{EXPECTING}{first}"));
        node.head();
        if !at_once {
            client.send("he");
        }
        node.expect("he");
        client.expect_head("HTTP/1.1 408 Request Timeout\r\n");
        node.expect_end();
    }
    assert_eq!(lb.failed(), 0);
}

#[test]
fn a_client_that_does_not_wait_for_its_100_is_answered_and_hears_it_late() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, format!("{EXPECTING}hello"));
    node.head();
    node.expect("hello");
    node.send(format!("HTTP/1.1 100 Continue\r\n\r\n{}", answer("1")));
    client.expect_head("HTTP/1.1 100 Continue\r\n");
    client.expect(answer_of("ada", "1"));
}

#[test]
fn a_client_of_http_1_0_hears_nothing_of_a_100() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, EXPECTING.replace("1.1", "1.0"));
    node.head();
    node.send("HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    node.expect("hello");
    node.send(answer("1"));
    client.expect_head("HTTP/1.1 200 OK\r\n");
    client.expect("1");
    client.expect_end();
}

#[test]
fn a_client_that_waits_for_its_100_may_get_a_slow_final_answer_instead() {
    let (ada, lb) = one_with(|setup| {
        (setup.limits.answer, setup.limits.body) = (4 * SHORT, SHORT);
    });
    let (mut client, mut node) = lb.send(&ada, EXPECTING);
    node.head();
    node.send("HTTP/1.1 200 OK\r\n\r\n");
    client.expect_head("HTTP/1.1 200 OK\r\n");
    // A node that sees an end would take it for its client's.
    node.expect_silence(8 * SHORT);
    node.send("all");
    drop(node);
    client.expect("all");
    client.expect_end();
}

#[test]
fn a_node_that_says_nothing_but_1xx_is_ended() {
    for given in ["HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 103 Hints\r\nA: b\r\n\r\n"] {
        let (ada, lb) = one();
        let (mut client, mut node) = lb.send(&ada, GET);
        node.head();
        node.send_what_is_taken(given.repeat(10_000));
        let mut passed = 0;
        let last = loop {
            let head = client.head();
            if !head.starts_with("HTTP/1.1 10") {
                break head;
            }
            passed += 1;
            assert!(passed <= 100, "more interim answers pass than a node may send");
        };
        assert!(last.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{last}");
        assert_eq!(passed, 100);
    }
}

#[test]
fn each_102_gives_the_node_its_time_again() {
    let (ada, lb) = one_with(|setup| setup.limits.answer = 10 * SHORT);
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    for _ in 0..5 {
        client.expect_silence(4 * SHORT);
        node.send("HTTP/1.1 102 Processing\r\n\r\n");
        client.expect_head("HTTP/1.1 102 Processing\r\n");
    }
    node.send(answer("1"));
    client.expect(answer_of("ada", "1"));
}

#[test]
fn any_number_of_interim_answers_passes_but_not_to_http_1_0() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    for (version, interim) in [("1.1", 2), ("1.0", 0)] {
        let (ada, lb) = one_with(|setup| setup.node_header = false);
        let (mut client, mut node) =
            lb.send(&ada, format!("GET / HTTP/{version}\r\nHost: pi\r\n\r\n"));
        node.head();
        node.send(format!("{hints}{hints}{}", answer("1")));
        client.expect(hints.repeat(interim));
        client.expect("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n");
    }
}

#[test]
fn an_answer_that_comes_while_the_body_flows_ends_both_connections() {
    let (ada, lb) = one();
    let (mut client, mut node) =
        lb.send(&ada, "PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: 1000000\r\n\r\nsome");
    node.expect(forwarded("PUT /", "Content-Length: 1000000\r\n") + "some");
    node.send("HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo ");
    let head = client.expect_head("HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n");
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    client.expect("too ");
    client.send("more");
    node.expect("more");
    node.send("large");
    client.expect("large");
    client.expect_end();
    node.expect_end();
}

#[test]
fn a_client_that_reads_only_after_all_of_its_body_finds_the_early_answer() {
    for (fields, line) in [
        ("Content-Length: 200000\r\n", "413 Too Large"),
        ("Transfer-Encoding: chunked\r\n", "200 OK"),
    ] {
        let (ada, lb) = one();
        let put = format!("PUT / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n");
        let (mut client, mut node) = lb.send(&ada, put);
        node.head();
        node.send(format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nno"));
        // The node's connection ends with the answer, whatever else comes.
        node.expect_end();
        client.send(vec![b'0'; 200_000]);
        let head = client.expect_head(&format!("HTTP/1.1 {line}\r\n"));
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        client.expect("no");
        client.expect_end();
    }
}

#[test]
fn a_node_that_answers_and_closes_in_the_middle_of_a_body_is_heard() {
    let (ada, lb) = one();
    let (mut client, mut node) =
        lb.send(&ada, "PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: 50000000\r\n\r\n");
    node.head();
    node.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    drop(node);
    client.send_what_is_taken(vec![b'a'; 100_000]);
    client.expect_head("HTTP/1.1 413 Too Large\r\n");
    client.expect("no");
}

#[test]
fn a_body_that_breaks_while_the_answer_runs_ends_the_upload_for_the_node() {
    for rest in ["no chunk", ""] {
        let (ada, lb) = one();
        let (mut client, mut node) = lb.send(
            &ada,
            "PUT / HTTP/1.1\r\nHost: pi\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
        );
        node.expect(forwarded("PUT /", "Transfer-Encoding: chunked\r\n") + "1\r\na\r\n");
        node.send("HTTP/1.1 200 OK\r\n\r\nreading");
        client.expect_head("HTTP/1.1 200 OK\r\n");
        client.expect("reading");
        client.send(rest);
        client.finish();
        node.expect_end();
        node.send(", and done");
        drop(node);
        client.expect(", and done");
    }
}
