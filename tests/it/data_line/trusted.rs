//! Proxies of the user in front of the balancer: the ones whose word about the client counts.

use std::time::Duration;

use picluster::cluster::config::TrustedProxies;

use super::balancer::{GET, TestBalancer, answer};
use super::wire::ScriptedNode;

/// A balancer that trusts loopback, and the bytes that its node receives for these.
fn believing(proxy_protocol: bool, ada: &ScriptedNode) -> TestBalancer {
    TestBalancer::with(&[ada], |setup| {
        let networks = vec!["127.0.0.0/8".parse().unwrap()];
        setup.trusted_proxies = TrustedProxies { networks, proxy_protocol };
        setup.limits.head = Duration::from_millis(300);
    })
}

/// A header of version 2 with this family and protocol, and the bytes that follow.
fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, rest].concat()
}

const FROM_192_0_2_1: &[u8] = &[192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80];

#[test]
fn the_client_that_a_trusted_proxy_names_reaches_the_node() {
    let ada = ScriptedNode::new("ada");
    let lb = believing(false, &ada);
    let mut client = lb.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: pi\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\
         X-Request-Id: abc\r\n\r\n",
    );
    let mut node = ada.accept();
    node.expect(
        "GET / HTTP/1.1\r\nHost: pi\r\nX-Forwarded-Proto: https\r\nX-Request-Id: abc\r\n\
         X-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n\
         Forwarded: for=127.0.0.1;proto=http;host=\"pi\";by=_pc0_front\r\nX-Forwarded-Host: pi\r\n\
         \r\n",
    );
}

#[test]
fn a_request_keeps_its_id_when_it_is_sent_again() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::new("bob"));
    let lb = TestBalancer::before(&[&ada, &bob]);
    let id = |head: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix("X-Request-Id: "));
        line.expect("a node gets an id").to_owned()
    };
    let mut client = lb.client();
    client.send(GET);
    let mut node = ada.accept();
    let first = id(&node.head());
    drop(node);
    let mut node = bob.accept();
    assert_eq!(id(&node.head()), first);
    node.send(answer("1"));
    client.expect_head("HTTP/1.1 200 OK\r\n");
    client.expect("1");
    client.send(GET);
    let second = id(&ada.accept().head());
    assert_ne!(second, first);
    assert_eq!(second.len(), 32);
}

#[test]
fn the_proxy_protocol_says_who_the_client_is() {
    let tlv = [FROM_192_0_2_1, b"\x04\0\x01x"].concat();
    for (introduction, from) in [
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 ::1 4660 80\r\n".to_vec(), "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), "127.0.0.1"),
        (version_2(0x21, 0x11, FROM_192_0_2_1), "192.0.2.1"),
        (version_2(0x21, 0x11, &tlv), "192.0.2.1"),
        (version_2(0x20, 0x00, b""), "127.0.0.1"),
        (version_2(0x20, 0x11, FROM_192_0_2_1), "127.0.0.1"),
    ] {
        for bytewise in [false, true] {
            let ada = ScriptedNode::new("ada");
            let lb = believing(true, &ada);
            let mut client = lb.client();
            client.send_in_pieces([&introduction, GET.as_bytes()].concat(), bytewise);
            let head = ada.accept().head();
            let line = format!("\r\nX-Forwarded-For: {from}\r\n");
            assert!(head.contains(&line), "{introduction:?}: {head}");
        }
    }
}

/// The request belongs to the proxy's client, also if the client is unknown or has the address of
/// another proxy.
#[test]
fn a_client_behind_the_proxy_protocol_is_believed_nothing() {
    for (introduction, from) in [
        ("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n", "192.0.2.1"),
        ("PROXY TCP4 127.0.0.5 10.0.0.1 4660 80\r\n", "127.0.0.5"),
        ("PROXY UNKNOWN\r\n", "127.0.0.1"),
    ] {
        let ada = ScriptedNode::new("ada");
        let lb = believing(true, &ada);
        let mut client = lb.client();
        client.send(introduction);
        client.send("GET / HTTP/1.1\r\nHost: pi\r\nX-Forwarded-For: 10.9.9.9\r\n\r\n");
        let head = ada.accept().head();
        assert!(head.contains(&format!("\r\nX-Forwarded-For: {from}\r\n")), "{head}");
    }
}

#[test]
fn a_proxy_that_ended_tls_says_so_and_the_node_hears_it() {
    let ada = ScriptedNode::new("ada");
    let lb = believing(true, &ada);
    let mut client = lb.client();
    client.send(version_2(0x21, 0x11, &[FROM_192_0_2_1, b"\x20\0\x05\x01\0\0\0\0"].concat()));
    client.send(GET);
    let head = ada.accept().head();
    assert!(head.contains("\r\nX-Forwarded-Proto: https\r\n"), "{head}");
    assert!(head.contains("\r\nForwarded: for=192.0.2.1;proto=https;"), "{head}");
}

#[test]
fn a_trusted_proxy_that_introduces_nobody_gets_a_refusal() {
    let too_long = version_2(0x21, 0x11, &vec![0; 60_000]);
    for bytes in [
        GET.as_bytes(),
        b"PROXY TCP4 192.0.2.1 10.0.0.1 4660\r\n",
        b"PROXY TCP5 192.0.2.1 10.0.0.1 4660 80\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 66000 80\r\n",
        b"PROXY TCP4 2001:db8::1 ::1 4660 80\r\n",
        &version_2(0x31, 0x11, FROM_192_0_2_1),
        &version_2(0x21, 0x11, &[0; 4]),
        &too_long,
    ] {
        let ada = ScriptedNode::new("ada");
        let lb = believing(true, &ada);
        let mut client = lb.client();
        client.send_what_is_taken(bytes);
        let head = client.expect_head("HTTP/1.1 400 Bad Request\r\n");
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        ada.expect_nobody();
    }
}

#[test]
fn a_trusted_proxy_has_to_introduce_its_client_in_time_and_may_only_look() {
    let ada = ScriptedNode::new("ada");
    let lb = believing(true, &ada);
    let mut client = lb.client();
    client.send("PROXY TCP4 192.0.2.1");
    client.expect_head("HTTP/1.1 408 Request Timeout\r\n");
    let mut looks = lb.client();
    looks.finish();
    looks.expect_end();
}

#[test]
fn nobody_else_may_use_the_proxy_protocol() {
    let ada = ScriptedNode::new("ada");
    let lb = TestBalancer::with(&[&ada], |setup| {
        let networks = vec!["10.0.0.0/8".parse().unwrap()];
        setup.trusted_proxies = TrustedProxies { networks, proxy_protocol: true };
    });
    let got = lb.ask(format!("PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n{GET}"));
    assert!(got.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{got}");
    ada.expect_nobody();
    let mut client = lb.client();
    client.send(GET);
    assert!(ada.accept().head().contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"));
}
