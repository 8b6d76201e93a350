//! Several applications on one cluster: real nodes that announce their applications, and a real
//! balancer.

use serde_json::Value;

use crate::lab::{Answer, Balancer, Lab, PATIENCE, wait_until};

/// The answer of a balancer for this host and path.
fn ask(lab: &Lab, lb: &Balancer, host: &str, path: &str) -> Answer {
    let url = lb.url() + path.trim_start_matches('/');
    lab.get_with(&url, &[("Host", host)]).expect("an answer")
}

/// The status and the text of the answer.
fn told(lab: &Lab, lb: &Balancer, host: &str, path: &str) -> (u16, String) {
    let answer = ask(lab, lb, host, path);
    (answer.status, answer.body.trim_end().to_owned())
}

fn document(lab: &Lab, lb: &Balancer) -> Value {
    let answer = lab.get(&lb.admin("/api/v1/nodes")).expect("the admin port answers");
    serde_json::from_str(&answer.body).expect("it is JSON")
}

#[test]
fn three_applications_are_distinguished_by_host_and_by_path() {
    let Some(lab) = Lab::new("routes") else { return };
    let lb = lab.lb();
    let web = |name: &str, args: &[&str]| lab.pi(name).web().named().args(args).start();
    web("ada", &[]);
    web("bob", &["--service", "blog", "--host", "blog.local", "--host", "www.example"]);
    web("cyd", &["--service", "wiki", "--path", "/wiki", "--strip"]);
    lb.wait_for_nodes(3);
    for (host, path, name) in [
        ("picluster.local", "/", "ada"),
        ("Blog.Local:80", "/", "bob"),
        ("www.example.", "/", "bob"),
        ("picluster.local", "/wiki/", "cyd"),
        ("picluster.local", "/wiki/?a=b", "cyd"),
    ] {
        for _ in 0..3 {
            let expected = (200, name.to_owned());
            assert_eq!(told(&lab, &lb, host, path), expected, "{host}{path}");
        }
    }
    let routes = serde_json::json!([
        { "host": null, "path": "/", "service": "default" },
        { "host": null, "path": "/wiki", "service": "wiki" },
        { "host": "blog.local", "path": "/", "service": "blog" },
        { "host": "www.example", "path": "/", "service": "blog" },
    ]);
    assert_eq!(document(&lab, &lb)["routes"], routes);
    assert_eq!(document(&lab, &lb)["conflicts"], serde_json::json!([]));
}

#[test]
fn a_request_for_no_route_is_shown_those_there_are() {
    let Some(lab) = Lab::new("no-route") else { return };
    let lb = lab.lb();
    lab.pi("bob").web().args(&["--service", "blog", "--host", "blog.local"]).start();
    lb.wait_for_nodes(1);
    wait_until("the time in which more nodes may be heard of", || {
        ask(&lab, &lb, "nobody.local", "/").status == 404
    });
    let (_, text) = told(&lab, &lb, "nobody.local", "/x");
    assert!(text.contains("blog.local  (blog)"), "{text}");
    let headers = [("Host", "nobody.local"), ("Accept", "text/html")];
    let page = lab.get_with(&lb.url(), &headers).expect("an answer");
    assert!(page.body.contains("<a href=\"//blog.local/\">blog.local</a>"), "{}", page.body);
    assert_eq!(ask(&lab, &lb, "blog.local", "/").status, 200);
}

#[test]
fn the_first_of_two_services_keeps_their_common_host_until_it_is_gone() {
    let Some(lab) = Lab::new("conflict") else { return };
    let lb = lab.lb();
    let web = |name: &str, service: &str| {
        let args = ["--service", service, "--host", "site.local"];
        lab.pi(name).web().named().args(&args).start()
    };
    let ada = web("ada", "blog");
    lb.wait_until_up(&ada, PATIENCE);
    web("bob", "shop");
    lb.wait_for_nodes(2);
    lb.wait_for_log("shop names the route of blog, which keeps it: site.local");
    let conflict = &document(&lab, &lb)["conflicts"][0];
    assert_eq!((&conflict["service"], &conflict["kept_by"]), (&"shop".into(), &"blog".into()));
    for _ in 0..4 {
        assert_eq!(told(&lab, &lb, "site.local", "/"), (200, "ada".to_owned()));
    }
    let nodes = [env!("CARGO_BIN_EXE_picluster"), "nodes"];
    let listing = lab.pi("phone").start(&nodes);
    assert_eq!(listing.wait_exit(PATIENCE).code, 0);
    listing.wait_for_log("shop names the route of blog");
    ada.sigterm();
    wait_until("the other one has it", || {
        told(&lab, &lb, "site.local", "/") == (200, "bob".to_owned())
    });
    assert_eq!(document(&lab, &lb)["conflicts"], serde_json::json!([]));
}

