//! The typed commands: what they show on any machine, which programs they may control, and that no
//! client of the balancer notices a drain.

use std::time::{Duration, Instant};

use crate::lab::{Balancer, Lab, PATIENCE, Pi, Process, now_ms, wait_until};

const PICLUSTER: &str = env!("CARGO_BIN_EXE_picluster");

/// The time until a node is out of the rotation of this balancer: the bar is 200 ms; here several
/// labs share one small machine.
const DRAINED_HERE_MAX_MS: u64 = 1_500;

/// The time until a node is out of the rotation of every balancer: the bar is 1.5 s.
const DRAINED_MAX_MS: u64 = 4_000;

/// The longest run of a command, whatever the network does.
const ANSWER_MAX: Duration = Duration::from_secs(8);

fn two_nodes(lab: &Lab) -> (Balancer, Process, String) {
    let lb = lab.lb();
    let ada = lab.pi("ada").web().named().start();
    lab.pi("bob").web().named().start();
    lb.wait_for_nodes(2);
    let name = lb.name_of(&ada);
    (lb, ada, name)
}

#[test]
fn a_third_machine_sees_the_cluster_and_how_it_is() {
    let Some(lab) = Lab::new("commands") else { return };
    let (lb, ada, _) = two_nodes(&lab);
    let phone = lab.client();
    assert_eq!(phone.type_in("nodes --names"), ("ada\nbob\n".to_owned(), 0));
    let (table, code) = phone.type_in("nodes");
    assert_eq!(code, 0, "{table}");
    assert!(table.starts_with("NAME") && table.contains("+ up"), "{table}");
    assert!(table.contains(&ada.endpoint().to_string()), "{table}");
    let (json, _) = phone.type_in("nodes --json");
    let said: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(said["schema"], "picluster/1");
    assert_eq!(said["nodes"][1]["name"], "bob");
    let (well, code) = phone.type_in("status");
    assert!(code == 0 && well.contains("all is well"), "{well}");

    ada.kill9();
    lb.wait_for("ada down", PATIENCE, |nodes| nodes.iter().any(|node| node.state == "down"));
    let (warnings, code) = phone.type_in("status");
    assert!(code == 1 && warnings.contains("ada is down"), "{warnings}");
    let (json, code) = phone.type_in("status --json");
    let said: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!((code, said["status"].as_str()), (1, Some("warnings")), "{said}");

    lab.pi("back").lb().start().wait_until_it_answers();
    wait_until("both balancers are counted", || {
        phone.type_in("nodes").0.contains("2 balancers serve the cluster default")
    });
}

#[test]
fn a_reader_that_goes_away_ends_the_watch_quietly() {
    let Some(lab) = Lab::new("watchpipe") else { return };
    let (lb, ..) = two_nodes(&lab);
    let admin = lb.admin("");
    let admin = admin.trim_start_matches("http://");
    let script = format!("'{PICLUSTER}' nodes --watch --admin {admin} | head -1");
    let said = lab.client().run(&["sh", "-c", &script]);
    assert_eq!(said, format!("cluster default, by {admin}: 2 of 2 nodes up\n"));
}

#[test]
fn the_watch_draws_in_place_and_gives_the_cursor_back() {
    let Some(lab) = Lab::new("watch") else { return };
    if !lab.has("tmux") {
        return;
    }
    let (_lb, ada, _) = two_nodes(&lab);
    let phone = lab.client();
    let tmux = |line: &str| {
        let words: Vec<&str> = "tmux -f /dev/null -S /run/tmux".split(' ').collect();
        phone.run(&words.into_iter().chain(line.split(' ')).collect::<Vec<_>>())
    };
    let watch = format!("'{PICLUSTER}' nodes --watch; echo ended with $?; exec sleep 60");
    phone.run(&[
        "tmux",
        "-f",
        "/dev/null",
        "-S",
        "/run/tmux",
        "new-session",
        "-d",
        "-x",
        "60",
        "-y",
        "12",
        &watch,
    ]);
    let shows = |what: &str| wait_until(what, || tmux("capture-pane -p").contains(what));
    shows("2 of 2 nodes up");
    assert_eq!(tmux("display-message -p #{cursor_flag}"), "0\n");
    ada.kill9();
    shows("1 of 2 nodes up");
    shows("connection refused on");
    let pane = tmux("capture-pane -p");
    assert_eq!(pane.matches("NAME").count(), 1, "it is drawn in place:\n{pane}");
    tmux("resize-window -x 30 -y 6");
    shows("more lines");
    tmux("send-keys C-c");
    shows("ended with 0");
    assert_eq!(tmux("display-message -p #{cursor_flag}"), "1\n");
}

