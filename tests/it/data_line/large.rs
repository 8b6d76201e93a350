//! Bodies that nobody could hold: they pass whole at any speed, and wait while nobody reads.

use std::thread;
use std::time::{Duration, Instant};

use picluster::cluster::config::Limits;
use socket2::SockRef;

use super::balancer::{
    GET, answer, answer_of, forwarded, forwarded_get, one, one_with, wait_until_free,
};
use super::bulk::pattern;

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[test]
fn ten_megabytes_pass_up_and_down_at_once() {
    let len = 10 << 20;
    let body = pattern(len);
    let (ada, lb) = one();
    let mut client = lb.client();
    let mut sender = client.twin();
    let fields = format!("Content-Length: {len}\r\n");
    thread::scope(|scope| {
        scope.spawn(|| {
            sender.send(format!("PUT / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n"));
            sender.send(&body);
        });
        scope.spawn(|| {
            client.expect(format!("HTTP/1.1 200 OK\r\n{fields}X-Picluster-Node: ada\r\n"));
            client.expect("Connection: close\r\n\r\n");
            client.expect(&body);
            client.expect_end();
        });
        let mut node = ada.accept();
        node.expect(forwarded("PUT /", &fields));
        node.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        for piece in body.chunks(300_000) {
            node.expect(piece);
            node.send(piece);
        }
    });
    wait_until_free(&ada);
}

#[test]
fn a_large_chunked_body_passes_up_and_its_answer_keeps_the_client() {
    let data = pattern(1 << 20);
    let mut body = Vec::new();
    for chunk in data.chunks(70_001) {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let (ada, lb) = one();
    let mut client = lb.client();
    let mut sender = client.twin();
    thread::scope(|scope| {
        scope.spawn(|| {
            sender.send(format!("PUT / HTTP/1.1\r\nHost: pi\r\n{CHUNKED}\r\n"));
            sender.send(&body);
            sender.send(GET);
        });
        let mut node = ada.accept();
        node.expect(forwarded("PUT /", CHUNKED));
        node.expect(&body);
        node.send(answer("1"));
        node.expect(forwarded_get());
        node.send(answer("2"));
    });
    client.expect(answer_of("ada", "1") + &answer_of("ada", "2"));
}

/// One piece of a body, and the fields of a body of `count` pieces.
fn pieces(chunked: bool, count: usize, len: usize) -> (Vec<u8>, String, &'static [u8]) {
    let data = pattern(len);
    if chunked {
        let line = format!("{len:x}\r\n");
        let piece = [line.as_bytes(), &data, b"\r\n"].concat();
        (piece, CHUNKED.to_owned(), b"0\r\n\r\n")
    } else {
        (data, format!("Content-Length: {}\r\n", count * len), b"")
    }
}

/// Passes a body of `count` pieces up or down. Each piece is sent by `send` and compared on
/// arrival.
fn pass(limits: &Limits, up: bool, chunked: bool, (count, len): (usize, usize), pause: Duration) {
    let (ada, lb) = one_with(|setup| setup.limits = limits.clone());
    let (piece, fields, end) = pieces(chunked, count, len);
    let request =
        if up { format!("PUT / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n") } else { GET.to_owned() };
    let (mut client, mut node) = lb.send(&ada, request);
    node.head();
    if !up {
        node.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        client.expect_head("HTTP/1.1 200 OK\r\n");
    }
    let (mut from, to) = if up { (client.twin(), &mut node) } else { (node.twin(), &mut client) };
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..count {
                from.send(&piece);
                crate::lab::pause(pause);
            }
            from.send(end);
        });
        for _ in 0..count {
            to.expect(&piece);
        }
        to.expect(end);
    });
    if up {
        node.send(answer("1"));
        client.expect(answer_of("ada", "1"));
    }
    client.send(GET);
    node.expect(forwarded_get());
}

const WAYS: [(bool, bool); 4] = [(true, true), (true, false), (false, true), (false, false)];

#[test]
#[ignore = "slow tier: it computes for half a minute, and ten megabytes pass in every run"]
fn a_hundred_megabytes_pass_up_and_down_in_either_framing() {
    for (up, chunked) in WAYS {
        let began = Instant::now();
        pass(&Limits::default(), up, chunked, (1600, 65_537), Duration::ZERO);
        let took = began.elapsed();
        println!("105 MB in {took:?} (up: {up}, chunked: {chunked})");
    }
}

#[test]
fn no_clock_runs_on_a_body_that_is_slow() {
    let limit = Duration::from_secs(2);
    let limits = Limits {
        head: limit,
        keep_alive: limit,
        body: limit,
        send: limit,
        answer: limit,
        answer_body: limit,
        half_closed: limit,
        tunnel: limit,
        ..Limits::default()
    };
    // Longer than any of these limits.
    let (count, pause) = (40, limit / 20);
    thread::scope(|scope| {
        for (up, chunked) in WAYS {
            let limits = &limits;
            scope.spawn(move || pass(limits, up, chunked, (count, 20_000), pause));
        }
    });
}

