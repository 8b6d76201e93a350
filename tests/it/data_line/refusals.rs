//! Requests that are not forwarded, and fields that change on their way.

use picluster::cluster::health::Outcome;
use picluster::cluster::hop::Hop;
use picluster::http1::Refusal;

use super::balancer::{GET, POST, TestBalancer, answer, answer_of, forwarded, one, one_with};
use super::wire::{ANY_ID, ScriptedNode};

#[test]
fn a_request_with_two_readings_is_refused_and_no_byte_reaches_a_node() {
    let (ada, lb) = one();
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n");
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n");
    let cases = [
        (400, post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")),
        (400, post("Content-Length: 1\r\nContent-Length: 1\r\n") + "a"),
        (400, post("Content-Length: 1, 1\r\n") + "a"),
        (400, post("Content-Length: +1\r\n") + "a"),
        (400, post("Transfer-Encoding: gzip, chunked\r\n")),
        (400, post("Transfer-Encoding: chunked\r\n") + "x\r\n"),
        (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()),
        (400, get("A: b\rc\r\n")),
        (400, "GET / HTTP/1.1\nHost: pi\n\n".to_owned()),
        (400, get("A: b\r\n c\r\n")),
        (400, get("A : b\r\n")),
        (400, get("(: b\r\n")),
        (400, get("A: \0\r\n")),
        (400, get("Host: pi\r\n")),
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "\x16\x03\x01".to_owned()),
        (405, "CONNECT pi:80 HTTP/1.1\r\nHost: pi:80\r\n\r\n".to_owned()),
        (414, format!("GET /{} HTTP/1.1\r\nHost: pi\r\n\r\n", "a".repeat(16 * 1024))),
        (417, get("Expect: a miracle\r\n")),
        (431, get(&"A: b\r\n".repeat(100))),
        (431, get(&format!("A: {}\r\n", "a".repeat(64 * 1024)))),
        (505, "GET / HTTP/2.0\r\nHost: pi\r\n\r\n".to_owned()),
    ];
    for (status, request) in cases {
        let got = lb.ask(&request);
        let shown = &request[..request.len().min(100)];
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?} got {got:?}");
        assert!(got.contains("\r\nConnection: close\r\n"), "{shown:?} got {got:?}");
    }
    ada.expect_nobody();
    assert_eq!(lb.failed(), 0);
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let (_ada, lb) = one();
    let mut client = lb.client();
    client.send(format!("GET /.picluster/ HTTP/1.1\r\nHost: pi\r\n\r\n{}", GET.repeat(1000)));
    client.expect_head("HTTP/1.1 404 ");
    let (rest, end) = client.rest();
    assert!(rest.ends_with(b"\n") && end.is_ok(), "{end:?}");
}

#[test]
fn a_body_that_breaks_on_its_way_is_a_400_and_the_node_sees_it_unfinished() {
    for broken in ["zz\r\n", "1\r\nab\r\n", "0\r\nHost: x\r\n\r\n"] {
        let (ada, lb) = one();
        let (mut client, mut node) = lb.send(
            &ada,
            "POST / HTTP/1.1\r\nHost: pi\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
        );
        node.expect(forwarded("POST /", "Transfer-Encoding: chunked\r\n") + "1\r\na\r\n");
        client.send(broken);
        client.expect_head("HTTP/1.1 400 Bad Request\r\n");
        assert!(node.rest().0.is_empty(), "nothing of {broken:?} was sent on");
    }
}

#[test]
fn a_body_that_ends_too_early_is_a_400_and_the_node_sees_it_unfinished() {
    let (ada, lb) = one();
    let mut client = lb.client();
    client.send("POST / HTTP/1.1\r\nHost: pi\r\nContent-Length: 9\r\n\r\nhalf");
    client.finish();
    let mut node = ada.accept();
    node.expect(forwarded("POST /", "Content-Length: 9\r\n") + "half");
    node.expect_end();
    client.expect_head("HTTP/1.1 400 Bad Request\r\n");
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_a_502() {
    let bad = [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        "HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 999 OK\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk",
    ];
    for (count, bytes) in bad.iter().enumerate() {
        let (ada, lb) = one();
        let (mut client, mut node) = lb.send(&ada, GET);
        node.head();
        node.send(bytes);
        client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
        assert!(node.rest().0.is_empty());
        assert_eq!(lb.failed(), 1, "case {count}");
        ada.expect_nobody();
    }
}

#[test]
fn an_answer_with_one_meaning_goes_on_in_the_strict_form() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunked = "Transfer-Encoding: chunked\r\nX-Picluster-Node: ada\r\n\r\n";
    let named = "Content-Length: 2\r\nX-Picluster-Node: ada\r\n\r\nhi";
    for (sent, got) in [
        ("HTTP/1.1 200 OK\nA: b\nContent-Length: 2\n\nhi", format!("{ok}A: b\r\n{named}")),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            format!("{ok}{named}"),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi", format!("{ok}{named}")),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            format!("{ok}{chunked}2\r\nhi\r\n0\r\n\r\n"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2   \r\nhi\r\n0 \t\r\n\r\n",
            format!("{ok}{chunked}2\r\nhi\r\n0\r\n\r\n"),
        ),
    ] {
        for bytewise in [false, true] {
            let (ada, lb) = one();
            let (mut client, mut node) = lb.send(&ada, GET.repeat(2));
            node.head();
            node.send_in_pieces(sent, bytewise);
            client.expect(&got);
            // A node that frames so is not trusted with a second request on the connection.
            node.expect_end();
            ada.accept().head();
        }
    }
}

