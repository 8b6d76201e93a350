//! A login that is bound to a node's connection stays with the client that made it.

use std::time::Duration;

use super::balancer::{GET, TestBalancer, answer, answer_of, forwarded_get, one, one_with};
use super::wire::{ScriptedNode, Wire};

const LOGIN: &str = "GET / HTTP/1.1\r\nHost: pi\r\nAuthorization: NTLM TlRMTVNTUAAB\r\n\r\n";
const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const CHALLENGE: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM TlRMTVNTUAAC\r\n\
                         Content-Length: 0\r\n\r\n";

/// Answers the request that has been sent over this connection.
#[track_caller]
fn answer_next((client, node): (&mut Wire, &mut Wire), reply: &str) {
    node.head();
    node.send(reply);
    client.head();
}

/// Sends a request that has to come over this connection, and answers it.
#[track_caller]
fn exchange((client, node): (&mut Wire, &mut Wire), request: &str, reply: &str) {
    client.send(request);
    answer_next((client, node), reply);
}

/// A client that has logged in, and the connection on which the node knows it.
#[track_caller]
fn logged_in(ada: &ScriptedNode, lb: &TestBalancer) -> (Wire, Wire) {
    let (mut client, mut node) = lb.send(ada, LOGIN);
    node.head();
    node.send(answer("ada's"));
    client.expect(answer_of("ada", "ada's"));
    (client, node)
}

#[test]
fn a_login_of_a_connection_ends_with_its_client_and_serves_no_other() {
    let (ada, lb) = one();
    let (first, mut node) = logged_in(&ada, &lb);
    let (mut second, mut other) = lb.send(&ada, GET);
    other.expect(forwarded_get());
    other.send(answer("nobody's"));
    second.expect(answer_of("ada", "nobody's"));
    drop(first);
    node.expect_end();
    // The connection without a login is one that any client may get.
    let mut third = lb.client();
    exchange((&mut third, &mut other), GET, DONE);
}

#[test]
fn each_field_of_such_a_login_binds_the_connection_whatever_its_case() {
    let plain = DONE.to_owned();
    let asks = |field: &str| format!("GET / HTTP/1.1\r\nHost: pi\r\n{field}\r\n\r\n");
    let offers =
        |field: &str| format!("HTTP/1.1 401 Unauthorized\r\n{field}\r\nContent-Length: 0\r\n\r\n");
    for (request, reply) in [
        (asks("authorization: negotiate YII="), plain.clone()),
        (asks("Proxy-Authorization: NTLM TlRM"), plain.clone()),
        (GET.to_owned(), offers("WWW-Authenticate: Basic realm=\"x\", Negotiate")),
        (GET.to_owned(), offers("www-authenticate: Basic\r\nWWW-AUTHENTICATE: ntlm")),
        (GET.to_owned(), offers("Proxy-Authenticate: NTLM")),
        (
            GET.to_owned(),
            "HTTP/1.1 200 OK\r\nWWW-Authenticate: Negotiate oYG=\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
        ),
    ] {
        let (ada, lb) = one();
        let mut client = lb.client();
        client.send(&request);
        let mut node = ada.accept();
        answer_next((&mut client, &mut node), &reply);
        let (_other, _node) = lb.send(&ada, GET);
        drop(client);
        node.expect_end();
    }
}

#[test]
fn a_handshake_of_several_requests_stays_at_one_node_and_connection() {
    let (ada, lb) = one();
    let bob = ScriptedNode::greeter("bob");
    let (mut client, mut node) = lb.send(&ada, LOGIN);
    answer_next((&mut client, &mut node), CHALLENGE);
    // Round robin would give every second request to bob from now on.
    lb.publish([ada.up(), bob.up()]);
    for _ in 0..4 {
        exchange((&mut client, &mut node), LOGIN, DONE);
        exchange((&mut client, &mut node), GET, DONE);
    }
    drop(client);
    node.expect_end();
}

#[test]
fn a_request_of_a_login_is_never_sent_again() {
    let (ada, lb) = one();
    for request in [LOGIN, GET] {
        let (mut client, mut node) = logged_in(&ada, &lb);
        client.send(request);
        node.head();
        node.reset();
        let head = client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
        assert!(head.contains("Content-Type: text/plain"), "{head}");
        ada.expect_nobody();
    }
}

#[test]
fn a_connection_that_the_node_has_closed_meanwhile_costs_no_request() {
    let (ada, lb) = one();
    let (mut client, mut node) = logged_in(&ada, &lb);
    node.finish();
    client.send(GET);
    let mut fresh = ada.accept();
    answer_next((&mut client, &mut fresh), DONE);
}

#[test]
fn a_connection_of_a_trusted_proxy_pins_nothing_and_no_login_is_kept() {
    let (ada, lb) = one_with(|setup| {
        setup.trusted_proxies.networks = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let (mut client, mut node) = logged_in(&ada, &lb);
    node.expect_end();
    client.send(GET);
    let mut fresh = ada.accept();
    answer_next((&mut client, &mut fresh), DONE);
}

#[test]
fn a_pinned_connection_ends_with_a_drain_and_counts_only_while_it_works() {
    let (ada, lb) = one_with(|setup| setup.inflight_max = Some(1));
    let (mut idle, mut node) = logged_in(&ada, &lb);
    // The one place at the node is free.
    let (mut other, mut second) = logged_in(&ada, &lb);
    exchange((&mut idle, &mut node), GET, DONE);
    lb.publish([ada.draining()]);
    idle.expect_end();
    node.expect_end();
    other.expect_end();
    second.expect_end();
}

#[test]
fn a_node_has_at_most_64_such_connections_and_the_longest_idle_one_goes() {
    let (ada, lb) = one();
    let mut all: Vec<_> = (0..64)
        .map(|_| {
            // Each has been idle for longer than the next one.
            std::thread::yield_now();
            logged_in(&ada, &lb)
        })
        .collect();
    let (mut client, mut node) = all.remove(0);
    exchange((&mut client, &mut node), GET, DONE);
    let _one_more = logged_in(&ada, &lb);
    let (mut longest, mut its_node) = all.remove(0);
    longest.expect_end();
    its_node.expect_end();
    exchange((&mut client, &mut node), GET, DONE);
    client.expect_silence(Duration::from_millis(30));
}