#[test]
fn a_client_that_reads_slowly_takes_bytes_all_the_while() {
    let limit = Duration::from_secs(2);
    let (ada, lb) = one_with(|setup| setup.limits.send = limit);
    let mut client = lb.client();
    // The buffer is small, so that the sender soon hears of what was read.
    SockRef::from(&client.0).set_recv_buffer_size(64 << 10).unwrap();
    client.send(GET);
    let mut node = ada.accept();
    node.head();
    node.send("HTTP/1.1 200 OK\r\n\r\n");
    let sent = node.send_pattern_until_stuck(MUCH);
    client.expect_head("HTTP/1.1 200 OK\r\n");
    // Within the limit the client reads less than a third of what the kernel may hold for one
    // socket.
    let (mut parts, part) = (0, 251 * 256);
    let began = Instant::now();
    while began.elapsed() < 4 * limit {
        client.expect_pattern(part);
        parts += 1;
        crate::lab::pause(limit / 10);
    }
    println!("{} bytes read in {:?}", parts * part, began.elapsed());
    client.expect_pattern(sent - parts * part);
}

/// Far more than the kernel holds for four sockets.
const MUCH: usize = 96 << 20;

#[test]
fn a_client_that_does_not_read_stops_its_node_and_loses_nothing() {
    for fields in [format!("Content-Length: {MUCH}\r\n"), String::new()] {
        let (ada, lb) = one();
        let (mut client, mut node) = lb.send(&ada, GET);
        node.head();
        node.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        let sent = node.send_pattern_until_stuck(MUCH);
        println!("taken of an answer that nobody reads: {sent} bytes");
        assert!(sent < MUCH / 3, "{sent} bytes");
        client.expect_head("HTTP/1.1 200 OK\r\n");
        client.expect_pattern(sent);
    }
}

#[test]
fn a_node_that_does_not_read_stops_its_client_and_loses_nothing() {
    let (ada, lb) = one();
    let put = format!("PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: {MUCH}\r\n\r\n");
    let (mut client, mut node) = lb.send(&ada, put);
    let sent = client.send_pattern_until_stuck(MUCH);
    println!("taken of a body that nobody reads: {sent} bytes");
    assert!(sent < MUCH / 3, "{sent} bytes");
    node.head();
    node.expect_pattern(sent);
}

/// The kernel has a limit of its own for a full window, which must not come before ours.
#[test]
#[ignore = "slow tier: takes 40 s"]
fn a_node_that_takes_nothing_of_a_body_is_given_up_by_our_limit_and_no_sooner() {
    let limit = Duration::from_secs(40);
    let (ada, lb) = one_with(|setup| setup.limits.send = limit);
    let put = format!("PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: {MUCH}\r\n\r\n");
    let (mut client, _node) = lb.send(&ada, put);
    let began = Instant::now();
    client.send_pattern_until_stuck(MUCH);
    client.expect_silence(Duration::from_secs(35).saturating_sub(began.elapsed()));
    client.expect_head("HTTP/1.1 504 Gateway Timeout\r\n");
    println!("given up after {:?}", began.elapsed());
    assert!(began.elapsed() >= limit);
    assert_eq!(lb.failed(), 1);
}

#[test]
fn a_node_that_takes_nothing_of_a_body_is_given_up_after_its_time() {
    let limit = Duration::from_millis(500);
    let (ada, lb) = one_with(|setup| setup.limits.send = limit);
    let put = format!("PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: {MUCH}\r\n\r\n");
    let (mut client, _node) = lb.send(&ada, put);
    client.send_pattern_until_stuck(MUCH);
    client.expect_head("HTTP/1.1 504 Gateway Timeout\r\n");
    assert_eq!(lb.failed(), 1);
}

#[test]
fn an_upload_to_a_node_that_is_down_ends_once_the_node_takes_no_more() {
    let (ada, lb) = one();
    let put = format!("PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: {MUCH}\r\n\r\n");
    let (mut client, _node) = lb.send(&ada, put);
    client.send_pattern_until_stuck(MUCH);
    lb.publish([ada.down()]);
    client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
    assert_eq!(lb.failed(), 1);
}

#[test]
fn an_upload_to_a_node_that_is_down_goes_on_while_the_node_takes_it() {
    let (ada, lb) = one();
    let put = "PUT / HTTP/1.1\r\nHost: pi\r\nContent-Length: 30\r\n\r\n";
    let (mut client, mut node) = lb.send(&ada, put);
    node.head();
    lb.publish([ada.down()]);
    for _ in 0..3 {
        // The client is slow, and not the node.
        crate::lab::pause(Duration::from_millis(1_500));
        client.send("ten bytes ");
        node.expect("ten bytes ");
    }
    node.send(answer("1"));
    client.expect(answer_of("ada", "1"));
}

/// The kernel's buffer has room for a while after the runtime has reported it full. That a part of
/// an answer still fits is no sign of life.
#[test]
fn a_client_that_reads_nothing_of_a_large_answer_is_left_after_its_time() {
    let limit = Duration::from_millis(500);
    let (ada, lb) = one_with(|setup| setup.limits.send = limit);
    let (client, mut node) = lb.send(&ada, GET);
    node.expect(forwarded_get());
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| node.send_what_is_taken(vec![b'x'; 100_000_000]));
        wait_until_free(&ada);
    });
    let took = began.elapsed();
    assert!((limit..6 * limit).contains(&took), "{took:?}");
    drop(client);
}
