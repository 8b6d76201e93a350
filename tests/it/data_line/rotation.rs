//! The order in which nodes get requests.

use std::sync::atomic::Ordering;

use picluster::cluster::health::Outcome;

use super::balancer::{GET, POST, TestBalancer, answer, answer_of, one, wait_until_free};
use super::wire::ScriptedNode;

#[test]
fn requests_in_a_row_go_round_exactly_over_any_connections_and_workers() {
    let nodes =
        [ScriptedNode::greeter("ada"), ScriptedNode::greeter("bob"), ScriptedNode::greeter("cyd")];
    let lb = TestBalancer::with(&nodes.each_ref(), |setup| setup.workers = 4);
    let mut clients: Vec<_> = (0..7).map(|_| lb.client()).collect();
    for turn in 0..3 * 20 {
        let client = &mut clients[turn % 7];
        client.send(GET);
        let head = client.expect_head("HTTP/1.1 200 OK\r\n");
        let name = ["ada", "bob", "cyd"].into_iter().find(|name| head.contains(*name)).unwrap();
        client.expect(name);
    }
    for node in &nodes {
        wait_until_free(node);
        assert_eq!(node.counters.requests.load(Ordering::Relaxed), 20);
        assert_eq!(node.counters.failures.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn the_node_header_can_be_switched_off() {
    let ada = ScriptedNode::greeter("ada");
    let lb = TestBalancer::with(&[&ada], |setup| setup.node_header = false);
    assert_eq!(lb.ask(GET), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nada");
}

#[test]
fn a_draining_node_serves_only_when_nothing_better_does() {
    let (ada, bob) = (ScriptedNode::greeter("ada"), ScriptedNode::greeter("bob"));
    let lb = TestBalancer::before(&[&ada, &bob]);
    lb.publish([ada.draining(), bob.up()]);
    for _ in 0..4 {
        assert_eq!(lb.ask(GET), answer_of("bob", "bob"));
    }
    lb.publish([ada.draining(), bob.down()]);
    assert_eq!(lb.ask(GET), answer_of("ada", "ada"));
}

#[test]
fn an_answer_that_says_draining_is_reported_and_its_connection_not_kept() {
    let (ada, mut lb) = one();
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-picluster-state: draining\r\n\r\n");
    client.expect_head("HTTP/1.1 200 OK\r\n");
    node.expect_end();
    lb.wait_until_told(&ada, Outcome::Draining);
}

#[test]
fn a_node_on_trial_gets_one_request_at_a_time_with_a_reported_answer() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::greeter("bob"));
    let mut lb = TestBalancer::before(&[&ada, &bob]);
    lb.publish([ada.on_trial(), bob.up()]);
    let mut client = lb.client();
    client.send(GET);
    let mut node = ada.accept();
    node.head();
    for _ in 0..4 {
        assert_eq!(lb.ask(GET), answer_of("bob", "bob"));
    }
    // The head is enough: the body may take an hour.
    node.send("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n");
    client.expect_head("HTTP/1.1 404 Not Found\r\n");
    lb.wait_until_told(&ada, Outcome::Answered);
    node.send("ok");
    client.expect("ok");
    wait_until_free(&ada);
    client.send(GET);
    node.head();
    node.send(answer(""));
    client.expect_head("HTTP/1.1 200 OK\r\n");
}

#[test]
fn a_trial_is_never_made_with_what_could_not_be_sent_again() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::greeter("bob"));
    let lb = TestBalancer::before(&[&ada, &bob]);
    lb.publish([ada.on_trial(), bob.up()]);
    assert_eq!(lb.ask(POST), answer_of("bob", "bob"));
    // The body is not complete yet.
    let mut client = lb.client();
    client.send("PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: 5\r\n\r\nhel");
    client.expect_head("HTTP/1.1 200 OK\r\n");
    ada.expect_nobody();
}

#[test]
fn a_trial_request_that_dies_is_answered_elsewhere() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::greeter("bob"));
    let mut lb = TestBalancer::before(&[&ada, &bob]);
    lb.publish([ada.on_trial(), bob.up()]);
    let mut client = lb.client();
    client.send(GET);
    let mut node = ada.accept();
    node.head();
    node.reset();
    client.expect(answer_of("bob", "bob"));
    lb.wait_until_told(&ada, Outcome::Broken);
    assert_eq!(lb.failed(), 0);
}

#[test]
fn nodes_on_trial_serve_everything_when_nobody_else_does() {
    let ada = ScriptedNode::greeter("ada");
    let mut lb = TestBalancer::before(&[&ada]);
    lb.publish([ada.on_trial()]);
    assert_eq!(lb.ask(POST), answer_of("ada", "ada"));
    lb.wait_until_told(&ada, Outcome::Answered);
}

#[test]
fn every_fifth_error_in_a_row_is_reported_and_a_good_answer_starts_anew() {
    let ada = ScriptedNode::new("ada");
    let mut lb = TestBalancer::before(&[&ada]);
    let mut client = lb.client();
    let mut node = None;
    let mut ask = |status: &str| {
        client.send(GET);
        let node = node.get_or_insert_with(|| ada.accept());
        node.head();
        node.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        client.expect_head(&format!("HTTP/1.1 {status}\r\n"));
    };
    (0..4).for_each(|_| ask("503 No"));
    ask("404 Not Found");
    (0..4).for_each(|_| ask("500 Broken"));
    assert!(!lb.told(&ada).contains(&Outcome::Erring));
    ask("502 Bad");
    lb.wait_until_told(&ada, Outcome::Erring);
    (0..4).for_each(|_| ask("500 Broken"));
    assert!(!lb.told(&ada).contains(&Outcome::Erring));
}

#[test]
fn a_suspect_keeps_what_it_was_sent_while_nobody_else_serves() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::greeter("bob"));
    let lb = TestBalancer::before(&[&ada]);
    lb.publish([ada.suspect(), bob.down()]);
    let mut client = lb.client();
    client.send(GET);
    let mut node = ada.accept();
    node.head();
    // Long enough for a doubt.
    client.expect_silence(std::time::Duration::from_millis(500));
    lb.publish([ada.suspect(), bob.up()]);
    client.expect(answer_of("bob", "bob"));
}
