//! Requests that are sent again: to which node, and which never are.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use picluster::cluster::health::{Health, Outcome};
use picluster::cluster::pool::Member;

use super::balancer::{
    GET, POST, TestBalancer, answer, answer_of, forwarded, forwarded_get, one, one_with,
    wait_until_free,
};
use super::wire::{ScriptedNode, Wire};

const DELETE: &str = "DELETE / HTTP/1.1\r\nHost: pi\r\n\r\n";

/// A balancer that picks the first of these two next; the order is by name.
fn two() -> (ScriptedNode, ScriptedNode, TestBalancer) {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::new("bob"));
    let lb = TestBalancer::before(&[&ada, &bob]);
    (ada, bob, lb)
}

/// A kept connection to `node`, after one request of this client.
fn keep(client: &mut Wire, node: &ScriptedNode) -> Wire {
    client.send(GET);
    let mut kept = node.accept();
    kept.head();
    kept.send(answer(""));
    client.expect_head("HTTP/1.1 200 OK\r\n");
    kept
}

#[test]
fn a_refused_connection_costs_nothing_even_for_a_post() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::greeter("bob"));
    let mut lb = TestBalancer::before(&[&ada, &bob]);
    let counters = std::sync::Arc::clone(&ada.counters);
    let epoch = ada.epoch();
    drop(ada);
    let request = POST.replace("hello", "");
    let request = request.replace("Content-Length: 5", "Content-Length: 0");
    for _ in 0..4 {
        assert_eq!(lb.ask(&request), answer_of("bob", "bob"));
    }
    assert!(counters.failures.load(Ordering::Relaxed) >= 1);
    assert!(lb.told_of(epoch).contains(&Outcome::Refused));
    assert_eq!((lb.failed(), counters.inflight.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn a_request_the_application_has_not_seen_goes_elsewhere_safe_or_not() {
    let (ada, bob, mut lb) = two();
    let turned_away = "HTTP/1.1 503 Service Unavailable\r\nX-Picluster-State: app-down\r\n\
                       Content-Length: 4\r\n\r\ngone";
    let mut client = lb.client();
    client.send(POST);
    let mut first = ada.accept();
    first.head();
    first.expect("hello");
    first.send(turned_away);
    let mut second = bob.accept();
    second.head();
    second.expect("hello");
    second.send(answer("1"));
    client.expect(answer_of("bob", "1"));
    assert_eq!(lb.told(&ada).last(), Some(&Outcome::Refused));
    // The same over a kept connection.
    let mut kept = keep(&mut client, &ada);
    client.send(GET);
    second.expect(forwarded_get());
    second.send(answer("2"));
    client.expect(answer_of("bob", "2"));
    client.send(GET);
    kept.head();
    kept.send(turned_away);
    second.expect(forwarded_get());
    second.send(answer("3"));
    client.expect(answer_of("bob", "3"));
    assert_eq!(lb.failed(), 0);
}

#[test]
fn a_request_the_application_went_away_over_goes_elsewhere_if_safe() {
    let died =
        "HTTP/1.1 502 Bad Gateway\r\nX-Picluster-State: app-down\r\nContent-Length: 4\r\n\r\ngone";
    for (request, safe) in [(GET, true), (POST, false)] {
        let (ada, bob, mut lb) = two();
        let mut client = lb.client();
        client.send(request);
        let mut first = ada.accept();
        first.head();
        first.send(died);
        if safe {
            let mut second = bob.accept();
            second.expect(forwarded_get());
            second.send(answer("1"));
            client.expect(answer_of("bob", "1"));
        } else {
            client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
        }
        assert_eq!(lb.told(&ada).last(), Some(&Outcome::Broken));
    }
}

#[test]
fn a_get_whose_node_died_is_sent_once_more_elsewhere() {
    let (ada, bob, mut lb) = two();
    let mut client = lb.client();
    client.send(GET);
    let mut first = ada.accept();
    first.expect(forwarded_get());
    first.reset();
    let mut second = bob.accept();
    second.expect(forwarded_get());
    second.send(answer("1"));
    client.expect(answer_of("bob", "1"));
    assert_eq!(lb.told(&ada).last(), Some(&Outcome::Broken));
    assert_eq!(lb.failed(), 0);
    wait_until_free(&ada);
}

#[test]
fn a_request_that_kills_two_nodes_kills_no_third() {
    let nodes = [ScriptedNode::new("ada"), ScriptedNode::new("bob"), ScriptedNode::new("cyd")];
    let lb = TestBalancer::before(&nodes.each_ref());
    let mut client = lb.client();
    client.send(GET);
    for node in &nodes[..2] {
        let mut killed = node.accept();
        killed.expect(forwarded_get());
    }
    client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
    nodes[2].expect_nobody();
    assert_eq!(lb.failed(), 1);
}

#[test]
fn a_request_is_not_blamed_for_a_fall_of_all_that_one_node_never_saw() {
    let nodes = [ScriptedNode::new("ada"), ScriptedNode::new("bob"), ScriptedNode::new("cyd")];
    let [ada, bob, cyd] = &nodes;
    let lb = TestBalancer::before(&nodes.each_ref());
    let mut client = lb.client();
    client.send(GET);
    for node in [ada, bob] {
        node.accept().expect(forwarded_get());
    }
    lb.publish([ada.down(), bob.down(), refuses(cyd, lb.now())]);
    lb.publish([ada.down(), bob.down(), cyd.up()]);
    let mut third = cyd.accept();
    third.expect(forwarded_get());
    third.send(answer("1"));
    client.expect(answer_of("cyd", "1"));
    assert_eq!(lb.failed(), 0);
}

#[test]
fn a_request_that_kills_is_cleared_only_by_the_fall_of_all_and_only_once() {
    let nodes = ["ada", "bob", "cyd", "dan"].map(ScriptedNode::new);
    let [ada, bob, cyd, dan] = &nodes;
    let lb = TestBalancer::before(&nodes.each_ref());
    // Another such request has killed cyd. Not all have fallen, so dan must not get this one.
    let mut client = lb.client();
    client.send(GET);
    for node in [ada, bob] {
        node.accept().expect(forwarded_get());
    }
    lb.publish([ada.down(), bob.down(), refuses(cyd, lb.now()), dan.up()]);
    client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
    dan.expect_nobody();
    // All have fallen. One of them never saw the request, but it fell earlier.
    lb.publish([ada.up(), bob.up()]);
    let mut client = lb.client();
    client.send(GET);
    for node in [ada, bob] {
        node.accept().expect(forwarded_get());
    }
    let before = lb.now().saturating_sub(Duration::from_secs(10));
    lb.publish([ada.down(), bob.down(), refuses(cyd, before)]);
    client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
    // All fall, twice.
    lb.publish([ada.up(), bob.up()]);
    let mut client = lb.client();
    client.send(GET);
    for node in [ada, bob] {
        node.accept().expect(forwarded_get());
    }
    lb.publish([ada.down(), bob.down(), refuses(cyd, lb.now())]);
    lb.publish([ada.down(), bob.down(), cyd.up()]);
    cyd.accept().expect(forwarded_get());
    lb.publish([ada.down(), bob.down(), cyd.down(), refuses(dan, lb.now())]);
    lb.publish([dan.up()]);
    client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
    dan.expect_nobody();
}

/// A node at which nobody has listened since then.
fn refuses(node: &ScriptedNode, since: Duration) -> Member {
    Member { health: Health::Ejected, since, ..node.down() }
}

#[test]
fn a_node_on_trial_that_answers_nonsense_costs_no_get() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::greeter("bob"));
    let lb = TestBalancer::before(&[&ada, &bob]);
    lb.publish([ada.on_trial(), bob.up()]);
    let mut client = lb.client();
    client.send(GET);
    let mut tried = ada.accept();
    tried.expect(forwarded_get());
    tried.send("nonsense\r\n\r\n");
    client.expect(answer_of("bob", "bob"));
}

