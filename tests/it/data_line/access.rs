//! The access log: exactly one line for each request, however it ends.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use picluster::cluster::config::TrustedProxies;
use serde_json::Value;

use super::balancer::{GET, POST, Setup, TestBalancer, answer, answer_of, wait_until_free};
use super::wire::{PATIENCE, ScriptedNode, Wire};
use crate::lab::wait_until;

/// The target of the log, page by page.
struct Pages(SyncSender<Vec<u8>>);

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A balancer with an access log.
struct Logged {
    lb: TestBalancer,
    pages: Receiver<Vec<u8>>,
}

impl Logged {
    fn before(nodes: &[&ScriptedNode]) -> Self {
        Self::with(nodes, |_| {})
    }

    fn with(nodes: &[&ScriptedNode], change: impl FnOnce(&mut Setup)) -> Self {
        let (to, pages) = sync_channel(1024);
        let lb = TestBalancer::with(nodes, |setup| {
            setup.access_log = Some(Box::new(Pages(to)));
            change(setup);
        });
        Self { lb, pages }
    }

    /// The next lines, while the balancer runs.
    fn next(&self) -> Vec<Value> {
        parsed(&self.pages.recv_timeout(PATIENCE).expect("a line comes"))
    }

    /// All lines that were not read yet. Waits for the end of the balancer.
    fn end(self) -> Vec<Value> {
        self.end_after(PATIENCE)
    }

    fn end_after(self, deadline: Duration) -> Vec<Value> {
        self.lb.drain(deadline);
        self.lb.join();
        let mut lines = Vec::new();
        while let Ok(page) = self.pages.recv_timeout(PATIENCE) {
            lines.extend(parsed(&page));
        }
        lines
    }
}

fn parsed(page: &[u8]) -> Vec<Value> {
    let text = str::from_utf8(page).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Checks the only line: method and target, status, bytes, node, attempts, cause.
#[track_caller]
fn assert_one(lines: &[Value], expected: Value) {
    let names = ["method", "target", "status", "bytes", "node", "attempts", "cause"];
    let told: Vec<Value> =
        lines.iter().map(|line| names.iter().map(|name| line[name].clone()).collect()).collect();
    assert_eq!(told, [expected], "{lines:?}");
}

#[track_caller]
fn ms(line: &Value, name: &str) -> f64 {
    line[name].as_f64().unwrap_or_else(|| panic!("no {name} in {line}"))
}

#[test]
fn an_answered_request_is_logged_with_its_node_and_its_times() {
    let ada = ScriptedNode::new("ada");
    let logged = Logged::before(&[&ada]);
    let (mut client, mut node) = logged.lb.send(&ada, "GET /a?b=\"c HTTP/1.1\r\nHost: pi\r\n\r\n");
    let head = node.head();
    node.expect_silence(Duration::from_millis(20));
    node.send("HTTP/1.1 103 Early Hints\r\n\r\n");
    node.send(answer("hello"));
    client.expect_head("HTTP/1.1 103 ");
    client.expect(answer_of("ada", "hello"));
    // The line does not wait for the end of the connection.
    let lines = logged.next();
    assert_one(&lines, serde_json::json!(["GET", "/a?b=\"c", 200, 5, "ada", 1, null]));
    let line = &lines[0];
    assert_eq!(line["client"], "127.0.0.1");
    let id = line["request_id"].as_str().unwrap();
    assert!(head.contains(&format!("\r\nX-Request-Id: {id}\r\n")), "{head}");
    let (wait, connect) = (ms(line, "wait_ms"), ms(line, "connect_ms"));
    let (first, total) = (ms(line, "first_byte_ms"), ms(line, "total_ms"));
    assert!(first >= 20.0 && wait + connect + first <= total + 0.01, "{line}");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    drop(client);
    assert!(logged.end().is_empty());
}

#[test]
fn each_request_of_a_connection_has_its_own_line() {
    let ada = ScriptedNode::greeter("ada");
    let logged = Logged::before(&[&ada]);
    let mut client = logged.lb.client();
    client.send("GET /1 HTTP/1.1\r\nHost: pi\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: pi\r\n\r\n");
    client.send("GET /3 HTTP/1.1\r\nHost: pi\r\n\r\n");
    client.finish();
    let (got, _) = client.rest();
    assert!(!got.is_empty());
    let lines = logged.end();
    let targets: Vec<_> = lines.iter().map(|line| line["target"].clone()).collect();
    assert_eq!(targets, ["/1", "/2", "/3"]);
    let ids: std::collections::HashSet<_> =
        lines.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_retried_request_has_one_line_with_both_attempts_and_its_second_node() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::greeter("bob"));
    let logged = Logged::before(&[&ada, &bob]);
    let (mut client, mut node) = logged.lb.send(&ada, GET);
    node.head();
    node.reset();
    client.expect(answer_of("bob", "bob"));
    drop(client);
    assert_eq!(logged.lb.counts().retries.all(), [("node_died", 1)].into());
    assert!(logged.lb.counts().retries_free.all().is_empty());
    assert_one(&logged.end(), serde_json::json!(["GET", "/", 200, 3, "bob", 2, null]));
}