#[test]
fn a_get_whose_answer_was_refused_is_answered_by_another_node() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::greeter("bob"));
    let mut lb = TestBalancer::with(&[&ada], |_| {});
    let mixed = "HTTP/1.1 200 OK\r\nContent-Length: 2\n\nhi";
    let mut client = lb.client();
    for _ in 0..2 {
        // The next turn is ada's.
        lb.publish([ada.up()]);
        client.send(GET);
        let mut node = ada.accept();
        node.head();
        lb.publish([ada.up(), bob.up()]);
        node.send(mixed);
        client.expect(answer_of("bob", "bob"));
    }
    assert_eq!(lb.failed(), 0);
    lb.wait_until_told(&ada, Outcome::Invalid(Refusal::BadLineEnd));
    // One that may have been executed is not sent again.
    lb.publish([ada.up()]);
    client.send(POST);
    let mut node = ada.accept();
    node.head();
    lb.publish([ada.up(), bob.up()]);
    node.send(mixed);
    client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
    client.expect("502 Bad Gateway: the node's answer is not valid HTTP: line without CR LF\n");
}

#[test]
fn a_client_is_kept_after_a_502() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, GET.repeat(2));
    node.head();
    node.send("nonsense\r\n\r\n");
    let head = client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
    assert!(!head.contains("Connection: close"), "{head}");
    client.expect("502 Bad Gateway: the node's answer is not valid HTTP: malformed status line\n");
    let mut node = ada.accept();
    node.head();
    node.send(answer("1"));
    client.expect_head("HTTP/1.1 200 OK\r\n");
}

#[test]
fn a_private_path_is_a_404() {
    let (ada, lb) = one();
    for target in ["/.picluster/health", "//%2epicluster/", "/a/../.picluster"] {
        let got = lb.ask(format!("GET {target} HTTP/1.1\r\nHost: pi\r\n\r\n"));
        assert!(got.starts_with("HTTP/1.1 404 Not Found\r\n"), "{target}: {got}");
    }
    ada.expect_nobody();
}

#[test]
fn a_loop_through_ourselves_is_a_508() {
    let (ada, lb) = one();
    let mut short = Vec::new();
    Hop::new("front").append_short(0, &mut short);
    for mark in [
        "Via: 1.1 a, 1.1 front",
        "Forwarded: for=10.0.0.1;proto=http;by=_pc0_front, for=10.0.0.2",
        &format!("X-Picluster-Hop: {}", str::from_utf8(&short).unwrap()),
        // Each of nine other balancers has replaced the mark of the one before.
        "Forwarded: by=_pc9_other",
    ] {
        let got = lb.ask(format!("GET / HTTP/1.1\r\nHost: pi\r\n{mark}\r\n\r\n"));
        assert!(got.starts_with("HTTP/1.1 508 Loop Detected\r\n"), "{mark}: {got}");
    }
    ada.expect_nobody();
}

#[test]
fn a_request_names_the_balancer_in_via_only_where_that_is_asked_for() {
    let get = "GET / HTTP/1.1\r\nHost: pi\r\nVia: 1.1 other\r\n\r\n";
    let (ada, lb) = one();
    let (_client, mut node) = lb.send(&ada, get);
    node.expect(forwarded("GET /", ""));
    let (ada, lb) = one_with(|setup| setup.via = true);
    let (_client, mut node) = lb.send(&ada, get);
    let expected = forwarded("GET /", "Via: 1.1 other\r\n");
    node.expect(expected.trim_end().to_owned() + "\r\nVia: 1.1 front\r\n\r\n");
}