#[test]
fn every_fifth_request_in_a_row_that_breaks_off_is_reported_of_its_node() {
    let ada = ScriptedNode::new("ada");
    let mut lb = TestBalancer::before(&[&ada]);
    for attempt in 1..=5 {
        assert!(!lb.told(&ada).contains(&Outcome::Breaking));
        let (mut client, mut node) = lb.send(&ada, POST);
        node.head();
        if attempt % 2 == 0 {
            node.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
            client.expect_head("HTTP/1.1 200 OK\r\n");
            node.reset();
            assert!(client.rest().1.is_err(), "no end that looks whole");
        } else {
            node.reset();
            client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
        }
    }
    lb.wait_until_told(&ada, Outcome::Breaking);
}

#[test]
fn a_post_that_reached_its_node_is_not_sent_again() {
    let (ada, bob, lb) = two();
    let mut client = lb.client();
    client.send(POST);
    let mut first = ada.accept();
    first.expect(forwarded("POST /", "Content-Length: 5\r\n") + "hello");
    first.reset();
    client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
    bob.expect_nobody();
}

#[test]
fn an_idempotency_key_lets_a_post_be_sent_again() {
    let (ada, bob, lb) = two();
    let mut client = lb.client();
    let fields = "Content-Length: 5\r\nIdempotency-Key: 7\r\n";
    client.send(format!("POST / HTTP/1.1\r\nHost: pi\r\n{fields}\r\nhello"));
    drop(ada.accept());
    let mut second = bob.accept();
    second.expect(forwarded("POST /", fields) + "hello");
    second.send(answer("1"));
    client.expect(answer_of("bob", "1"));
}

