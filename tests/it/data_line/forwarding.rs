//! The fields of our own that a node gets, and the Host.

use picluster::cluster::hop::Hop;
use picluster::cluster::node::{ForwardFields, Offer};

use super::balancer::{GET, TestBalancer, answer, answer_of, forwarded, one};
use super::wire::ScriptedNode;

/// The request with this line as a node gets it that wants the client's address alone.
fn short(line: &str, fields: &str) -> String {
    let mut hop = Vec::new();
    Hop::new("front").append_short(0, &mut hop);
    let hop = String::from_utf8(hop).unwrap();
    format!(
        "{line} HTTP/1.1\r\n{fields}X-Forwarded-For: 127.0.0.1\r\nX-Picluster-Hop: {hop}\r\n\r\n"
    )
}

#[test]
fn a_device_without_picluster_gets_the_client_and_the_hop_alone() {
    let ada = ScriptedNode::new("ada");
    let lb = TestBalancer::with(&[], |_| {});
    lb.publish([ada.foreign()]);
    let get = "GET / HTTP/1.1\r\nHost: pi\r\nTE: trailers\r\nX-Picluster-Hop: 01234567\r\n\
               Via: 1.1 x\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\n\r\n";
    let (mut client, mut node) = lb.send(&ada, get);
    node.expect(short("GET /", "Host: pi\r\n").replace("0\r\n\r\n", "8\r\n\r\n"));
    node.send(answer("1"));
    client.expect(answer_of("ada", "1"));
    client.send(GET);
    node.expect(short("GET /", "Host: pi\r\n"));
}

#[test]
fn each_node_of_a_service_gets_the_fields_that_it_wants_also_a_second_one() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::new("bob"));
    let lb = TestBalancer::with(&[], |setup| setup.balance = "first");
    let wants = |node: &ScriptedNode, forward| node.serving(Offer { forward, ..Offer::default() });
    lb.publish([wants(&ada, ForwardFields::None), wants(&bob, ForwardFields::All)]);
    let (mut client, mut node) = lb.send(&ada, GET);
    node.expect(GET);
    // It dies, and the next one is asked.
    node.reset();
    let mut node = bob.accept();
    node.expect(forwarded("GET /", ""));
    node.send(answer("1"));
    client.expect(answer_of("bob", "1"));
}

#[test]
fn a_request_without_a_host_gets_the_address_of_its_node() {
    let (ada, lb) = one();
    let (_client, mut node) = lb.send(&ada, "GET / HTTP/1.0\r\n\r\n");
    let host = format!("GET / HTTP/1.1\r\nHost: {}\r\n", ada.addr());
    node.expect_head(&host);
    let lb = TestBalancer::with(&[], |_| {});
    lb.publish([ada.foreign()]);
    let (_client, mut node) = lb.send(&ada, "GET / HTTP/1.0\r\n\r\n");
    node.expect(short("GET /", &format!("Host: {}\r\n", ada.addr())));
}

#[test]
fn a_picluster_node_learns_that_the_client_takes_trailers() {
    let (ada, lb) = one();
    let fields = "TE: trailers, deflate;q=0.5\r\nConnection: TE";
    let (mut client, mut node) =
        lb.send(&ada, format!("GET / HTTP/1.1\r\nHost: pi\r\n{fields}\r\n\r\n"));
    node.expect(forwarded("GET /", "Connection: TE\r\nTE: trailers\r\n"));
    let body = "Transfer-Encoding: chunked\r\nX-Picluster-Node: ada\r\n\r\n0\r\nSum: 7\r\n\r\n";
    let sent = body.replace("X-Picluster-Node: ada\r\n", "");
    node.send(format!("HTTP/1.1 200 OK\r\n{sent}"));
    client.expect(format!("HTTP/1.1 200 OK\r\n{body}"));
}