#[test]
fn fields_keep_their_order_and_their_duplicates_and_ours_are_ours() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(
        &ada,
        "GET http://Pi:80/a?b HTTP/1.1\r\nAccept: b\r\nHost: other\r\nKeep-Alive: 5\r\n\
         Connection: keep-alive, X-Secret\r\nX-Secret: s\r\nX-Forwarded-For: 1.2.3.4\r\n\
         X-Forwarded-Proto: https\r\nX-PICLUSTER-Trust: me\r\nForwarded: for=x\r\nTE: gzip\r\n\
         Accept: a\r\nVia: 1.1 other\r\n\r\n",
    );
    node.expect(
        "GET /a?b HTTP/1.1\r\nHost: Pi:80\r\nAccept: b\r\nAccept: a\r\n\
         X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\
         Forwarded: for=127.0.0.1;proto=http;host=\"Pi:80\";by=_pc0_front\r\nX-Forwarded-Host: Pi:80\r\n"
            .to_owned()
            + ANY_ID
            + "\r\n",
    );
    node.send(
        "HTTP/1.1 299 Fine, thanks\r\nB: 1\r\nSet-Cookie: b\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\
         Keep-Alive: timeout=5\r\nSet-Cookie: a\r\nX-Picluster-Node: forged\r\n\
         Content-Length: 0\r\n\r\n",
    );
    client.expect(
        "HTTP/1.1 299 Fine, thanks\r\nB: 1\r\nSet-Cookie: b\r\nSet-Cookie: a\r\n\
         Content-Length: 0\r\nX-Picluster-Node: ada\r\n\r\n",
    );
}

#[test]
fn a_hundred_fields_and_sixty_kilobytes_pass_both_ways_byte_for_byte() {
    let (ada, lb) = one();
    let value = [&[b'a'; 590][..], b"\xe4\xff \t=;,\"", b"z"].concat();
    let mut fields = b"X-Empty: \r\nX-Empty: \r\n".to_vec();
    for number in 0..97 {
        let name = if number % 2 == 0 { "Cookie" } else { "x-OTHER" };
        fields.extend_from_slice(format!("{name}: {number}=").as_bytes());
        fields.extend_from_slice(&value);
        fields.extend_from_slice(b"\r\n");
    }
    assert!(fields.len() > 59_000, "{}", fields.len());
    let whole = |line: &str, first: &str, last: &str| {
        [line.as_bytes(), first.as_bytes(), &fields, last.as_bytes()].concat()
    };
    let request = whole("GET / HTTP/1.1\r\n", "Host: pi\r\n", "\r\n");
    let mut client = lb.client();
    client.send(&request);
    let mut node = ada.accept();
    let expected = forwarded("GET /", "");
    let (start, ours) = expected.split_at("GET / HTTP/1.1\r\nHost: pi\r\n".len());
    node.expect(whole(start, "", ours));
    node.send(whole("HTTP/1.1 200 OK\r\n", "", "Content-Length: 2\r\n\r\nok"));
    let node_field = "Content-Length: 2\r\nX-Picluster-Node: ada\r\n\r\nok";
    client.expect(whole("HTTP/1.1 200 OK\r\n", "", node_field));
    client.send(GET);
    node.expect(forwarded("GET /", ""));
}

#[test]
fn a_request_that_may_go_no_further_is_answered_here() {
    let (ada, lb) = one();
    for (method, status) in [("OPTIONS", "200 OK"), ("TRACE", "405 Method Not Allowed")] {
        let got = lb.ask(format!("{method} / HTTP/1.1\r\nHost: pi\r\nMax-Forwards: 0\r\n\r\n"));
        assert!(got.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{got}");
        assert!(got.contains("\r\nAllow: GET, HEAD, "), "{got}");
    }
    ada.expect_nobody();
    let (_client, mut node) =
        lb.send(&ada, "GET / HTTP/1.1\r\nHost: pi\r\nMax-Forwards: 0\r\n\r\n");
    node.expect(forwarded("GET /", "Max-Forwards: 0\r\n"));
}

#[test]
fn a_node_may_switch_only_to_what_it_was_offered() {
    let switch = |to: &str| {
        let (ada, lb) = one();
        let (mut client, mut node) = lb.send(
            &ada,
            "GET / HTTP/1.1\r\nHost: pi\r\nConnection: Upgrade\r\nUpgrade: a/1, WebSocket\r\n\r\n",
        );
        node.head();
        node.send(format!("HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: {to}\r\n\r\n"));
        client.head()[9..12].to_owned()
    };
    assert_eq!(
        ["websocket", "a/1", "a/2", "b", "a/1, b"].map(switch),
        ["101", "101", "502", "502", "502"]
    );
}
