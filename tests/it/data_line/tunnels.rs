//! After a 101 both sides speak as if nothing were between them.

use std::time::Duration;

use super::balancer::{
    GET, TestBalancer, answer, answer_of, forwarded_get, one, one_with, wait_until_free,
};
use super::wire::{ScriptedNode, Wire};

const OFFER: &str = "GET / HTTP/1.1\r\nHost: pi\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";

/// A client and a node that have switched protocols.
fn tunnel(ada: &ScriptedNode, lb: &TestBalancer) -> (Wire, Wire) {
    let (mut client, mut node) = lb.send(ada, format!("{OFFER}early"));
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
    let (ada, lb) = one();
    let (mut client, mut node) = tunnel(&ada, &lb);
    client.send("GET / HTTP/1.1\r\n\r\n");
    node.expect("GET / HTTP/1.1\r\n\r\n");
    node.send(vec![0; 100_000]);
    client.expect(vec![0; 100_000]);
}

#[test]
fn a_side_of_a_tunnel_may_end_before_the_other() {
    let (ada, lb) = one();
    let (mut client, mut node) = tunnel(&ada, &lb);
    client.finish();
    node.expect_end();
    node.send("still here");
    client.expect("still here");
    node.finish();
    client.expect_end();
    wait_until_free(&ada);
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_cut() {
    let limit = Duration::from_millis(100);
    let (ada, lb) = one_with(|setup| setup.limits.tunnel = limit);
    let (mut client, mut node) = tunnel(&ada, &lb);
    assert!(client.rest().0.is_empty() && node.rest().0.is_empty());
}

#[test]
fn an_offer_that_is_declined_is_an_ordinary_request() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, format!("{OFFER}{GET}"));
    node.head();
    node.send(answer("1"));
    client.expect(answer_of("ada", "1"));
    node.expect(forwarded_get());
}

#[test]
fn an_offer_with_a_body_goes_on_once_the_whole_body_is_there() {
    for coding in ["Content-Length: 29", "Transfer-Encoding: chunked"] {
        let body = "{\"Detach\":false,\"Tty\":false}\n";
        assert_eq!(body.len(), 29);
        let is_chunked = coding.ends_with("chunked");
        let chunks = format!("1d\r\n{body}\r\n0\r\n\r\n");
        let body = if is_chunked { chunks.as_str() } else { body };
        let (ada, lb) = one();
        let mut client = lb.client();
        let fields = "Host: pi\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n";
        client.send(format!("POST /exec HTTP/1.1\r\n{fields}{coding}\r\n\r\n"));
        let (first, rest) = body.split_at(7);
        client.send(first);
        client.expect_silence(Duration::from_millis(30));
        ada.expect_nobody();
        client.send(rest);
        client.send("early");
        let mut node = ada.accept();
        let head = node.head();
        assert!(head.contains("\r\nConnection: upgrade\r\nUpgrade: tcp\r\n"), "{head}");
        node.expect(body);
        node.expect_silence(Duration::from_millis(30));
        node.send("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst");
        client.expect_head("HTTP/1.1 101 UPGRADED\r\n");
        client.expect("first");
        node.expect("early");
    }
}

#[test]
fn an_offer_with_a_body_that_is_too_long_to_be_held_is_dropped() {
    let (ada, lb) = one();
    let head = "POST / HTTP/1.1\r\nHost: pi\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
                Content-Length: 200000\r\n\r\n";
    let mut client = lb.client();
    let mut sender = client.twin();
    let body =
        std::thread::spawn(move || sender.send([head.as_bytes(), &vec![b'a'; 200_000]].concat()));
    let mut node = ada.accept();
    assert!(!node.head().contains("Upgrade"));
    node.expect(vec![b'a'; 200_000]);
    body.join().unwrap();
    node.send(answer("1"));
    client.expect(answer_of("ada", "1"));
}

#[test]
fn an_offer_with_a_body_that_the_client_holds_back_is_dropped() {
    let (ada, lb) = one_with(|setup| setup.node_header = false);
    let fields = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n";
    let head = format!("POST / HTTP/1.1\r\nHost: pi\r\nExpect: 100-continue\r\n{fields}\r\n");
    let (mut client, mut node) = lb.send(&ada, head);
    assert!(!node.head().contains("Upgrade"));
    node.send("HTTP/1.1 100 Continue\r\n\r\n");
    client.expect("HTTP/1.1 100 Continue\r\n\r\n");
    client.send("ab");
    node.expect("ab");
    node.send(answer("1"));
    client.expect(answer("1"));
}

#[test]
fn a_101_that_nobody_asked_for_is_a_bad_answer() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    node.send(SWITCH);
    client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
    node.expect_end();
}

