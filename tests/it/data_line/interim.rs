//! What comes before, instead of, or in the middle of an answer.

use std::time::Duration;

use super::front::{Front, GET, answer, answer_of, forwarded, forwarded_get, one, one_with};
use super::wire::{Puppet, Wire};

const OFFER: &str = "GET / HTTP/1.1\r\nHost: pi\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";

#[test]
fn a_100_continue_comes_from_the_node_and_then_the_body_goes() {
    let (ada, front) = one();
    let fields = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    let (mut client, mut node) =
        front.send(&ada, format!("POST / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n"));
    node.expect(forwarded("POST /", fields));
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
    let (ada, front) = one_with(|setup| setup.limits.body = limit);
    let fields = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    let (mut client, mut node) =
        front.send(&ada, format!("POST / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n"));
    node.head();
    client.expect_silence(3 * limit);
    node.send("HTTP/1.1 100 Continue\r\n\r\n");
    client.expect_head("HTTP/1.1 100 Continue\r\n");
    client.expect_head("HTTP/1.1 408 ");
}

#[test]
fn a_refusal_in_place_of_the_100_ends_the_connection() {
    let (ada, front) = one();
    let fields = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    let (mut client, mut node) =
        front.send(&ada, format!("POST / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n"));
    node.head();
    node.send("HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno");
    let head = client.expect_head("HTTP/1.1 401 No\r\n");
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    client.expect("no");
    client.expect_end();
    node.expect_end();
}

#[test]
fn any_number_of_interim_answers_passes_but_not_to_http_1_0() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    for (version, interim) in [("1.1", 2), ("1.0", 0)] {
        let (ada, front) = one_with(|setup| setup.node_header = false);
        let (mut client, mut node) =
            front.send(&ada, format!("GET / HTTP/{version}\r\nHost: pi\r\n\r\n"));
        node.head();
        node.send(format!("{hints}{hints}{}", answer("1")));
        client.expect(hints.repeat(interim));
        client.expect("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n");
    }
}

#[test]
fn an_answer_that_comes_while_the_body_flows_passes_and_ends_both_connections() {
    let (ada, front) = one();
    let (mut client, mut node) =
        front.send(&ada, "PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: 1000000\r\n\r\nsome");
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
fn a_node_that_answers_and_closes_in_the_middle_of_a_body_is_heard() {
    let (ada, front) = one();
    let (mut client, mut node) =
        front.send(&ada, "PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: 50000000\r\n\r\n");
    node.head();
    node.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    drop(node);
    client.send_what_is_taken(vec![b'a'; 100_000]);
    client.expect_head("HTTP/1.1 413 Too Large\r\n");
    client.expect("no");
}

#[test]
fn a_client_that_breaks_its_body_while_the_answer_runs_ends_the_upload_for_the_node() {
    for rest in ["no chunk", ""] {
        let (ada, front) = one();
        let (mut client, mut node) = front.send(
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

/// A client and a node that have switched protocols.
fn tunnel(ada: &Puppet, front: &Front) -> (Wire, Wire) {
    let (mut client, mut node) = front.send(&ada, format!("{OFFER}early"));
    node.expect_head("GET / HTTP/1.1\r\nHost: pi\r\nConnection: upgrade\r\nUpgrade: chat\r\n");
    node.expect_silence(Duration::from_millis(30));
    node.send(format!("{SWITCH}first"));
    client.expect_head("HTTP/1.1 101 Switching Protocols\r\n");
    client.expect("first");
    node.expect("early");
    (client, node)
}

#[test]
fn a_tunnel_carries_both_ways_and_nothing_before_its_101() {
    let (ada, front) = one();
    let (mut client, mut node) = tunnel(&ada, &front);
    client.send("GET / HTTP/1.1\r\n\r\n");
    node.expect("GET / HTTP/1.1\r\n\r\n");
    node.send(vec![0; 100_000]);
    client.expect(vec![0; 100_000]);
}

#[test]
fn a_side_of_a_tunnel_may_end_before_the_other() {
    let (ada, front) = one();
    let (mut client, mut node) = tunnel(&ada, &front);
    client.finish();
    node.expect_end();
    node.send("still here");
    client.expect("still here");
    node.finish();
    client.expect_end();
    super::front::wait_until_free(&ada);
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_cut() {
    let limit = Duration::from_millis(100);
    let (ada, front) = one_with(|setup| setup.limits.tunnel = limit);
    let (mut client, mut node) = tunnel(&ada, &front);
    assert!(client.rest().0.is_empty() && node.rest().0.is_empty());
}

#[test]
fn an_offer_that_is_declined_is_an_ordinary_request() {
    let (ada, front) = one();
    let (mut client, mut node) = front.send(&ada, format!("{OFFER}{GET}"));
    node.head();
    node.send(answer("1"));
    client.expect(answer_of("ada", "1"));
    node.expect(forwarded_get());
}

#[test]
fn a_101_that_nobody_asked_for_is_a_bad_answer() {
    let (ada, front) = one();
    let (mut client, mut node) = front.send(&ada, GET);
    node.head();
    node.send(SWITCH);
    client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
    node.expect_end();
}

#[test]
fn each_piece_of_a_stream_passes_at_once() {
    let (ada, front) = one();
    let (mut client, mut node) = front.send(&ada, GET);
    node.head();
    node.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.expect_head("HTTP/1.1 200 OK\r\n");
    for piece in ["7\r\nda", "ta: 1", "\r\n", "2\r\n", "\n\n\r\n"] {
        node.send(piece);
        client.expect(piece);
    }
    node.send("0\r\n\r\n");
    client.expect("0\r\n\r\n");
    client.send(GET);
    node.expect(forwarded_get());
}