#[test]
fn a_refused_connection_is_an_attempt() {
    let (ada, bob) = (ScriptedNode::new("ada"), ScriptedNode::greeter("bob"));
    let logged = Logged::before(&[&ada, &bob]);
    drop(ada);
    assert_eq!(logged.lb.ask(POST), answer_of("bob", "bob"));
    assert_eq!(logged.lb.counts().retries_free.all(), [("connect_refused", 1)].into());
    assert_one(&logged.end(), serde_json::json!(["POST", "/", 200, 3, "bob", 2, null]));
}

#[test]
fn a_request_that_must_not_be_sent_again_says_what_became_of_its_node() {
    let ada = ScriptedNode::new("ada");
    let logged = Logged::before(&[&ada]);
    let (mut client, mut node) = logged.lb.send(&ada, POST);
    node.head();
    node.reset();
    let head = client.expect_head("HTTP/1.1 502 ");
    let (body, _) = {
        client.finish();
        client.rest()
    };
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    let counts = logged.lb.counts();
    assert_eq!(counts.gave_up.all(), [("unsafe", 1)].into());
    assert_eq!(counts.rejects.all(), [("node_died", 1)].into());
    let len = body.len();
    let lines = logged.end();
    assert_one(&lines, serde_json::json!(["POST", "/", 502, len, "ada", 1, "node_died"]));
    assert!(lines[0]["first_byte_ms"].is_null());
}

#[test]
fn a_refused_answer_is_logged_with_the_rule_that_it_breaks() {
    let ada = ScriptedNode::new("ada");
    let logged = Logged::before(&[&ada]);
    let (mut client, mut node) = logged.lb.send(&ada, GET);
    node.head();
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 2\n\nhi");
    client.expect_head("HTTP/1.1 502 Bad Gateway\r\n");
    let line = logged.next().remove(0);
    assert_eq!((&line["cause"], &line["status"]), (&"bad_answer".into(), &502.into()), "{line}");
    assert_eq!(line["refusal"], "line without CR LF", "{line}");
}

#[test]
fn an_answer_that_breaks_off_has_its_status_its_bytes_and_its_cause() {
    let ada = ScriptedNode::new("ada");
    let logged = Logged::before(&[&ada]);
    let (mut client, mut node) = logged.lb.send(&ada, GET);
    node.head();
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
    client.expect_head("HTTP/1.1 200 ");
    client.expect("hello");
    node.reset();
    assert!(client.rest().1.is_err());
    assert_eq!(logged.lb.counts().answers_cut.all(), [("node_died", 1)].into());
    assert_one(&logged.end(), serde_json::json!(["GET", "/", 200, 5, "ada", 1, "node_died"]));
}

#[test]
fn a_client_that_left_is_logged_wherever_its_request_was() {
    // The client leaves while it waits for the answer, in the middle of the answer, and in the
    // middle of its head.
    let ada = ScriptedNode::new("ada");
    let logged = Logged::before(&[&ada]);
    let (client, mut node) = logged.lb.send(&ada, GET);
    node.head();
    client.reset();
    wait_until_free(&ada);
    assert_one(&logged.next(), serde_json::json!(["GET", "/", null, 0, "ada", 1, "client_left"]));

    let (mut client, mut node) = logged.lb.send(&ada, GET);
    node.head();
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
    client.expect_head("HTTP/1.1 200 ");
    client.expect("hello");
    client.reset();
    assert_one(&logged.next(), serde_json::json!(["GET", "/", 200, 5, "ada", 1, "client_left"]));

    let mut client = logged.lb.client();
    client.send("GET / HT");
    client.finish();
    assert!(client.rest().0.is_empty());
    assert_one(&logged.end(), serde_json::json!([null, null, null, 0, null, 0, "client_left"]));
}

