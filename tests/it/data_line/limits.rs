//! Too many connections, of one client or of all together: the refusals, the connections that make
//! room, and the others, which see nothing of it.

use std::thread;
use std::time::{Duration, Instant};

use super::balancer::{GET, TestBalancer, answer, answer_of};
use super::wire::{ScriptedNode, Wire};
use crate::lab::{pause, wait_until};

const SHORT: Duration = Duration::from_millis(200);

/// A connection that was served once and waits for its next request.
fn idle(lb: &TestBalancer, node: &str, host: u8) -> Wire {
    let mut client = lb.client_at(host);
    served(&mut client, node);
    client
}

fn served(client: &mut Wire, node: &str) {
    client.send(GET);
    client.expect(answer_of(node, node));
}

/// A balancer with room for `connections`, of which one client may have `per_client`.
fn small(node: &ScriptedNode, connections: usize, per_client: usize) -> TestBalancer {
    TestBalancer::with(&[node], |setup| {
        setup.limits.connections = connections;
        setup.limits.connections_per_client = Some(per_client);
    })
}

#[test]
fn a_client_with_too_many_connections_is_refused_and_others_see_nothing() {
    let ada = ScriptedNode::greeter("ada");
    let lb = small(&ada, 100, 3);
    let mut mine: Vec<_> = (0..3).map(|_| idle(&lb, "ada", 1)).collect();
    for _ in 0..20 {
        // It has said nothing yet, and need not.
        let mut fourth = lb.client();
        let head = fourth.expect_head("HTTP/1.1 429 Too Many Requests\r\n");
        assert!(head.contains("\r\nRetry-After: 1\r\n"), "{head}");
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        fourth.expect("429 Too Many Requests: this address has too many connections already");
        let (_, end) = fourth.rest();
        assert!(end.is_ok(), "{end:?}");
    }
    served(&mut idle(&lb, "ada", 2), "ada");
    mine.iter_mut().for_each(|client| served(client, "ada"));
    mine.pop();
    wait_until("there is room for one again", || {
        lb.client().ask_for_one_answer(GET).starts_with("HTTP/1.1 200 ")
    });
}

#[test]
fn a_client_refused_a_connection_can_read_why_though_it_sent_a_request() {
    let ada = ScriptedNode::greeter("ada");
    let lb = small(&ada, 100, 1);
    let _mine = idle(&lb, "ada", 1);
    for _ in 0..20 {
        let mut second = lb.client();
        second.send_what_is_taken(GET.repeat(100));
        second.expect_head("HTTP/1.1 429 ");
        assert!(second.rest().1.is_ok());
    }
}

#[test]
fn the_longest_idle_connection_makes_room_when_all_places_are_taken() {
    let ada = ScriptedNode::greeter("ada");
    let lb = small(&ada, 3, 3);
    let mut clients: Vec<_> = (0..3).map(|_| idle(&lb, "ada", 1)).collect();
    served(&mut clients[0], "ada");
    served(&mut idle(&lb, "ada", 2), "ada");
    clients[1].expect_end();
    served(&mut clients[0], "ada");
    served(&mut clients[2], "ada");
}

#[test]
fn a_client_that_has_too_many_costs_no_other_its_idle_connection() {
    let ada = ScriptedNode::greeter("ada");
    let lb = small(&ada, 3, 2);
    let mut other = idle(&lb, "ada", 2);
    let _mine: Vec<_> = (0..2).map(|_| idle(&lb, "ada", 1)).collect();
    for _ in 0..5 {
        lb.client().expect_head("HTTP/1.1 429 ");
    }
    served(&mut other, "ada");
}

#[test]
fn an_unfinished_head_makes_room_when_nobody_is_idle_and_gets_a_408() {
    let ada = ScriptedNode::greeter("ada");
    let lb = TestBalancer::with(&[&ada], |setup| {
        setup.limits.connections = 2;
        setup.hold = Duration::from_secs(5);
    });
    let mut slow: Vec<_> = (0..2)
        .map(|_| {
            let mut client = lb.client();
            client.send(&GET[..9]);
            client
        })
        .collect();
    let began = Instant::now();
    served(&mut lb.client(), "ada");
    assert!(began.elapsed() >= Duration::from_millis(500), "a fresh head has a moment");
    slow[0].expect_head("HTTP/1.1 408 Request Timeout\r\n");
    // The place went to a newcomer that has left again, so the second one still has its own.
    slow[1].send(&GET[9..]);
    slow[1].expect(answer_of("ada", "ada"));
}