#[test]
fn a_body_up_to_64_kib_is_sent_again_byte_for_byte() {
    let len = 64 * 1024;
    let body: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    let fields = format!("Content-Length: {len}\r\n");
    let (ada, bob, lb) = two();
    let mut client = lb.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n"));
    let (start, rest) = body.split_at(40_000);
    client.send(start);
    let mut first = ada.accept();
    first.expect(forwarded("PUT /", &fields));
    first.expect(start);
    drop(first);
    let mut second = bob.accept();
    second.expect(forwarded("PUT /", &fields));
    second.expect(start);
    client.send(rest);
    second.expect(rest);
    second.send(answer("1"));
    client.expect(answer_of("bob", "1"));
}

#[test]
fn a_longer_body_is_not_sent_again() {
    let len = 200 * 1024;
    let (ada, bob, lb) = two();
    let mut client = lb.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: {len}\r\n\r\n"));
    client.send(vec![b'a'; len]);
    let mut first = ada.accept();
    first.expect(forwarded("PUT /", &format!("Content-Length: {len}\r\n")));
    first.expect(vec![b'a'; len]);
    drop(first);
    client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
    bob.expect_nobody();
}

#[test]
fn an_answer_cut_short_is_seen_to_be_short_and_never_sent_again() {
    for head in ["Content-Length: 9\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let (ada, bob, mut lb) = two();
        let (mut client, mut node) = lb.send(&ada, GET);
        node.head();
        node.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n5\r\nha"));
        client.expect_head("HTTP/1.1 200 OK\r\n");
        client.expect("5\r\nha");
        node.reset();
        let (rest, end) = client.rest();
        assert!(rest.is_empty() && end.is_err(), "{rest:?} {end:?}");
        bob.expect_nobody();
        wait_until_free(&ada);
        assert_eq!(lb.told(&ada).last(), Some(&Outcome::Broken), "{head}");
        assert_eq!((lb.failed(), ada.counters.failures.load(Ordering::Relaxed)), (1, 1));
    }
}