#[test]
fn a_held_request_is_counted_and_its_wait_is_logged() {
    let ada = ScriptedNode::greeter("ada");
    let logged = Logged::with(&[&ada], |setup| setup.hold = Duration::from_secs(60));
    logged.lb.publish([ada.down()]);
    let mut client = logged.lb.client();
    client.send(GET);
    wait_until("it is held", || logged.lb.held() == 1);
    // It is woken for a node that is down, so it goes on waiting.
    logged.lb.publish([ada.down()]);
    logged.lb.publish([ada.up()]);
    client.expect(answer_of("ada", "ada"));
    let client_that_leaves = {
        logged.lb.publish([ada.down()]);
        let mut client = logged.lb.client();
        client.send(GET);
        wait_until("it is held", || logged.lb.held() == 1);
        client
    };
    client_that_leaves.reset();
    wait_until("it is gone", || logged.lb.held() == 0);
    drop(client);
    let counts = logged.lb.counts();
    wait_until("both ends are counted", || counts.holds_ended.all().len() == 2);
    assert_eq!(counts.holds.get(), 2);
    assert_eq!(counts.holds_ended.all(), [("client_left", 1), ("node_came", 1)].into());
    let lines = logged.end();
    assert_eq!(lines.len(), 2);
    assert_one(&lines[..1], serde_json::json!(["GET", "/", 200, 3, "ada", 1, null]));
    assert_one(&lines[1..], serde_json::json!(["GET", "/", null, 0, null, 0, "client_left"]));
}

#[test]
fn a_wait_without_a_node_is_a_hold_that_ended_in_a_reject() {
    let ada = ScriptedNode::new("ada");
    let logged = Logged::with(&[&ada], |setup| setup.hold = Duration::from_millis(50));
    logged.lb.publish([ada.down()]);
    assert!(logged.lb.ask(GET).starts_with("HTTP/1.1 503 "));
    let counts = logged.lb.counts();
    assert_eq!((counts.holds.get(), counts.requests_failed.get()), (1, 1));
    for by_cause in [&counts.holds_ended, &counts.rejects] {
        assert_eq!(by_cause.all(), [("no_node_now", 1)].into());
    }
    let lines = logged.end();
    assert_eq!(
        (lines.len(), &lines[0]["cause"], &lines[0]["status"]),
        (1, &"no_node_now".into(), &503.into())
    );
    assert!(lines[0]["wait_ms"].is_null() && ms(&lines[0], "total_ms") >= 50.0, "{lines:?}");
}