#[test]
fn a_newcomer_waits_for_a_place_while_all_are_busy() {
    let ada = ScriptedNode::new("ada");
    let lb = TestBalancer::with(&[&ada], |setup| {
        setup.limits.connections = 1;
        setup.hold = Duration::from_secs(60);
    });
    let mut busy = lb.client();
    busy.send(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    let mut node = ada.accept();
    node.head();
    let mut newcomer = lb.client();
    newcomer.send(GET);
    newcomer.expect_silence(SHORT);
    node.send(answer("1"));
    busy.expect_head("HTTP/1.1 200 OK\r\n");
    node.head();
    node.send(answer("2"));
    newcomer.expect(answer_of("ada", "2"));
}

#[test]
fn a_newcomer_that_got_no_place_learns_when_to_come_again() {
    let ada = ScriptedNode::new("ada");
    let lb = TestBalancer::with(&[&ada], |setup| {
        setup.limits.connections = 1;
        setup.hold = SHORT;
    });
    let mut busy = lb.client();
    busy.send(GET);
    let mut node = ada.accept();
    node.head();
    let began = Instant::now();
    let mut newcomer = lb.client();
    let head = newcomer.expect_head("HTTP/1.1 503 Service Unavailable\r\n");
    assert!(began.elapsed() >= SHORT);
    assert!(head.contains("\r\nRetry-After: 1\r\nConnection: close\r\n"), "{head}");
    node.send(answer("1"));
    busy.expect(answer_of("ada", "1"));
}

#[test]
fn a_limited_number_of_newcomers_waits_for_a_place() {
    let ada = ScriptedNode::new("ada");
    let lb = TestBalancer::with(&[&ada], |setup| {
        setup.limits.connections = 1;
        setup.hold = Duration::from_secs(60);
    });
    let mut busy = lb.client();
    busy.send(GET);
    let _node = ada.accept();
    let newcomers: Vec<_> = (0..100).map(|_| lb.client()).collect();
    // The first ones wait, and the others are refused at once.
    let mut last = newcomers.into_iter().next_back().expect("there are a hundred");
    last.expect_head("HTTP/1.1 503 ");
}

#[test]
fn room_is_made_by_whichever_worker_has_an_idle_connection() {
    let ada = ScriptedNode::greeter("ada");
    let lb = TestBalancer::with(&[&ada], |setup| {
        setup.limits.connections = 2;
        setup.hold = Duration::from_secs(10);
        setup.workers = 4;
    });
    // Each pair makes the one before it go, on whichever worker the kernel has put them.
    let began = Instant::now();
    for _ in 0..40 {
        let _clients = [idle(&lb, "ada", 1), idle(&lb, "ada", 2)];
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn a_flood_of_refused_connections_disturbs_nobody() {
    let ada = ScriptedNode::greeter("ada");
    let lb = small(&ada, 100, 4);
    let _mine: Vec<_> = (0..4).map(|_| idle(&lb, "ada", 1)).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            // They neither read nor close for a while.
            let _crowd: Vec<_> = (0..400).map(|_| lb.client()).collect();
        });
        for _ in 0..100 {
            served(&mut lb.client_at(2), "ada");
        }
    });
}

#[test]
fn a_limited_number_of_large_heads_is_held_and_their_memory_comes_back() {
    let ada = ScriptedNode::greeter("ada");
    // Each takes 48 KiB more than an ordinary head.
    let lb = TestBalancer::with(&[&ada], |setup| setup.limits.grown_bytes = 100 * 1024);
    let large = format!("GET / HTTP/1.1\r\nHost: pi\r\nA: {}\r\n", "a".repeat(40 * 1024));
    let mut held = [lb.client(), lb.client()];
    for client in &mut held {
        client.send(&large);
    }
    wait_until("both are held", || lb.grown_bytes() == 96 * 1024);
    let mut third = lb.client();
    third.send_what_is_taken(&large);
    let head = third.expect_head("HTTP/1.1 503 ");
    assert!(head.contains("\r\nRetry-After: 1\r\n"), "{head}");
    served(&mut lb.client(), "ada");
    for client in &mut held {
        client.send("\r\n");
        client.expect(answer_of("ada", "ada"));
    }
    wait_until("it is given back", || lb.grown_bytes() == 0);
}