#[test]
fn the_last_node_of_a_service_leaves_and_its_requests_go_to_nobody_else() {
    let Some(lab) = Lab::under_load("last-node") else { return };
    let lb = lab.pi("front").lb().args(&["--hold", "500ms"]).start();
    for name in ["ada", "cyd"] {
        lab.pi(name).web().start();
    }
    let blog = || {
        let args = ["--service", "blog", "--host", "blog.local"];
        lab.pi("bob").web().named().args(&args).start()
    };
    let bob = blog();
    lb.wait_for_nodes(3);
    let load = lab.load(&lb, 4);
    load.wait_for_answers(200);
    assert_eq!(ask(&lab, &lb, "blog.local", "/").status, 200);
    bob.sigterm();
    lb.wait_for("it is off the list", PATIENCE, |nodes| nodes.len() == 2);
    let gone = ask(&lab, &lb, "blog.local", "/");
    assert_eq!((gone.status, gone.node()), (503, None), "{}", gone.body);
    let bob = blog();
    lb.wait_until_up(&bob, PATIENCE);
    assert_eq!(told(&lab, &lb, "blog.local", "/"), (200, "bob".to_owned()));
    bob.kill9();
    wait_until("it is missed", || ask(&lab, &lb, "blog.local", "/").status == 503);
    load.stop_with_no_failure();
}

#[test]
fn the_name_of_an_application_leads_to_the_balancer_while_a_node_wants_it() {
    let Some(lab) = Lab::new("names-of-apps") else { return };
    let front = lab.pi("front");
    let lb = front.lb().start();
    let bob = lab.pi("bob").web().args(&["--service", "blog", "--host", "blog.local"]).start();
    lb.wait_until_up(&bob, PATIENCE);
    lb.wait_for_log("claiming blog.local");
    if lab.has("avahi-resolve") {
        let phone = lab.pi("laptop");
        phone.avahi();
        let found = phone.run(&["avahi-resolve", "-4", "-n", "blog.local"]);
        assert!(found.contains(&front.address().to_string()), "{found}");
    }
    bob.sigterm();
    lb.wait_for_log_within("giving up blog.local", 2 * PATIENCE);
    assert!(lb.log_lines_with("giving up picluster.local") == 0);
}

#[test]
fn the_hostname_of_another_machine_is_not_taken_from_it() {
    let Some(lab) = Lab::new("taken-name") else { return };
    if !lab.has("avahi-daemon") {
        return;
    }
    let nas = lab.pi("nas").hostname("nas");
    nas.avahi();
    let lb = lab.lb();
    let args = ["--service", "files", "--host", "nas.local"];
    let bob = lab.pi("bob").web().args(&args).start();
    lb.wait_until_up(&bob, PATIENCE);
    lb.wait_for_log("another machine holds nas.local, standing by");
    assert_eq!(lb.log_lines_with("claiming nas.local"), 0);
    // The route exists all the same.
    assert_eq!(ask(&lab, &lb, "nas.local", "/").status, 200);
}

#[test]
fn a_device_without_picluster_may_serve_an_application_too() {
    let Some(lab) = Lab::new("foreign-app") else { return };
    if !lab.has("avahi-publish") {
        return;
    }
    let lb = lab.lb();
    lab.pi("ada").web().named().start();
    let nas = lab.pi("nas");
    nas.avahi();
    nas.greeter(9000, "attic");
    let txt = ["v=1", "app=attic", "path=/attic", "weight=3"];
    nas.avahi_publish("Attic NAS", "_picluster._tcp", 9000, &txt);
    lb.wait_for_nodes(2);
    assert_eq!(told(&lab, &lb, "any", "/attic/x"), (200, "attic".to_owned()));
    assert_eq!(told(&lab, &lb, "any", "/"), (200, "ada".to_owned()));
}

#[test]
fn a_node_that_is_started_again_with_another_service_serves_that() {
    let Some(lab) = Lab::new("another-app") else { return };
    let lb = lab.lb();
    lab.pi("ada").web().named().start();
    let start = |service: &str, path: &str| {
        let args = ["--service", service, "--path", path, "--strip"];
        lab.pi("bob").web().named().args(&args).start()
    };
    let bob = start("blog", "/blog");
    lb.wait_for_nodes(2);
    assert_eq!(told(&lab, &lb, "any", "/blog/"), (200, "bob".to_owned()));
    bob.kill9();
    start("wiki", "/wiki");
    wait_until("its new route", || told(&lab, &lb, "any", "/wiki/") == (200, "bob".to_owned()));
}

#[test]
fn a_service_whose_applications_never_answered_gets_a_503_soon() {
    let Some(lab) = Lab::new("app-gone") else { return };
    let lb = lab.pi("front").lb().args(&["--hold", "500ms"]).start();
    lab.pi("ada").web().named().args(&["--app", ":3999"]).start();
    lab.pi("bob").web().named().args(&["--app", ":3999", "--front"]).start();
    wait_until("both applications to be down", || {
        let nodes = document(&lab, &lb)["nodes"].clone();
        let nodes = nodes.as_array().expect("a list");
        nodes.iter().filter(|node| node["state"] == "down").count() == 2
    });
    // Nothing was ever up, so after the first 3 s of the balancer no request waits for a node.
    crate::lab::pause(std::time::Duration::from_secs(3));
    let began = std::time::Instant::now();
    let (status, text) = told(&lab, &lb, "picluster.local", "/");
    assert_eq!(status, 503, "{text}");
    // The promise: at most the hold of 500 ms. The rest of the two seconds is for a busy machine.
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}
