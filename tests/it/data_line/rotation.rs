//! Whose turn it is.

use std::sync::atomic::Ordering;

use picluster::health::Outcome;

use super::front::{Front, GET, answer_of, one, wait_until_free};
use super::wire::Puppet;

#[test]
fn requests_in_a_row_go_round_exactly_over_any_connections_and_workers() {
    let nodes = [Puppet::greeter("ada"), Puppet::greeter("bob"), Puppet::greeter("cyd")];
    let front = Front::with(&nodes.each_ref(), |setup| setup.workers = 4);
    let mut clients: Vec<_> = (0..7).map(|_| front.client()).collect();
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
    let ada = Puppet::greeter("ada");
    let front = Front::with(&[&ada], |setup| setup.node_header = false);
    assert_eq!(front.ask(GET), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nada");
}

#[test]
fn a_draining_node_serves_only_when_nothing_better_does() {
    let (ada, bob) = (Puppet::greeter("ada"), Puppet::greeter("bob"));
    let front = Front::before(&[&ada, &bob]);
    front.publish([ada.draining(), bob.up()]);
    for _ in 0..4 {
        assert_eq!(front.ask(GET), answer_of("bob", "bob"));
    }
    front.publish([ada.draining(), bob.down()]);
    assert_eq!(front.ask(GET), answer_of("ada", "ada"));
}

#[test]
fn an_answer_that_says_draining_is_told_to_the_table_and_its_connection_is_not_kept() {
    let (ada, mut front) = one();
    let (mut client, mut node) = front.send(&ada, GET);
    node.head();
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-picluster-state: draining\r\n\r\n");
    client.expect_head("HTTP/1.1 200 OK\r\n");
    node.expect_end();
    front.wait_until_told(&ada, Outcome::Draining);
}
