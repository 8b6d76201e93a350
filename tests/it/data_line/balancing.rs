//! Other policies than round-robin, clients that stick to their node, and nodes with as many
//! requests as they may have.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::balancer::{GET, TestBalancer, answer, answer_of, wait_until_free};
use super::wire::{ScriptedNode, Wire};
use crate::lab::wait_until;

const LONG: Duration = Duration::from_secs(60);

fn get_with(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n")
}

/// The cookie that an answer sets, as a field of the next request.
fn cookie_of(head: &str) -> Option<String> {
    let field = head.lines().find_map(|line| line.strip_prefix("Set-Cookie: picluster="))?;
    let (mark, attributes) = field.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    assert!(mark.len() == 16 && mark.bytes().all(|b| b.is_ascii_hexdigit()), "{mark}");
    Some(format!("Cookie: theme=dark; picluster={mark}\r\n"))
}

fn node_of(head: &str) -> &str {
    head.lines().find_map(|line| line.strip_prefix("X-Picluster-Node: ")).unwrap()
}

#[test]
fn a_client_stays_with_the_node_that_answered_it_first() {
    let nodes =
        [ScriptedNode::greeter("ada"), ScriptedNode::greeter("bob"), ScriptedNode::greeter("cyd")];
    let lb = TestBalancer::with(&nodes.each_ref(), |setup| setup.sticky = true);
    let first = lb.ask(GET);
    let cookie = cookie_of(&first).unwrap();
    for _ in 0..6 {
        let again = lb.ask(get_with(&cookie));
        assert_eq!(node_of(&again), node_of(&first));
        assert_eq!(cookie_of(&again), None, "it has it already");
    }
    // Other clients go round as before.
    let names: std::collections::BTreeSet<_> =
        (0..3).map(|_| node_of(&lb.ask(GET)).to_owned()).collect();
    assert_eq!(names.len(), 3);
}

#[test]
fn a_client_whose_node_goes_or_drains_gets_another_and_stays_there() {
    let (ada, bob) = (ScriptedNode::greeter("ada"), ScriptedNode::greeter("bob"));
    let lb = TestBalancer::with(&[&ada, &bob], |setup| setup.sticky = true);
    lb.publish([ada.up()]);
    let cookie = cookie_of(&lb.ask(GET)).unwrap();
    for gone in [ada.down(), ada.draining()] {
        lb.publish([gone, bob.up()]);
        let moved = lb.ask(get_with(&cookie));
        assert_eq!(node_of(&moved), "bob");
        lb.publish([ada.up(), bob.up()]);
        for _ in 0..3 {
            assert_eq!(node_of(&lb.ask(get_with(&cookie_of(&moved).unwrap()))), "bob");
        }
    }
}

#[test]
fn a_client_whose_node_dies_is_answered_elsewhere_with_a_new_cookie() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::greeter("bob"));
    let lb = TestBalancer::with(&[&ada, &bob], |setup| setup.sticky = true);
    lb.publish([ada.up()]);
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    node.send(answer(""));
    let cookie = cookie_of(&client.expect_head("HTTP/1.1 200 OK\r\n")).unwrap();
    lb.publish([ada.up(), bob.up()]);
    client.send(get_with(&cookie));
    node.head();
    node.reset();
    let head = client.expect_head("HTTP/1.1 200 OK\r\n");
    assert!(node_of(&head) == "bob" && cookie_of(&head).is_some(), "{head}");
}

