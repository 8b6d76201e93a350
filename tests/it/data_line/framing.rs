//! The beginning and the end of messages, and the fate of their connection.

use super::balancer::{GET, POST, answer, answer_of, forwarded, forwarded_get, one, one_with};

const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: pi\r\n\r\n";
const GET_1_0: &str = "GET / HTTP/1.0\r\nHost: pi\r\n\r\n";

#[test]
fn a_connection_takes_one_request_after_the_other_and_so_does_the_node() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, GET);
    for number in ["1", "2", "3"] {
        node.expect(forwarded_get());
        node.send(answer(number));
        client.expect(answer_of("ada", number));
        if number != "3" {
            client.send(GET);
        }
    }
    ada.expect_nobody();
}

#[test]
fn an_empty_line_behind_a_body_is_no_request_that_is_late() {
    let limit = std::time::Duration::from_millis(50);
    let (ada, lb) = one_with(|setup| setup.limits.head = limit);
    let (mut client, mut node) = lb.send(&ada, format!("{POST}\r\n"));
    node.expect(forwarded("POST /", "Content-Length: 5\r\n") + "hello");
    node.send(answer("1"));
    client.expect(answer_of("ada", "1"));
    client.expect_silence(3 * limit);
    client.send(GET);
    node.expect(forwarded_get());
}

#[test]
fn bodies_pass_byte_for_byte_in_any_pieces() {
    let chunks = "3;a=\"b\"\r\nabc\r\n0a\r\n0123456789\r\n000\r\nTrailer-A: b\r\n\r\n";
    let bodies = [("Content-Length: 11\r\n", "hello\r\n\r\n\r\n"), (CHUNKED, chunks)];
    for (fields, body) in bodies {
        for bytewise in [false, true] {
            let (ada, lb) = one();
            let mut client = lb.client();
            let request = format!("PUT / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n{body}");
            let given = format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
            client.send_in_pieces(request, bytewise);
            let mut node = ada.accept();
            node.expect(forwarded("PUT /", fields) + body);
            node.send_in_pieces(given, bytewise);
            client
                .expect(format!("HTTP/1.1 200 OK\r\n{fields}X-Picluster-Node: ada\r\n\r\n{body}"));
            if !bytewise {
                client.send(GET);
                node.expect(forwarded_get());
            }
        }
    }
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// The connection of a node that has sent nothing beyond the head is kept. If the node may still
/// send a body, it is not.
#[test]
fn answers_that_have_no_body_end_with_their_head() {
    let cases = [
        (
            HEAD,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
            false,
        ),
        (HEAD, "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n", false),
        (GET, "HTTP/1.1 204 No Content\r\n", "HTTP/1.1 204 No Content\r\n", true),
        (
            GET,
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n",
            "HTTP/1.1 204 No Content\r\n",
            false,
        ),
        (
            GET,
            "HTTP/1.1 304 \r\nContent-Length: 5\r\n",
            "HTTP/1.1 304 \r\nContent-Length: 5\r\n",
            true,
        ),
        // An intermediary may remove a field that nobody needs (RFC 9112 section 6.1).
        (HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", "HTTP/1.1 200 OK\r\n", false),
        (GET, "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n", "HTTP/1.1 204 No\r\n", false),
        (GET, "HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n", "HTTP/1.1 304 No\r\n", true),
    ];
    for (request, given, expected, kept) in cases {
        let (ada, lb) = one();
        let (mut client, mut node) = lb.send(&ada, request);
        node.expect_head(&request[..4]);
        node.send(format!("{given}\r\n"));
        client.expect(format!("{expected}X-Picluster-Node: ada\r\n\r\n"));
        client.send(GET);
        if kept {
            node.expect(forwarded_get());
        } else {
            ada.accept().expect(forwarded_get());
            node.expect_end();
        }
    }
}

#[test]
fn a_client_that_wants_to_close_is_closed_and_the_node_is_kept() {
    let (ada, lb) = one();
    let (mut client, mut node) =
        lb.send(&ada, "GET / HTTP/1.1\r\nHost: pi\r\nConnection: close\r\n\r\n");
    node.expect(forwarded_get());
    node.send(answer("1"));
    client.expect_head("HTTP/1.1 200 OK\r\n");
    client.expect("1");
    client.expect_end();
    let mut client = lb.client();
    client.send(GET);
    node.expect(forwarded_get());
}

#[test]
fn a_node_that_wants_to_close_is_closed_and_the_client_is_kept() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, GET);
    node.expect(forwarded_get());
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1");
    client.expect(answer_of("ada", "1"));
    node.expect_end();
    client.send(GET);
    ada.accept().expect(forwarded_get());
}

#[test]
fn a_client_of_http_1_0_is_closed_unless_it_asks_to_be_kept() {
    let (ada, lb) = one();
    let (mut client, mut node) =
        lb.send(&ada, "GET / HTTP/1.0\r\nHost: pi\r\nConnection: keep-alive\r\n\r\n");
    node.expect_head("GET / HTTP/1.1\r\nHost: pi\r\n");
    node.send(answer("1"));
    client.expect("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX-Picluster-Node: ada\r\n");
    client.expect("Connection: keep-alive\r\n\r\n1");
    client.send(GET_1_0);
    node.expect_head("GET / HTTP/1.1\r\nHost: pi\r\n");
    node.send(answer("2"));
    client.expect("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX-Picluster-Node: ada\r\n");
    client.expect("Connection: close\r\n\r\n2");
    client.expect_end();
}

#[test]
fn a_client_of_http_1_0_gets_a_chunked_answer_without_the_chunks() {
    for bytewise in [false, true] {
        let (ada, lb) = one();
        let (mut client, mut node) = lb.send(&ada, GET_1_0);
        node.head();
        let given = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                     3;x\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n";
        node.send_in_pieces(given, bytewise);
        client.expect("HTTP/1.1 200 OK\r\nX-Picluster-Node: ada\r\nConnection: close\r\n\r\nabcde");
        client.expect_end();
    }
}

#[test]
fn an_answer_that_ends_with_the_connection_does_so_for_the_client_too() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    node.send("HTTP/1.1 200 OK\r\n\r\nall of ");
    client.expect("HTTP/1.1 200 OK\r\nX-Picluster-Node: ada\r\nConnection: close\r\n\r\nall of ");
    node.send("it");
    node.finish();
    client.expect("it");
    client.expect_end();
}

#[test]
fn a_client_that_half_closes_still_gets_its_answer() {
    let (ada, lb) = one();
    let mut client = lb.client();
    client.send(GET);
    client.finish();
    let mut node = ada.accept();
    node.expect(forwarded_get());
    node.expect_silence(std::time::Duration::from_millis(400));
    node.send(answer("late"));
    client.expect(answer_of("ada", "late"));
    client.expect_end();
}

#[test]
fn a_request_that_comes_while_an_answer_streams_is_answered_after_it() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.");
    client.expect("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Picluster-Node: ada\r\n\r\nhalf.");
    client.send(POST);
    node.send("other");
    client.expect("other");
    node.expect(forwarded("POST /", "Content-Length: 5\r\n") + "hello");
}

#[test]
fn bytes_behind_an_answer_end_the_nodes_connection_and_reach_nobody() {
    let (ada, lb) = one();
    let (mut client, mut node) = lb.send(&ada, GET);
    node.head();
    node.send(answer("1") + &answer("forged"));
    client.expect(answer_of("ada", "1"));
    assert!(node.rest().0.is_empty());
    client.send(GET);
    let mut node = ada.accept();
    node.expect(forwarded_get());
    node.send(answer("2"));
    client.expect(answer_of("ada", "2"));
}
