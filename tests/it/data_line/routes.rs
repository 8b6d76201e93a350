//! Several applications: the requests of each, and their form.

use std::sync::atomic::Ordering;
use std::time::Duration;

use picluster::cluster::health::Health;
use picluster::cluster::node::Offer;
use picluster::cluster::pool::Member;

use super::balancer::{GET, TestBalancer, answer, answer_of, forwarded};
use super::wire::ScriptedNode;

fn offer(service: &str, hosts: &[&str], path: &str) -> Offer {
    Offer {
        service: service.to_owned(),
        hosts: hosts.iter().map(ToString::to_string).collect(),
        path: path.to_owned(),
        ..Offer::default()
    }
}

fn get(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// A balancer without nodes; they are published later.
fn lb() -> TestBalancer {
    TestBalancer::before(&[])
}

#[test]
fn a_request_goes_to_the_service_of_its_host_then_path_then_the_default() {
    let [ada, bob, cyd] = ["ada", "bob", "cyd"].map(ScriptedNode::greeter);
    let lb = lb();
    lb.publish([
        ada.up(),
        bob.serving(offer("blog", &["blog.local"], "/")),
        cyd.serving(offer("wiki", &[], "/wiki")),
    ]);
    for (host, target, name) in [
        ("pi", "/", "ada"),
        ("blog.local", "/", "bob"),
        ("BLOG.local.:80", "/wiki", "bob"),
        ("pi", "/wiki?a", "cyd"),
        ("pi", "/wiki/x", "cyd"),
        ("pi", "/wikipedia", "ada"),
    ] {
        for _ in 0..2 {
            assert_eq!(lb.ask(get(host, target)), answer_of(name, name), "{host} {target}");
        }
    }
    let absolute = "GET http://blog.local/x HTTP/1.1\r\nHost: pi\r\n\r\n";
    assert_eq!(lb.ask(absolute), answer_of("bob", "bob"));
}

#[test]
fn each_service_has_a_rotation_of_its_own_and_weights_count_in_it() {
    let [ada, bob, cyd] = ["ada", "bob", "cyd"].map(ScriptedNode::greeter);
    let lb = lb();
    let heavy = Offer { weight: 3, ..offer("blog", &["blog.local"], "/") };
    let light = Offer { weight: 1, ..heavy.clone() };
    lb.publish([ada.up(), bob.serving(heavy), cyd.serving(light)]);
    for _ in 0..8 {
        lb.ask(GET);
        lb.ask(get("blog.local", "/"));
    }
    let served = [&ada, &bob, &cyd].map(|node| node.counters.requests.load(Ordering::Relaxed));
    assert_eq!(served, [8, 6, 2]);
}

#[test]
fn a_path_that_is_cut_off_is_named_to_the_node_and_its_query_stays() {
    let ada = ScriptedNode::new("ada");
    let lb = lb();
    lb.publish([ada.serving(Offer { strip: true, ..offer("blog", &[], "/blog") })]);
    for (target, seen) in
        [("/blog/", "/"), ("/blog/x%2Fy?z", "/x%2Fy?z"), ("/blog//evil.example/", "/evil.example/")]
    {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: pi\r\nX-Forwarded-Prefix: /forged\r\n\r\n");
        let (mut client, mut node) = lb.send(&ada, request);
        let plain = forwarded(&format!("GET {seen}"), "");
        let told = "X-Forwarded-Host: pi\r\n";
        node.expect(plain.replace(told, &format!("{told}X-Forwarded-Prefix: /blog\r\n")));
        node.send(answer("hello"));
        client.expect(answer_of("ada", "hello"));
    }
}

#[test]
fn a_path_that_is_cut_off_is_asked_for_with_its_slash() {
    let ada = ScriptedNode::greeter("ada");
    let lb = lb();
    let offer = |path| Offer { strip: true, ..offer("files", &[], path) };
    lb.publish([ada.serving(offer("/a/files"))]);
    let mut client = lb.client();
    for (method, target, location) in [
        ("GET", "/a/files", "files/"),
        ("HEAD", "/a/files?b=/c?d", "files/?b=/c?d"),
        ("GET", "/a/files?", "files/?"),
    ] {
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: pi\r\n\r\n"));
        let head = client.expect_head("HTTP/1.1 307 Temporary Redirect\r\n");
        assert!(head.contains(&format!("\r\nLocation: {location}\r\n")), "{head}");
        assert!(head.contains("\r\nCache-Control: no-store\r\n"), "{head}");
        if method == "GET" {
            client.expect("307 Temporary Redirect: this application is served at this path with ");
            client.expect("a slash behind it\n");
        }
    }
    assert_eq!(lb.counts().rejects.all(), [("no_slash", 3)].into());
    assert_eq!(lb.failed(), 0);
    // Paths below it, and other methods, are the application's.
    client.send(get("pi", "/a/files/"));
    client.expect(answer_of("ada", "ada"));
    client.send("POST /a/files HTTP/1.1\r\nHost: pi\r\nContent-Length: 0\r\n\r\n");
    client.expect(answer_of("ada", "ada"));
    // Its link in the list of routes has the slash too.
    let list = lb.ask("GET /x HTTP/1.1\r\nHost: pi\r\nAccept: text/html\r\n\r\n");
    assert!(list.contains("<a href=\"/a/files/\">"), "{list}");
}

#[test]
fn a_stripped_path_does_not_lead_to_the_private_paths_of_a_node() {
    let ada = ScriptedNode::greeter("ada");
    let lb = lb();
    lb.publish([ada.serving(Offer { strip: true, ..offer("blog", &[], "/blog") })]);
    for path in ["/blog/.picluster/health", "/blog//.picluster/drain", "/blog/%2epicluster/x"] {
        let answer = lb.ask(get("pi", path));
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{path}: {answer}");
    }
    assert_eq!(lb.counts().rejects.all(), [("private", 3)].into());
    assert_eq!(lb.ask(get("pi", "/blog/a/.picluster")), answer_of("ada", "ada"));
}

#[test]
fn a_path_with_two_readings_is_refused_where_paths_count_and_only_there() {
    let [ada, bob] = ["ada", "bob"].map(ScriptedNode::greeter);
    let lb = lb();
    let targets = ["/blog/../x", "/x/%2e%2e/blog", "/blog/..;/x", "/blog\\..\\x", "/blog%2f..%2fx"];
    lb.publish([ada.up(), bob.serving(offer("blog", &["blog.local"], "/"))]);
    for target in targets {
        assert_eq!(lb.ask(get("pi", target)), answer_of("ada", "ada"), "{target}");
    }
    lb.publish([ada.up(), bob.serving(offer("blog", &[], "/blog"))]);
    for target in targets {
        let answer = lb.ask(get("pi", target));
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{target}: {answer}");
    }
    assert_eq!(lb.counts().rejects.all(), [("dot_segment", 5)].into());
}

#[test]
fn a_request_for_no_route_gets_the_list_of_routes_in_the_form_it_wants() {
    let ada = ScriptedNode::greeter("ada");
    let lb = lb();
    lb.publish([ada.serving(offer("blog", &["blog.local"], "/"))]);
    let mut client = lb.client();
    client.send(GET);
    client.expect_head("HTTP/1.1 404 Not Found\r\n");
    client.expect("404 Not Found: no application of this network takes this address\n");
    client.expect("What this network serves:\n  blog.local  (blog)\n");
    // The connection stays open.
    client.send(get("blog.local", "/"));
    client.expect(answer_of("ada", "ada"));
    client.send("GET / HTTP/1.1\r\nHost: pi:8000\r\nAccept: text/html\r\n\r\n");
    let head = client.expect_head("HTTP/1.1 404 Not Found\r\n");
    assert!(head.contains("\r\nContent-Type: text/html;"), "{head}");
    client.finish();
    let page = String::from_utf8(client.rest().0).unwrap();
    assert!(
        page.contains("<a href=\"//blog.local:8000/\">blog.local</a> <small>blog</small>"),
        "{page}"
    );
    assert_eq!(lb.counts().rejects.all(), [("no_route", 2)].into());
    assert_eq!(lb.failed(), 0);
}

#[test]
fn a_service_without_a_usable_node_waits_and_says_so_and_the_others_go_on() {
    let [ada, bob] = ["ada", "bob"].map(ScriptedNode::greeter);
    let lb = lb();
    let blog = || bob.serving(offer("blog", &["blog.local"], "/"));
    lb.publish([ada.up(), blog()]);
    // The node is down, then gone: its route does not fall to the service that takes the rest.
    let down = Member { health: Health::Down, ..blog() };
    for members in [vec![ada.up(), down], vec![ada.up()]] {
        lb.publish(members);
        let mut waits = lb.client();
        waits.send(get("blog.local", "/"));
        assert_eq!(lb.ask(GET), answer_of("ada", "ada"));
        waits.expect_head("HTTP/1.1 503 Service Unavailable\r\n");
    }
    let mut waits = lb.client();
    waits.send(get("blog.local", "/"));
    crate::lab::wait_until("it is held", || lb.held() == 1);
    lb.publish([ada.up(), blog()]);
    waits.expect(answer_of("bob", "bob"));
}

#[test]
fn a_request_is_tried_again_at_nodes_of_its_own_service_alone() {
    let [ada, bob, cyd] = ["ada", "bob", "cyd"].map(ScriptedNode::new);
    let lb = lb();
    let blog = || offer("blog", &["blog.local"], "/");
    lb.publish([ada.up(), bob.serving(blog()), cyd.serving(blog())]);
    let mut client = lb.client();
    client.send(get("blog.local", "/"));
    let mut first = bob.accept();
    first.head();
    first.reset();
    let mut second = cyd.accept();
    second.head();
    second.send(answer("hello"));
    client.expect(answer_of("cyd", "hello"));
    ada.expect_nobody();
}

#[test]
fn a_request_that_came_before_any_node_is_routed_when_they_are_known() {
    let [ada, bob] = ["ada", "bob"].map(ScriptedNode::greeter);
    let lb = TestBalancer::with(&[], |setup| setup.age = Duration::ZERO);
    let mut early = lb.client();
    early.send(get("pi", "/blog/x"));
    crate::lab::wait_until("it is held", || lb.held() == 1);
    // Its own service comes last.
    lb.publish([ada.serving(offer("shop", &["shop.local"], "/"))]);
    let strip = Offer { strip: true, ..offer("blog", &[], "/blog") };
    lb.publish([ada.serving(offer("shop", &["shop.local"], "/")), bob.serving(strip)]);
    early.expect(answer_of("bob", "bob"));
}