#[test]
fn a_refused_request_is_logged_with_the_parts_that_could_be_read() {
    let ada = ScriptedNode::new("ada");
    for (request, method, target, status, cause) in [
        ("GET / HTTP/1.1\r\nA : b\r\n\r\n", None, None, 400, "refused"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03", None, None, 400, "refused"),
        (
            "GET /.picluster/x HTTP/1.1\r\nHost: pi\r\n\r\n",
            Some("GET"),
            Some("/.picluster/x"),
            404,
            "private",
        ),
        (
            "GET / HTTP/1.1\r\nHost: pi\r\nForwarded: by=_pc0_front\r\n\r\n",
            Some("GET"),
            Some("/"),
            508,
            "loop",
        ),
        (
            "TRACE / HTTP/1.1\r\nHost: pi\r\nMax-Forwards: 0\r\n\r\n",
            Some("TRACE"),
            Some("/"),
            405,
            "last_hop",
        ),
    ] {
        let logged = Logged::before(&[&ada]);
        let mut client = logged.lb.client();
        client.send(request);
        client.expect_head(&format!("HTTP/1.1 {status} "));
        client.finish();
        let (body, _) = client.rest();
        assert_eq!(logged.lb.counts().rejects.all(), [(cause, 1)].into());
        let len = body.len();
        let expected = serde_json::json!([method, target, status, len, null, 0, cause]);
        assert_one(&logged.end(), expected);
    }
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_logged_once() {
    let ada = ScriptedNode::new("ada");
    let logged = Logged::with(&[&ada], |setup| setup.limits.head = Duration::from_millis(50));
    let mut client = logged.lb.client();
    client.send("GET /");
    client.expect_head("HTTP/1.1 408 ");
    client.finish();
    let len = client.rest().0.len();
    let lines = logged.end();
    assert_one(&lines, serde_json::json!([null, null, 408, len, null, 0, "slow_head"]));
    assert!(ms(&lines[0], "total_ms") >= 50.0);
}

#[test]
fn a_connection_without_a_request_has_no_line() {
    let ada = ScriptedNode::new("ada");
    let logged = Logged::before(&[&ada]);
    let mut client = logged.lb.client();
    client.finish();
    assert!(client.rest().0.is_empty());
    assert!(logged.end().is_empty());
}

const OFFER: &str = "GET / HTTP/1.1\r\nHost: pi\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";

fn tunnel(logged: &Logged, ada: &ScriptedNode) -> (Wire, Wire) {
    let (mut client, mut node) = logged.lb.send(ada, OFFER);
    node.head();
    node.send("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nfirst");
    client.expect_head("HTTP/1.1 101 ");
    client.expect("first");
    client.send("ping");
    node.expect("ping");
    (client, node)
}

#[test]
fn a_tunnel_is_logged_at_its_end_with_the_bytes_of_both_ways() {
    let ada = ScriptedNode::new("ada");
    let logged = Logged::before(&[&ada]);
    let (mut client, mut node) = tunnel(&logged, &ada);
    client.finish();
    node.expect_end();
    node.finish();
    client.expect_end();
    assert_one(&logged.next(), serde_json::json!(["GET", "/", 101, 9, "ada", 1, null]));

    let (client, node) = tunnel(&logged, &ada);
    client.reset();
    assert_one(&logged.next(), serde_json::json!(["GET", "/", 101, 9, "ada", 1, "tunnel_broke"]));

    let held = tunnel(&logged, &ada);
    let lines = logged.end_after(Duration::ZERO);
    assert_one(&lines, serde_json::json!(["GET", "/", 101, 9, "ada", 1, "stopped"]));
    drop((node, held));
}

#[test]
fn a_silent_tunnel_says_so() {
    let ada = ScriptedNode::new("ada");
    let logged = Logged::with(&[&ada], |setup| setup.limits.tunnel = Duration::from_millis(50));
    let (mut client, _node) = tunnel(&logged, &ada);
    assert!(client.rest().1.is_err());
    assert_one(&logged.end(), serde_json::json!(["GET", "/", 101, 9, "ada", 1, "tunnel_silent"]));
}

#[test]
fn a_client_of_a_trusted_proxy_is_who_the_proxy_says_and_its_id_is_theirs() {
    let ada = ScriptedNode::greeter("ada");
    let trusted = |proxy_protocol| {
        move |setup: &mut Setup| {
            let networks = vec!["127.0.0.0/8".parse().unwrap()];
            setup.trusted_proxies = TrustedProxies { networks, proxy_protocol };
        }
    };
    let logged = Logged::with(&[&ada], trusted(true));
    logged.lb.ask(format!("PROXY TCP4 10.1.2.3 10.0.0.1 5 80\r\n{GET}"));
    assert_eq!(logged.end()[0]["client"], "10.1.2.3");
    let logged = Logged::with(&[&ada], trusted(false));
    logged.lb.ask("GET / HTTP/1.1\r\nHost: pi\r\nX-Request-Id: theirs\r\n\r\n");
    assert_eq!(logged.end()[0]["request_id"], "theirs");
}

#[test]
fn a_log_that_nobody_reads_holds_no_request_back() {
    let ada = ScriptedNode::greeter("ada");
    let logged = Logged::before(&[&ada]);
    let Logged { lb, pages } = logged;
    drop(pages);
    for _ in 0..3 {
        assert_eq!(lb.ask(GET), answer_of("ada", "ada"));
    }
    let dropped = || lb.counts().access_log_lines_dropped.get();
    wait_until("all lines are counted as dropped", || dropped() == 3);
}