#[test]
fn without_a_balancer_the_nodes_speak_for_themselves() {
    let Some(lab) = Lab::new("nobalancer") else { return };
    let phone = lab.client();
    let began = Instant::now();
    let (empty, code) = phone.type_in("nodes");
    lab.figure("nothing at all, told after", format!("{:?}", began.elapsed()), "3 s");
    assert!(began.elapsed() < ANSWER_MAX, "{:?}", began.elapsed());
    assert!(code == 0 && empty.contains("run:  picluster web"), "{empty}");
    for name in ["ada", "bob"] {
        let node = lab.pi(name).web().named().start();
        node.wait_for_log("announced");
    }
    assert_eq!(lab.pi("bob").type_in("drain").1, 0);
    let (table, code) = phone.type_in("nodes");
    assert_eq!(code, 0);
    for part in ["no balancer of the cluster default", "+ up", "~ draining", "says that it is"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let (status, code) = phone.type_in("status");
    assert!(code == 2 && status.contains("does not serve"), "{status}");
    let (red, code) = phone.type_in("nodes --cluster red");
    assert!(code == 0 && red.contains("picluster web --cluster red"), "{red}");
}

#[test]
fn without_a_network_an_error_says_so_soon() {
    let Some(lab) = Lab::new("nonetwork") else { return };
    let ada = lab.pi("ada");
    ada.all_interfaces_down();
    let began = Instant::now();
    let (why, code) = ada.type_in("nodes");
    assert!(began.elapsed() < ANSWER_MAX, "{:?}", began.elapsed());
    assert!(code == 69 && why.contains("no network yet"), "{code}: {why}");
    assert_eq!(ada.type_in("status").1, 2);
    assert_eq!(ada.type_in("drain").1, 69);

    let bob = lab.pi("bob");
    bob.hold_5353();
    let began = Instant::now();
    let (why, code) = bob.type_in("nodes");
    assert!(began.elapsed() < ANSWER_MAX, "{:?}", began.elapsed());
    assert!(code == 69 && why.contains("udp port 5353 is held by"), "{code}: {why}");
}

#[test]
fn a_drained_node_gets_no_new_request_and_none_fails() {
    let Some(lab) = Lab::busy("drain") else { return };
    let (lb, ada, name) = two_nodes(&lab);
    let load = lab.load(&lb, 16);
    load.wait_for_answer_of(&name);
    let drained = |pi: &Pi, drain: &str, undrain: &str, what: &str, bar: &str, most: u64| {
        let (said, code) = pi.type_in(drain);
        let from = now_ms();
        assert_eq!(code, 0, "{said}");
        lb.wait_until_out(&ada, PATIENCE);
        let report = load.wait_for_more(500);
        let last = report.nodes[&name].last_ms.saturating_sub(from);
        lab.figure(what, format!("{last} ms"), bar);
        assert!(last <= most, "{last} ms");
        let (said, code) = pi.type_in(undrain);
        assert_eq!(code, 0, "{said}");
        load.wait_for_new_answer_of(&name);
    };
    let front = lb.pi().clone();
    let (here, own) = (format!("drain {name}"), format!("undrain {name}"));
    drained(&front, &here, &own, "drain here to last answer", "200 ms", DRAINED_HERE_MAX_MS);
    drained(ada.pi(), "drain", "undrain", "own drain to last answer", "1.5 s", DRAINED_MAX_MS);

    let id = lb.node(&ada).expect("it is known").id;
    assert_eq!(front.type_in(&format!("drain {id}")).1, 0);
    let ada = {
        ada.kill9();
        ada.restart()
    };
    lb.wait_for("it is back and still drained", PATIENCE, |nodes| {
        nodes.iter().any(|node| node.id == id && node.why == "drained here")
    });
    assert!(lb.node(&ada).is_some_and(|node| node.state == "draining"));
    let (said, code) = front.type_in("drain nobody");
    assert!(code == 1 && said.contains("there is no node nobody; there are ada, bob"), "{said}");
    load.stop_with_no_failure();
}

#[test]
fn nobody_from_elsewhere_and_no_other_page_may_drain() {
    let Some(lab) = Lab::new("insider") else { return };
    if !lab.has("curl") {
        return;
    }
    let (lb, ada, _) = two_nodes(&lab);
    let post = |pi: &Pi, url: &str, header: &str| {
        pi.run(&[
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-X",
            "POST",
            "-H",
            header,
            url,
        ])
    };
    let (phone, front) = (lab.client(), lb.pi().clone());
    let path = "/api/v1/nodes/ada/drain";
    let (far, near) = (lb.admin(path), format!("http://127.0.0.1:7070{path}"));
    let own = format!("http://{}/.picluster/drain", ada.endpoint());
    for (pi, url, header) in [
        (&phone, far.as_str(), "X: y"),
        (&phone, &far, "Host: 127.0.0.1:7070"),
        (&front, &near, "Origin: http://evil.example"),
        (&front, &near, "Host: evil.example:7070"),
        (&front, &far, "X: y"),
        (&phone, &own, "X: y"),
        (&phone, &own, "Host: 127.0.0.1:8080"),
    ] {
        assert_eq!(post(pi, url, header), "403\n", "{} {url} {header}", pi.name());
    }
    lb.wait_for_nodes(2);
    assert_eq!(post(&front, &near, "Origin: http://127.0.0.1:7070"), "200\n");
    assert!(lb.node(&ada).is_some_and(|node| node.why == "drained here"));
    // Nobody reaches a node's private path through the balancer.
    assert_eq!(post(&front, &format!("{}.picluster/drain", lb.url()), "X: y"), "404\n");
}