#[test]
fn a_client_that_leaves_during_an_answer_is_not_the_nodes_failure() {
    let (ada, _bob, mut lb) = two();
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
    client.expect_head("HTTP/1.1 200 OK\r\n");
    client.reset();
    node.send_what_is_taken(vec![0; 10_000_000]);
    wait_until_free(&ada);
    assert!(!lb.told(&ada).contains(&Outcome::Broken));
    assert_eq!((lb.failed(), ada.counters.failures.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn a_kept_connection_found_dead_costs_nothing() {
    let (ada, lb) = one();
    let mut client = lb.client();
    drop(keep(&mut client, &ada));
    client.expect_silence(Duration::from_millis(20));
    for request in [GET, POST] {
        client.send(request);
        let mut node = ada.accept();
        node.expect_head(&request[..5]);
        node.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        client.expect_head("HTTP/1.1 200 OK\r\n");
    }
    assert_eq!(ada.counters.failures.load(Ordering::Relaxed), 0);
}

#[test]
fn two_kept_connections_that_are_about_to_be_closed_do_not_fail_a_get() {
    let (ada, lb) = one();
    let (mut one, mut other) = (lb.client(), lb.client());
    one.send(GET);
    other.send(GET);
    let mut kept = [ada.accept(), ada.accept()];
    for node in &mut kept {
        node.head();
        node.send(answer(""));
    }
    for client in [&mut one, &mut other] {
        client.expect_head("HTTP/1.1 200 OK\r\n");
    }
    one.send(GET);
    // Each kept connection dies with the next request in it, whichever is used.
    thread::scope(|scope| {
        for node in kept {
            scope.spawn(|| drop_at_the_next_byte(node));
        }
        let mut fresh = ada.accept();
        fresh.expect(forwarded_get());
        fresh.send(answer("1"));
        one.expect(answer_of("ada", "1"));
    });
}

fn drop_at_the_next_byte(mut node: Wire) {
    let _ = node.first_byte();
}

#[test]
fn an_unsafe_method_takes_a_kept_connection_only_after_a_fresh_answer() {
    let (ada, lb) = one();
    let mut client = lb.client();
    let mut kept = keep(&mut client, &ada);
    client.expect_silence(Duration::from_millis(150));
    client.send(POST);
    let mut fresh = ada.accept();
    fresh.expect_head("POST / ");
    fresh.expect("hello");
    fresh.send(answer(""));
    client.expect_head("HTTP/1.1 200 OK\r\n");
    client.send(DELETE);
    fresh.expect_head("DELETE / ");
    kept.expect_silence(Duration::from_millis(10));
}

#[test]
fn a_kept_connection_is_closed_by_us_after_its_time() {
    let limit = Duration::from_millis(50);
    let (ada, lb) = one_with(|setup| setup.limits.upstream_idle = limit);
    let mut client = lb.client();
    let mut kept = keep(&mut client, &ada);
    kept.expect_end();
}

#[test]
fn no_node_is_tried_twice_while_another_is_untried() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::new("bob"));
    let (cyd, dan) = (ScriptedNode::new("cyd"), ScriptedNode::greeter("dan"));
    let lb = TestBalancer::before(&[&ada, &bob, &cyd, &dan]);
    let gone = [&ada, &bob, &cyd].map(|node| std::sync::Arc::clone(&node.counters));
    drop((ada, bob, cyd));
    assert_eq!(lb.ask(GET), answer_of("dan", "dan"));
    for counters in gone {
        assert_eq!(counters.failures.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn all_nodes_are_tried_again_and_again_until_the_time_for_tries_is_over() {
    let span = Duration::from_millis(200);
    let (ada, lb) = one_with(|setup| setup.limits.retry_for = span);
    let counters = std::sync::Arc::clone(&ada.counters);
    drop(ada);
    let began = Instant::now();
    let got = lb.ask(GET);
    assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
    assert!(began.elapsed() >= span);
    let failures = counters.failures.load(Ordering::Relaxed);
    assert!((2..20).contains(&failures), "{failures} connections");
}

#[test]
fn a_status_is_never_retried() {
    let (ada, bob, lb) = two();
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    node.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    client.expect("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nX-Picluster-Node: ada\r\n\r\n");
    bob.expect_nobody();
    assert_eq!(lb.failed(), 0);
}

#[test]
fn a_request_to_a_vanished_host_is_sent_elsewhere_once_that_is_known() {
    let (ada, bob, mut lb) = two();
    let mut client = lb.client();
    client.send(GET);
    let mut first = ada.accept();
    first.head();
    lb.wait_until_told(&ada, Outcome::Silent);
    lb.publish([ada.vanished(), bob.up()]);
    let mut second = bob.accept();
    second.expect(forwarded_get());
    second.send(answer("1"));
    client.expect(answer_of("bob", "1"));
}

#[test]
fn a_body_on_its_way_to_a_host_that_vanished_goes_elsewhere() {
    let (ada, bob, lb) = two();
    let mut client = lb.client();
    client.send("PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: 2\r\n\r\na");
    let mut first = ada.accept();
    first.head();
    first.expect("a");
    lb.publish([ada.vanished(), bob.up()]);
    let mut second = bob.accept();
    second.head();
    second.expect("a");
    client.send("b");
    second.expect("b");
    second.send(answer("1"));
    client.expect(answer_of("bob", "1"));
}

#[test]
fn a_slow_answer_asks_whether_its_node_lives_and_is_waited_for() {
    let (ada, bob, mut lb) = two();
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    lb.wait_until_told(&ada, Outcome::Silent);
    lb.publish([ada.down(), bob.up()]);
    client.expect_silence(Duration::from_millis(50));
    node.send(answer("1"));
    client.expect(answer_of("ada", "1"));
}

#[test]
fn a_connection_whose_body_may_be_unread_gets_no_second_request() {
    let (start, tail) = POST.split_at(POST.len() - 3);
    for (status, tail_first) in [("413 Too Long", true), ("200 OK", false)] {
        let (ada, lb) = one();
        let mut client = lb.client();
        client.send(start);
        let mut node = ada.accept();
        node.expect(forwarded("POST /", "Content-Length: 5\r\n") + "he");
        if tail_first {
            client.send(tail);
            node.expect("llo");
        }
        node.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        client.expect_head(&format!("HTTP/1.1 {status}\r\n"));
        let (_other, mut fresh) = lb.send(&ada, GET);
        fresh.expect(forwarded_get());
    }
}
