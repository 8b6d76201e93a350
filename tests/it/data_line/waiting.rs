//! Waits: their lengths, whom they are for, and the answer at their end.

use std::thread;
use std::time::{Duration, Instant};

use picluster::cluster::health::Outcome;

use super::balancer::{
    GET, TestBalancer, answer, answer_of, forwarded_get, one, one_with, wait_until_free,
};
use super::wire::ScriptedNode;
use crate::lab::wait_until;

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn a_request_without_a_node_waits_for_one_and_is_woken() {
    let ada = ScriptedNode::greeter("ada");
    let lb = TestBalancer::with(&[&ada], |setup| setup.hold = Duration::from_secs(60));
    lb.publish([ada.down()]);
    let mut client = lb.client();
    client.send(GET);
    wait_until("it is held", || lb.held() == 1);
    lb.publish([ada.up()]);
    client.expect(answer_of("ada", "ada"));
    assert_eq!((lb.held(), lb.failed()), (0, 0));
}

#[test]
fn a_request_that_got_no_node_learns_when_to_come_again() {
    let (ada, lb) = one_with(|setup| setup.hold = SHORT);
    lb.publish([ada.down()]);
    let began = Instant::now();
    let got = lb.ask(GET);
    assert!(began.elapsed() >= SHORT);
    assert!(got.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{got}");
    assert!(got.contains("\r\nRetry-After: 1\r\n") && !got.contains("teach"), "{got}");
    assert_eq!((lb.held(), lb.failed()), (0, 1));
    ada.expect_nobody();
}

#[test]
fn a_limited_number_of_requests_is_held() {
    let ada = ScriptedNode::greeter("ada");
    let lb = TestBalancer::with(&[&ada], |setup| {
        setup.hold = Duration::from_secs(60);
        setup.limits.held = 2;
    });
    lb.publish([]);
    let mut held = [lb.client(), lb.client()];
    for client in &mut held {
        client.send(GET);
    }
    wait_until("two are held", || lb.held() == 2);
    let got = lb.ask(GET);
    assert!(got.starts_with("HTTP/1.1 503 ") && got.contains("too many requests"), "{got}");
    lb.publish([ada.up()]);
    for client in &mut held {
        client.expect(answer_of("ada", "ada"));
    }
}

#[test]
fn a_cluster_that_never_had_a_node_teaches_at_once() {
    let lb = TestBalancer::before(&[]);
    let got = lb.ask(GET);
    assert!(got.starts_with("HTTP/1.1 503 ") && got.ends_with("\r\n\r\nteach\n"), "{got}");
    let got = lb.ask("GET / HTTP/1.1\r\nHost: pi\r\nAccept: text/html,*/*\r\n\r\n");
    assert!(got.contains("Content-Type: text/html") && got.ends_with("<p>teach"), "{got}");
}

#[test]
fn a_balancer_that_has_just_started_gives_nodes_a_moment_to_be_found() {
    let ada = ScriptedNode::greeter("ada");
    let lb = TestBalancer::with(&[], |setup| setup.age = Duration::ZERO);
    let mut client = lb.client();
    client.send(GET);
    wait_until("it is held", || lb.held() == 1);
    lb.publish([ada.up()]);
    client.expect(answer_of("ada", "ada"));
    let lb = TestBalancer::with(&[], |setup| setup.age = Duration::from_millis(2900));
    assert!(lb.ask(GET).ends_with("teach\n"));
}

#[test]
fn a_client_that_leaves_while_it_is_held_is_held_no_longer() {
    let (ada, lb) = one_with(|setup| setup.hold = Duration::from_secs(60));
    lb.publish([ada.down()]);
    let mut client = lb.client();
    client.send(GET);
    wait_until("it is held", || lb.held() == 1);
    client.reset();
    wait_until("it is held no longer", || lb.held() == 0);
}

#[test]
fn a_client_that_leaves_while_its_node_is_slow_frees_the_node() {
    for head in ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"] {
        let (ada, mut lb) = one();
        let (mut client, mut node) = lb.send(&ada, GET);
        node.head();
        node.send(head);
        if !head.is_empty() {
            client.expect_head("HTTP/1.1 200 OK\r\n");
        }
        client.reset();
        node.expect_end();
        wait_until_free(&ada);
        assert!(!lb.told(&ada).contains(&Outcome::Broken));
        assert_eq!(lb.failed(), 0);
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_frees_the_node() {
    let (ada, lb) = one();
    let (client, mut node) =
        lb.send(&ada, "PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: 5\r\n\r\nhe");
    node.head();
    client.reset();
    node.expect("he");
    node.expect_end();
    wait_until_free(&ada);
    assert_eq!(lb.failed(), 0);
}

#[test]
fn a_host_that_does_not_answer_a_connect_is_raced_by_the_next() {
    let (ada, _filler) = ScriptedNode::unreachable("ada");
    let bob = ScriptedNode::greeter("bob");
    let mut lb = TestBalancer::before(&[&ada, &bob]);
    let began = Instant::now();
    assert_eq!(lb.ask(GET), answer_of("bob", "bob"));
    assert!(began.elapsed() >= Duration::from_millis(250));
    assert!(lb.told(&ada).contains(&Outcome::Silent));
    assert_eq!(lb.failed(), 0);
}

#[test]
fn a_connect_to_the_only_node_has_its_time() {
    let (ada, _filler) = ScriptedNode::unreachable("ada");
    let lb = TestBalancer::with(&[&ada], |setup| {
        setup.limits.connect = SHORT;
        setup.limits.retry_for = SHORT;
    });
    let got = lb.ask(GET);
    assert!(got.starts_with("HTTP/1.1 502 ") && got.contains("in time"), "{got}");
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_a_408() {
    let lb = TestBalancer::with(&[], |setup| setup.limits.head = SHORT);
    let mut client = lb.client();
    client.send("GET / HTTP/1.1\r\n");
    client.expect_head("HTTP/1.1 408 Request Timeout\r\n");
}

#[test]
fn a_body_that_stops_is_a_408_and_one_that_is_slow_is_not() {
    let (ada, lb) = one_with(|setup| setup.limits.body = 10 * SHORT);
    let (mut client, mut node) =
        lb.send(&ada, "PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: 9\r\n\r\n");
    node.head();
    for _ in 0..4 {
        client.expect_silence(3 * SHORT);
        client.send("a");
    }
    node.expect("aaaa");
    client.expect_head("HTTP/1.1 408 Request Timeout\r\n");
    node.expect_end();
}

#[test]
fn an_answer_that_does_not_begin_is_a_504_and_is_not_sent_elsewhere() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::new("bob"));
    let lb = TestBalancer::with(&[&ada, &bob], |setup| setup.limits.answer = 4 * SHORT);
    let mut client = lb.client();
    client.send(GET);
    ada.accept().expect_then_end(forwarded_get());
    client.expect_head("HTTP/1.1 504 Gateway Timeout\r\n");
    bob.expect_nobody();
    assert_eq!(lb.failed(), 1);
}

#[test]
fn an_answers_head_that_comes_by_drops_is_late_as_a_whole() {
    let (ada, lb) = one_with(|setup| setup.limits.answer = 10 * SHORT);
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    // It is never silent for the whole limit, and complete in the end.
    for piece in answer("").as_bytes().chunks(4) {
        node.send_what_is_taken(piece);
        crate::lab::pause(3 * SHORT);
    }
    client.expect_head("HTTP/1.1 504 Gateway Timeout\r\n");
    assert_eq!(lb.failed(), 1);
}

#[test]
fn an_answer_that_stops_is_cut() {
    let (ada, lb) = one_with(|setup| setup.limits.answer_body = SHORT);
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    client.expect_head("HTTP/1.1 200 OK\r\n");
    assert!(client.rest().1.is_err());
    wait_until_free(&ada);
    assert_eq!(lb.failed(), 1);
}

#[test]
fn a_client_that_does_not_read_is_cut_and_frees_the_node() {
    let (ada, lb) = one_with(|setup| setup.limits.send = SHORT);
    let (_client, mut node) = lb.send(&ada, GET);
    node.head();
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
    thread::scope(|scope| {
        scope.spawn(|| node.send_what_is_taken(vec![0; 99_999_999]));
        wait_until_free(&ada);
    });
    assert_eq!(lb.failed(), 0);
}

#[test]
fn an_idle_client_is_closed_without_a_word() {
    let ada = ScriptedNode::greeter("ada");
    let lb = TestBalancer::with(&[&ada], |setup| setup.limits.keep_alive = SHORT);
    let began = Instant::now();
    let (mut fresh, mut used) = (lb.client(), lb.client());
    used.send(GET);
    used.expect(answer_of("ada", "ada"));
    used.expect_end();
    fresh.expect_end();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_client_that_knows_of_the_end_is_not_waited_for() {
    let ada = ScriptedNode::greeter("ada");
    let lb = TestBalancer::with(&[&ada], |setup| setup.limits.connections = 1);
    // There is room for one client. Each is let in when the one before it is served, not when it
    // has closed.
    let began = Instant::now();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = lb.client();
            client.send("GET / HTTP/1.1\r\nHost: pi\r\nConnection: close\r\n\r\n");
            client.expect_head("HTTP/1.1 200 OK\r\n");
            client.expect("ada");
            client
        })
        .collect();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(clients);
}

#[test]
fn a_slow_client_does_not_disturb_the_others() {
    let (ada, lb) = one();
    let mut slow = lb.client();
    slow.send(&GET[..9]);
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    node.send(answer("1"));
    client.expect(answer_of("ada", "1"));
    slow.send(&GET[9..]);
    node.expect(forwarded_get());
}