#[test]
fn a_cookie_is_added_to_those_of_the_node_and_a_forged_one_is_replaced() {
    let ada = ScriptedNode::new("ada");
    let lb = TestBalancer::with(&[&ada], |setup| setup.sticky = true);
    let cookie = "Cookie: picluster=ada\r\n";
    let (mut client, mut node) = lb.send(&ada, get_with(cookie));
    assert!(node.head().contains(cookie));
    node.send(
        "HTTP/1.1 103 Early Hints\r\n\r\n\
         HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(cookie_of(&client.expect_head("HTTP/1.1 103 ")), None);
    let head = client.expect_head("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n");
    assert!(cookie_of(&head).is_some(), "{head}");
}

#[test]
fn a_client_that_sticks_is_no_trial_for_another_node() {
    let (ada, bob) = (ScriptedNode::greeter("ada"), ScriptedNode::new("bob"));
    let lb = TestBalancer::with(&[&ada, &bob], |setup| setup.sticky = true);
    lb.publish([ada.up()]);
    let cookie = cookie_of(&lb.ask(GET)).unwrap();
    lb.publish([ada.up(), bob.on_trial()]);
    assert_eq!(node_of(&lb.ask(get_with(&cookie))), "ada");
    bob.expect_nobody();
}

#[test]
fn without_the_flag_no_cookie_is_set_or_read() {
    let (ada, bob) = (ScriptedNode::greeter("ada"), ScriptedNode::greeter("bob"));
    let lb = TestBalancer::with(&[&ada, &bob], |setup| setup.sticky = true);
    let cookie = cookie_of(&lb.ask(GET)).unwrap();
    let lb = TestBalancer::before(&[&ada, &bob]);
    let names: Vec<_> = (0..2).map(|_| node_of(&lb.ask(get_with(&cookie))).to_owned()).collect();
    assert_ne!(names[0], names[1]);
    assert_eq!(cookie_of(&lb.ask(GET)), None);
}

#[test]
fn equal_keys_come_to_one_node_and_many_keys_to_all() {
    let nodes =
        [ScriptedNode::greeter("ada"), ScriptedNode::greeter("bob"), ScriptedNode::greeter("cyd")];
    let lb = TestBalancer::with(&nodes.each_ref(), |setup| setup.balance = "hash:header=X-User");
    let mut names = std::collections::BTreeSet::new();
    for user in 0..20 {
        let request = get_with(&format!("X-User: {user}\r\n"));
        let first = lb.ask(&request);
        let settled = || nodes.iter().for_each(wait_until_free);
        settled();
        assert_eq!(node_of(&lb.ask(&request)), node_of(&first));
        settled();
        names.insert(node_of(&first).to_owned());
    }
    assert_eq!(names.len(), 3);
}

#[test]
fn a_policy_by_clients_goes_by_their_addresses() {
    let nodes =
        [ScriptedNode::greeter("ada"), ScriptedNode::greeter("bob"), ScriptedNode::greeter("cyd")];
    let lb = TestBalancer::with(&nodes.each_ref(), |setup| setup.balance = "hash");
    let mut names = std::collections::BTreeSet::new();
    for host in 1..20 {
        let node = || {
            let mut client = lb.client_at(host);
            client.send(GET);
            let node = node_of(&client.head()).to_owned();
            nodes.iter().for_each(wait_until_free);
            node
        };
        let first = node();
        assert_eq!(node(), first);
        names.insert(first);
    }
    assert_eq!(names.len(), 3);
}

#[test]
fn a_slow_node_is_spared_by_the_policies_that_look() {
    for balance in ["p2c", "least-requests"] {
        let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::greeter("bob"));
        let lb = TestBalancer::with(&[&ada], |setup| setup.balance = balance);
        let (_client, mut node) = lb.send(&ada, GET);
        node.head();
        lb.publish([ada.up(), bob.up()]);
        for _ in 0..4 {
            assert_eq!(lb.ask(GET), answer_of("bob", "bob"), "{balance}");
            wait_until_free(&bob);
        }
    }
}

/// An answer that ends the node's connection, so that the next request comes over a new one.
fn last_answer(body: &str) -> String {
    answer(body).replacen("\r\n", "\r\nConnection: close\r\n", 1)
}

/// A balancer with one node that may have one request and has it: also the client and the connection
/// of that request.
fn full(ada: &ScriptedNode, hold: Duration) -> (TestBalancer, Wire, Wire) {
    let lb = TestBalancer::with(&[ada], |setup| {
        setup.inflight_max = Some(1);
        setup.hold = hold;
        setup.limits.held = 3;
        setup.workers = 2;
    });
    let (client, mut node) = lb.send(ada, GET);
    node.head();
    (lb, client, node)
}

