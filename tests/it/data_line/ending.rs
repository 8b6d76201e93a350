//! The number of connections, and their end.

use std::time::{Duration, Instant};

use super::balancer::{GET, TestBalancer, answer, answer_of, forwarded_get, one};
use super::wire::{ScriptedNode, Wire};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_request_that_runs_when_the_end_begins_is_answered_and_then_closed() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, GET);
    node.expect(forwarded_get());
    lb.drain(LONG);
    client.expect_silence(Duration::from_millis(600));
    node.send(answer("1"));
    let head = client.expect_head("HTTP/1.1 200 OK\r\n");
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    client.expect("1");
    client.expect_end();
    lb.join();
}

#[test]
fn a_connection_not_yet_accepted_when_the_end_begins_is_served() {
    let ada = ScriptedNode::greeter("ada");
    for _ in 0..5 {
        let lb = TestBalancer::before(&[&ada]);
        let waiting: Vec<_> = (0..50).map(|_| lb.client()).collect();
        lb.drain(LONG);
        served_to_the_end(waiting);
        lb.join();
    }
}

#[test]
fn a_connection_that_waits_for_a_place_when_the_end_begins_is_served() {
    let ada = ScriptedNode::greeter("ada");
    let lb = TestBalancer::with(&[&ada], |setup| {
        setup.limits.connections = 1;
        setup.hold = LONG;
    });
    let mut first = lb.client();
    first.send(GET);
    first.expect(answer_of("ada", "ada"));
    let waiting: Vec<_> = (0..10).map(|_| lb.client()).collect();
    lb.drain(LONG);
    served_to_the_end(waiting);
    lb.join();
}

fn served_to_the_end(mut clients: Vec<Wire>) {
    for client in &mut clients {
        client.send(GET);
    }
    for client in &mut clients {
        let head = client.expect_head("HTTP/1.1 200 OK\r\n");
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        client.expect("ada");
        client.expect_end();
    }
}

#[test]
fn an_idle_connection_has_a_moment_for_its_last_request_and_is_closed() {
    let ada = ScriptedNode::greeter("ada");
    let lb = TestBalancer::before(&[&ada]);
    let (mut idle, mut late) = (lb.client(), lb.client());
    for client in [&mut idle, &mut late] {
        client.send(GET);
        client.expect(answer_of("ada", "ada"));
    }
    let began = Instant::now();
    lb.drain(LONG);
    late.send(GET);
    let head = late.expect_head("HTTP/1.1 200 OK\r\n");
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    late.expect("ada");
    late.expect_end();
    idle.expect_end();
    lb.join();
    // The moment is shorter than a second; without it the end would take all of LONG.
    assert!(began.elapsed() < LONG / 6);
}

#[test]
fn a_connection_that_never_asked_for_anything_does_not_delay_the_end() {
    let lb = TestBalancer::before(&[]);
    let mut silent = lb.client();
    lb.drain(LONG);
    let began = Instant::now();
    silent.expect_end();
    lb.join();
    // The moment is shorter than a second; a wait for the silent client would take all of LONG.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_connection_still_open_at_the_deadline_is_cut() {
    let (ada, lb) = one();
    let (mut client, mut node) =
        lb.send(&ada, "GET / HTTP/1.1\r\nHost: pi\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n");
    node.head();
    node.send("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
    client.expect_head("HTTP/1.1 101 Go\r\n");
    lb.drain(Duration::from_millis(100));
    assert!(client.rest().0.is_empty() && node.rest().0.is_empty());
    lb.join();
}

#[test]
fn clients_that_come_and_go_in_any_state_leave_nothing_in_flight() {
    let ada = ScriptedNode::greeter("ada");
    let lb = TestBalancer::before(&[&ada]);
    let post = "POST / HTTP/1.1\r\nHost: pi\r\nContent-Length: 5\r\n\r\n";
    for sent in ["", "GET", GET, post, "GET / HTTP/1.1\r\nHost: pi\r\n\r\nGET"] {
        for _ in 0..5 {
            let mut client = lb.client();
            client.send(sent);
            client.reset();
            let mut client = lb.client();
            client.send(sent);
            drop(client);
        }
    }
    super::balancer::wait_until_free(&ada);
    assert_eq!(lb.ask(GET), answer_of("ada", "ada"));
}
