//! Each limit in time against each state of a connection. A limit ends the state in which somebody
//! owes what the limit is about, and no other state.

use std::thread;
use std::time::Duration;

use picluster::cluster::config::Limits;

use super::balancer::{GET, POST, TestBalancer, answer, answer_of, one_with, wait_until_free};
use super::wire::{PATIENCE, ScriptedNode, Wire};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Head,
    KeepAlive,
    Body,
    Send,
    Answer,
    AnswerBody,
    HalfClosed,
    Tunnel,
}

const ALL: [Limit; 8] = [
    Limit::Head,
    Limit::KeepAlive,
    Limit::Body,
    Limit::Send,
    Limit::Answer,
    Limit::AnswerBody,
    Limit::HalfClosed,
    Limit::Tunnel,
];

const SHORT: Duration = Duration::from_millis(500);

/// Limits of which this one is short and all others are long.
fn limits(short: Limit) -> Limits {
    let of = |limit| if limit == short { SHORT } else { 6 * PATIENCE };
    Limits {
        head: of(Limit::Head),
        keep_alive: of(Limit::KeepAlive),
        body: of(Limit::Body),
        send: of(Limit::Send),
        answer: of(Limit::Answer),
        answer_body: of(Limit::AnswerBody),
        half_closed: of(Limit::HalfClosed),
        tunnel: of(Limit::Tunnel),
        upstream_idle: 6 * PATIENCE,
        ..Limits::default()
    }
}

/// Leads a connection into a state. Returns the client's end and the node's.
type Begin = fn(&ScriptedNode, &TestBalancer) -> (Wire, Wire);

/// Checks a state that `begin` leads to. If one of the limits `its` is short, the state ends by
/// itself as `ended` expects. If any other limit is short, nothing happens, and `go_on` ends the
/// state well.
fn only(its: &[Limit], begin: Begin, ended: fn(&mut Wire), go_on: fn(&mut Wire, &mut Wire)) {
    let run = |short| {
        let (ada, lb) = one_with(|setup| setup.limits = limits(short));
        let (mut client, mut node) = begin(&ada, &lb);
        if its.contains(&short) {
            // This comes before anything is read, because reading may be what is owed.
            wait_until_free(&ada);
            ended(&mut client);
        } else {
            crate::lab::pause(3 * SHORT);
            go_on(&mut client, &mut node);
        }
    };
    thread::scope(|scope| {
        for short in ALL {
            // A failure shows the name of its thread.
            let thread = thread::Builder::new().name(format!("{short:?} is short"));
            thread.spawn_scoped(scope, move || run(short)).unwrap();
        }
    });
}

/// One request is answered, and `next` is the beginning of another.
fn after_one(ada: &ScriptedNode, lb: &TestBalancer, next: &str) -> (Wire, Wire) {
    let (mut client, mut node) = lb.send(ada, format!("{GET}{next}"));
    node.head();
    node.send(answer("1"));
    client.expect(answer_of("ada", "1"));
    (client, node)
}

fn get(client: &mut Wire, node: &mut Wire, request: &str) {
    client.send(request);
    node.head();
    node.send(answer("2"));
    client.expect(answer_of("ada", "2"));
}

#[test]
fn a_head_that_stops_is_ended_by_its_limit_alone() {
    only(
        &[Limit::Head],
        |ada, lb| after_one(ada, lb, &GET[..20]),
        |client| drop(client.expect_head("HTTP/1.1 408 ")),
        |client, node| get(client, node, &GET[20..]),
    );
}

#[test]
fn a_connection_without_request_is_ended_by_its_limit_alone() {
    only(
        &[Limit::KeepAlive],
        |ada, lb| after_one(ada, lb, ""),
        Wire::expect_end,
        |client, node| get(client, node, GET),
    );
}

#[test]
fn a_body_that_stops_is_ended_by_its_limit_alone() {
    only(
        &[Limit::Body],
        |ada, lb| lb.send(ada, &POST[..POST.len() - 3]),
        |client| drop(client.expect_head("HTTP/1.1 408 ")),
        |client, node| {
            client.send("llo");
            node.expect_head("POST ");
            node.expect("hello");
            node.send(answer("1"));
            client.expect(answer_of("ada", "1"));
        },
    );
}

#[test]
fn an_answer_that_does_not_begin_is_ended_by_its_limit_alone() {
    let begins: [Begin; 2] = [|ada, lb| lb.send(ada, GET), |ada, lb| lb.send(ada, POST)];
    for begin in begins {
        only(
            &[Limit::Answer],
            begin,
            |client| drop(client.expect_head("HTTP/1.1 504 ")),
            |client, node| {
                node.head();
                node.send(answer("1"));
                client.expect(answer_of("ada", "1"));
            },
        );
    }
}

#[test]
fn an_answer_that_stops_is_ended_by_its_limit_alone() {
    only(
        &[Limit::AnswerBody],
        |ada, lb| {
            let (mut client, mut node) = lb.send(ada, GET);
            node.head();
            node.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ");
            client.expect_head("HTTP/1.1 200 OK\r\n");
            client.expect("half ");
            (client, node)
        },
        |client| assert!(client.rest().1.is_err()),
        |client, node| {
            node.send("whole");
            client.expect("whole");
        },
    );
}

#[test]
fn an_answer_that_is_not_read_is_ended_by_its_limit_alone() {
    only(
        &[Limit::Send],
        |ada, lb| {
            let (client, mut node) = lb.send(ada, GET);
            node.head();
            node.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
            node.send_pattern_until_stuck(99_999_999);
            (client, node)
        },
        |client| {
            client.expect_head("HTTP/1.1 200 OK\r\n");
            assert!(client.rest().1.is_err());
        },
        |client, _| {
            client.expect_head("HTTP/1.1 200 OK\r\n");
            client.expect_pattern(1 << 20);
        },
    );
}

#[test]
fn a_silence_after_a_half_close_is_ended_by_its_limit_and_the_nodes_alone() {
    only(
        &[Limit::HalfClosed, Limit::AnswerBody],
        |ada, lb| {
            let (mut client, mut node) = lb.send(ada, GET);
            client.finish();
            node.head();
            node.send("HTTP/1.1 200 OK\r\n\r\nhalf ");
            client.expect_head("HTTP/1.1 200 OK\r\n");
            client.expect("half ");
            (client, node)
        },
        |client| assert!(client.rest().1.is_err()),
        |client, node| {
            node.send("whole");
            node.finish();
            client.expect("whole");
            client.expect_end();
        },
    );
}

#[test]
fn a_silent_tunnel_is_ended_by_its_limit_alone() {
    only(
        &[Limit::Tunnel],
        |ada, lb| {
            let offer = "Connection: Upgrade\r\nUpgrade: chat\r\n";
            let (mut client, mut node) =
                lb.send(ada, format!("GET / HTTP/1.1\r\nHost: pi\r\n{offer}\r\n"));
            node.head();
            node.send(format!("HTTP/1.1 101 Go\r\n{offer}\r\n"));
            client.expect_head("HTTP/1.1 101 Go\r\n");
            (client, node)
        },
        |client| assert!(client.rest().1.is_err()),
        |client, node| {
            client.send("ping");
            node.expect("ping");
            // The end of one direction leaves the other direction open.
            client.finish();
            node.expect_end();
            node.send("pong");
            client.expect("pong");
        },
    );
}