#[test]
fn a_large_body_passes_when_there_is_no_memory_to_hold_it() {
    let ada = ScriptedNode::new("ada");
    let lb = TestBalancer::with(&[&ada], |setup| setup.limits.grown_bytes = 0);
    let body = vec![b'x'; 300 * 1024];
    let mut client = lb.client();
    let mut sender = client.twin();
    thread::scope(|scope| {
        scope.spawn(|| {
            sender.send(format!(
                "PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            sender.send(&body);
        });
        let mut node = ada.accept();
        node.head();
        node.expect(&body);
        node.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
        scope.spawn(move || node.send(vec![b'x'; 300 * 1024]));
        client.expect_head("HTTP/1.1 200 OK\r\n");
        client.expect(&body);
    });
}

#[test]
fn a_client_that_stalls_and_reads_on_gets_every_byte() {
    let ada = ScriptedNode::new("ada");
    let lb = TestBalancer::before(&[&ada]);
    let body: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut client = lb.client();
    client.send(GET);
    let mut node = ada.accept();
    node.head();
    thread::scope(|scope| {
        scope.spawn(|| {
            node.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
            node.send(&body);
        });
        client.expect_head("HTTP/1.1 200 OK\r\n");
        client.expect(&body[..1000]);
        // Longer than the time after which it counts as stalled. The kernel's buffers hold less.
        pause(Duration::from_millis(1500));
        client.expect(&body[1000..]);
    });
    wait_until("it is given back", || lb.grown_bytes() == 0);
}

#[test]
fn a_body_that_says_it_is_too_long_is_a_413_before_a_byte_reaches_a_node() {
    let ada = ScriptedNode::new("ada");
    let lb = TestBalancer::with(&[&ada], |setup| setup.limits.body_bytes = Some(4));
    for request in [
        "PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: 5\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: pi\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let mut client = lb.client();
        client.send(request);
        let head = client.expect_head("HTTP/1.1 413 Content Too Large\r\n");
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    }
    ada.expect_nobody();
    assert_eq!(lb.failed(), 0);
}

#[test]
fn a_client_that_reads_its_413_only_after_its_whole_body_can_read_it() {
    let ada = ScriptedNode::new("ada");
    let lb = TestBalancer::with(&[&ada], |setup| setup.limits.body_bytes = Some(4));
    let mut client = lb.client();
    client.send("PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: 20000000\r\n\r\n");
    let piece = vec![b'x'; 1_000_000];
    for number in 0..20 {
        client.send(&piece);
        if number == 0 {
            // Longer than the answer alone is waited for.
            pause(Duration::from_millis(1_500));
        }
    }
    client.expect_head("HTTP/1.1 413 Content Too Large\r\n");
    ada.expect_nobody();
}

#[test]
fn a_chunked_body_that_grows_too_long_is_a_413_and_unfinished_at_the_node() {
    let ada = ScriptedNode::new("ada");
    let lb = TestBalancer::with(&[&ada], |setup| setup.limits.body_bytes = Some(4));
    let mut client = lb.client();
    client.send("PUT / HTTP/1.1\r\nHost: pi\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let mut node = ada.accept();
    node.head();
    node.expect("3\r\nabc\r\n");
    client.send("2\r\nde\r\n0\r\n\r\n");
    client.expect_head("HTTP/1.1 413 Content Too Large\r\n");
    node.expect_end();
}

#[test]
fn a_body_of_just_the_allowed_length_passes_however_it_is_framed() {
    let ada = ScriptedNode::greeter("ada");
    let lb = TestBalancer::with(&[&ada], |setup| setup.limits.body_bytes = Some(4));
    for body in [
        "Content-Length: 4\r\n\r\nabcd",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
    ] {
        let got = lb.ask(format!("PUT / HTTP/1.1\r\nHost: pi\r\n{body}"));
        assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    }
}