#[test]
fn requests_wait_until_their_node_has_room_and_are_woken_one_by_one() {
    let ada = ScriptedNode::new("ada");
    let (lb, mut client, mut node) = full(&ada, LONG);
    let mut others = [lb.client(), lb.client(), lb.client()];
    for other in &mut others {
        other.send(GET);
    }
    wait_until("they wait", || lb.held() == 3);
    let got = lb.ask(GET);
    assert!(got.starts_with("HTTP/1.1 503 ") && got.contains("too many requests wait"), "{got}");
    node.send(last_answer("1"));
    client.expect(answer_of("ada", "1"));
    for _ in 0..3 {
        let mut node = ada.accept();
        node.head();
        assert_eq!(ada.counters.inflight.load(Ordering::Relaxed), 1);
        ada.expect_nobody();
        node.send(last_answer("2"));
    }
    for other in &mut others {
        other.expect(answer_of("ada", "2"));
    }
    assert_eq!((lb.held(), lb.failed()), (0, 1));
}

#[test]
fn a_client_that_gets_no_room_learns_when_to_come_again() {
    let ada = ScriptedNode::new("ada");
    let (lb, _client, _node) = full(&ada, Duration::from_millis(100));
    let got = lb.ask(GET);
    assert!(got.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{got}");
    assert!(got.contains("\r\nRetry-After: 1\r\n") && got.contains("all nodes are busy"), "{got}");
    assert_eq!(lb.counts().rejects.get("all_busy"), 1);
    assert_eq!(lb.counts().holds_ended.get("all_busy"), 1);
    assert_eq!((lb.held(), lb.failed()), (0, 1));
}

#[test]
fn a_client_that_leaves_while_it_waits_for_room_leaves_it_to_the_next() {
    let ada = ScriptedNode::new("ada");
    let (lb, mut client, mut node) = full(&ada, LONG);
    let mut leaves = lb.client();
    leaves.send(GET);
    wait_until("it waits", || lb.held() == 1);
    let mut stays = lb.client();
    stays.send(GET);
    wait_until("both wait", || lb.held() == 2);
    leaves.reset();
    wait_until("one waits", || lb.held() == 1);
    node.send(last_answer("1"));
    client.expect(answer_of("ada", "1"));
    let mut node = ada.accept();
    node.head();
    node.send(last_answer("2"));
    stays.expect(answer_of("ada", "2"));
}

#[test]
fn a_node_that_joins_takes_what_waits_for_room() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::greeter("bob"));
    let (lb, _client, _node) = full(&ada, LONG);
    let mut waits = lb.client();
    waits.send(GET);
    wait_until("it waits", || lb.held() == 1);
    lb.publish([ada.up(), bob.up()]);
    waits.expect(answer_of("bob", "bob"));
}

#[test]
fn a_client_that_sticks_waits_for_its_own_node_and_holds_up_no_other() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::new("bob"));
    let lb = TestBalancer::with(&[&ada, &bob], |setup| {
        (setup.inflight_max, setup.sticky, setup.hold) = (Some(1), true, LONG);
    });
    lb.publish([ada.up()]);
    let (mut client, mut at_ada) = lb.send(&ada, GET);
    at_ada.head();
    at_ada.send(answer(""));
    let cookie = cookie_of(&client.expect_head("HTTP/1.1 200 OK\r\n")).unwrap();
    wait_until_free(&ada);
    lb.publish([ada.up(), bob.up()]);
    client.send(get_with(&cookie));
    at_ada.head();
    let (mut at_bobs, mut at_bob) = lb.send(&bob, GET);
    at_bob.head();
    let (mut sticks, mut any) = (lb.client(), lb.client());
    sticks.send(get_with(&cookie));
    wait_until("one waits", || lb.held() == 1);
    any.send(GET);
    wait_until("both wait", || lb.held() == 2);
    // The first waiter has no use for the free room, and passes it to the next.
    at_bob.send(last_answer("1"));
    at_bobs.expect_head("HTTP/1.1 200 OK\r\n");
    let mut at_bob = bob.accept();
    at_bob.head();
    at_bob.send(last_answer("2"));
    assert_eq!(node_of(&any.expect_head("HTTP/1.1 200 OK\r\n")), "bob");
    assert_eq!(lb.held(), 1);
    at_ada.send(last_answer("3"));
    client.expect_head("HTTP/1.1 200 OK\r\n");
    let mut at_ada = ada.accept();
    at_ada.head();
    at_ada.send(last_answer("4"));
    assert_eq!(node_of(&sticks.expect_head("HTTP/1.1 200 OK\r\n")), "ada");
}