#[test]
fn an_offer_that_is_declined_leaves_early_bytes_to_be_judged_as_a_request() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, format!("{OFFER}\x01\x05hello"));
    node.head();
    node.send("HTTP/1.1 426 Use HTTP\r\nContent-Length: 0\r\n\r\n");
    client.expect_head("HTTP/1.1 426 Use HTTP\r\n");
    client.expect_head("HTTP/1.1 400 Bad Request\r\n");
    node.expect_silence(Duration::from_millis(30));
}

#[test]
fn interim_answers_may_come_before_the_101() {
    let (ada, lb) = one_with(|setup| setup.node_header = false);
    let (mut client, mut node) = lb.send(&ada, format!("{OFFER}early"));
    node.head();
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    node.send(format!("{hints}{SWITCH}first"));
    client.expect(hints);
    client.expect_head("HTTP/1.1 101 ");
    client.expect("first");
    node.expect("early");
}

#[test]
fn a_reset_passes_through_a_tunnel() {
    for by_client in [true, false] {
        let (ada, lb) = one();
        let (client, node) = tunnel(&ada, &lb);
        let (from, mut to) = if by_client { (client, node) } else { (node, client) };
        from.reset();
        let (rest, end) = to.rest();
        assert!(rest.is_empty() && end.is_err(), "by the client: {by_client}");
        wait_until_free(&ada);
    }
}

#[test]
fn a_tunnel_in_which_one_side_speaks_is_not_silent() {
    for by_client in [true, false] {
        let limit = Duration::from_secs(2);
        let (ada, lb) = one_with(|setup| setup.limits.tunnel = limit);
        let (client, node) = tunnel(&ada, &lb);
        let (mut from, mut to) = if by_client { (client, node) } else { (node, client) };
        for _ in 0..6 {
            from.expect_silence(limit / 4);
            from.send("ping");
            to.expect("ping");
        }
        let (rest, end) = from.rest();
        assert!(rest.is_empty() && end.is_err(), "what is cut is reset");
    }
}

#[test]
fn a_tunnel_side_that_does_not_read_stops_the_other_and_loses_nothing() {
    let most = 64 << 20;
    let soon = Duration::from_millis(100);
    for by_client in [true, false] {
        // In a tunnel no limit but the tunnel's own ends a side that lets the other wait.
        let (ada, lb) = one_with(|setup| {
            (setup.limits.send, setup.limits.body, setup.limits.answer_body) = (soon, soon, soon);
            (setup.limits.head, setup.limits.keep_alive) = (soon, soon);
        });
        let (client, node) = tunnel(&ada, &lb);
        let (mut from, mut to) = if by_client { (client, node) } else { (node, client) };
        let sent = from.send_pattern_until_stuck(most);
        println!("taken before it stopped: {sent} bytes, by the client: {by_client}");
        assert!(sent < most / 2, "{sent} bytes were taken that nobody reads");
        // The way back stays open all the time.
        to.send("stop");
        from.expect("stop");
        to.expect_pattern(sent);
        from.finish();
        to.expect_end();
    }
}

#[test]
fn a_tunnel_in_which_nobody_takes_anything_is_silent() {
    let limit = Duration::from_secs(2);
    let (ada, lb) = one_with(|setup| setup.limits.tunnel = limit);
    let (mut client, _node) = tunnel(&ada, &lb);
    client.send_pattern_until_stuck(64 << 20);
    assert!(client.rest().1.is_err());
    wait_until_free(&ada);
}

#[test]
fn a_tunnel_lives_through_the_drain_until_its_deadline_and_is_reset_then() {
    let (ada, lb) = one();
    let (mut client, mut node) = tunnel(&ada, &lb);
    lb.drain(Duration::from_secs(2));
    client.expect_silence(Duration::from_millis(700));
    client.send("ping");
    node.expect("ping");
    for end in [client.rest().1, node.rest().1] {
        assert!(end.is_err());
    }
    lb.join();
}

#[test]
#[ignore = "slow tier: takes ten minutes"]
fn a_websocket_echoes_after_ten_minutes_of_silence() {
    let (ada, lb) = one();
    let offer = "GET /chat HTTP/1.1\r\nHost: pi\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let (mut client, mut node) = lb.send(&ada, offer);
    let head = node.expect_head("GET /chat HTTP/1.1\r\n");
    for field in ["Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{head}");
    }
    node.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    let head = client.expect_head("HTTP/1.1 101 Switching Protocols\r\n");
    assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    // A masked "Hello" and the same text back (RFC 6455 section 5.7).
    let (masked, plain) = (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", b"\x81\x05Hello");
    for silence in [Duration::ZERO, Duration::from_secs(600)] {
        crate::lab::pause(silence);
        client.send(masked);
        node.expect(masked);
        node.send(plain);
        client.expect(plain);
    }
}
