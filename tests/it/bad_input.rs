//! Bad input of every kind: each has a defined behaviour, and a sentence in the log that names the
//! cause and the fix. Nothing panics (the lab searches every log for that), and nothing restarts in
//! a loop.

use std::time::Duration;

use crate::lab::{
    Advert, Balancer, Lab, Manner, Node, PATIENCE, Pi, Process, Program, pause, wait_until,
};

/// The time within which the log must name a fault that hides a machine from the others.
const LOUD_WITHIN: Duration = Duration::from_secs(5);

fn is_up(lb: &Balancer, id: &str) -> bool {
    lb.nodes().iter().any(|node| node.id == id && node.is_up())
}

// Ids and names.

#[test]
fn two_nodes_with_one_id_both_serve_and_the_second_is_called_2() {
    let Some(lab) = Lab::under_load("one-id") else { return };
    let lb = lab.lb();
    lb.wait_until_it_answers();
    let node = |name| lab.pi(name).web().env("PICLUSTER_ID", "card").start();
    let (ada, bob) = (node("ada"), node("bob"));
    let nodes = lb.wait_for_nodes(2);
    let second = nodes.iter().find(|node| node.id == "card-2").expect("one of the two");
    assert!(nodes.iter().any(|node| node.id == "card"), "{nodes:#?}");
    assert!(second.name.ends_with("-2"), "{nodes:#?}");
    lb.wait_for_log("two machines have one id");
    assert!(lb.log_lines_with("a copied PICLUSTER_ID") > 0, "the balancer names the fix");
    wait_until("one of the two to say so itself", || {
        [&ada, &bob].iter().any(|node| node.log_lines_with("look for a copied PICLUSTER_ID") > 0)
    });

    let load = lab.load(&lb, 4);
    load.wait_for_nodes(2);
    let (stays, goes) = if lb.node(&ada).is_some_and(|node| node.id == "card") {
        (&bob, &ada)
    } else {
        (&ada, &bob)
    };
    goes.sigterm();
    lb.wait_until_out(goes, PATIENCE);
    load.wait_for_more(200);
    assert!(lb.node(stays).is_some_and(|node| node.is_up()), "{:#?}", lb.nodes());
    load.stop_with_no_failure();
}

#[test]
fn without_proc_and_sys_and_any_name_a_node_still_has_an_id_and_a_name() {
    let Some(lab) = Lab::new("bare") else { return };
    let lb = lab.lb();
    let bare = "for dir in /proc /sys; do mount -t tmpfs none $dir; done
        mount --bind /dev/null /etc/machine-id
        hostname localhost";
    let ada = lab.pi("ada").web().after(bare).start();
    let name = lb.name_of(&ada);
    let node = lb.node(&ada).expect("it is up");
    assert_eq!((node.id.len(), name), (13, format!("localhost-{}", &node.id[..6])));
    let (exit, _) = ada.sigterm();
    assert_eq!(exit.code, 0);
}

// Two balancers.

#[test]
fn a_second_balancer_serves_and_takes_over_the_name_at_the_goodbye() {
    let Some(lab) = Lab::new("two-lbs") else { return };
    let (first, second) = (lab.pi("first"), lab.pi("second"));
    lab.pi("ada").web().start();
    let first = first.lb().start();
    first.wait_for_log("claiming picluster.local");
    first.wait_for_nodes(1);
    let second = second.lb().start();
    second.wait_for_log("another balancer holds picluster.local, standing by");
    second.wait_for_nodes(1);
    for lb in [&first, &second] {
        assert_eq!(lab.get(&lb.url()).expect("an answer").status, 200);
    }
    assert_eq!(second.log_lines_with("claiming picluster.local"), 0);
    assert_eq!(first.sigterm().0.code, 0);
    second.wait_for_log("picluster.local was given up by its holder");
    second.wait_for_log("claiming picluster.local");
    assert_eq!(lab.get(&second.url()).expect("an answer").status, 200);
}

// Advertisements.

/// Advertises this and nothing else, until the lab ends.
fn advertise(lab: &Lab, txt: &[&str]) -> Process {
    let mut advert = Advert::new("gnome", lab.pi("nas").address(), 9000);
    advert.txt = txt.iter().map(ToString::to_string).collect();
    let shout = Program::Shout { packets: vec![advert.packet()], every_ms: 500 };
    let shouting = lab.pi("mallory").attack(&shout);
    shouting.wait_for_log("shouted");
    shouting
}

#[test]
fn a_bad_txt_record_is_reported_and_not_taken_until_it_is_corrected() {
    let Some(lab) = Lab::new("txt") else { return };
    let lb = lab.lb();
    let greeter = lab.pi("nas").greeter(9000, "gnome");
    lb.wait_until_it_answers();
    for (txt, told) in [
        (&["v=2"][..], "its TXT record says v=2, this version speaks v=1"),
        (&["v=1", "cluster=a b"], "the key cluster of its TXT record is malformed"),
        (&[""], "its TXT record has no v=1"),
    ] {
        let bad = advertise(&lab, txt);
        lb.wait_for_log(told);
        assert!(lb.nodes().is_empty(), "{:#?}", lb.nodes());
        bad.kill9();
        // Of many bad advertisements one a second is reported.
        pause(Duration::from_secs(1));
    }
    assert!(lb.log_lines_with("correct its txt record") >= 3, "it must name the fix");
    advertise(&lab, &["v=1"]);
    lb.wait_until_up(&greeter, PATIENCE);
    assert_eq!(lab.get(&lb.url()).expect("an answer").body, "gnome");
}

#[test]
fn a_node_that_answers_as_another_than_advertised_is_not_taken() {
    let Some(lab) = Lab::under_load("another-id") else { return };
    let lb = lab.lb();
    let liar = lab.pi("nas").odd_server(9000, Manner::Node("somebodyelse".to_owned()));
    lab.pi("bob").web().start();
    lb.wait_for_nodes(1);
    let load = lab.load(&lb, 4);
    advertise(&lab, &["v=1", "id=expected"]);
    lb.wait_for_log(&format!("another node (somebodyelse) answers on {}", liar.endpoint()));
    assert!(!is_up(&lb, "expected") && !is_up(&lb, "somebodyelse"), "{:#?}", lb.nodes());
    let report = load.stop_with_no_failure();
    assert_eq!(report.nodes.len(), 1, "{report:?}");
}

// Services that are no good web servers.

fn advertise_at(lab: &Lab, pi: &Pi, services: &[(&str, u16)]) {
    let packet = |&(label, port): &(&str, u16)| Advert::new(label, pi.address(), port).packet();
    let packets = services.iter().map(packet).collect();
    lab.pi("mallory").attack(&Program::Shout { packets, every_ms: 500 }).wait_for_log("shouted");
}

#[test]
fn services_that_speak_no_http_or_nothing_or_only_fail_cost_no_request() {
    let Some(lab) = Lab::under_load("odd") else { return };
    let lb = lab.lb();
    let nas = lab.pi("nas");
    let ssh = nas.odd_server(22, Manner::Banner);
    let mute = nas.odd_server(23, Manner::Mute);
    let broken = nas.odd_server(50, Manner::Status(500));
    lb.wait_until_it_answers();
    advertise_at(&lab, &nas, &[("ssh", 22), ("mute", 23), ("broken", 50)]);
    let whys = [
        (&ssh, format!("{} does not speak HTTP", ssh.endpoint())),
        (&mute, format!("no answer in time from {}", mute.endpoint())),
        (&broken, format!("answered with status 500 on {}", broken.endpoint())),
    ];
    for (odd, why) in &whys {
        lb.wait_for(why, PATIENCE, |nodes| {
            let endpoint = odd.endpoint().to_string();
            let node = nodes.iter().find(|node| node.endpoint == endpoint);
            node.is_some_and(|node| node.why.contains(why) && !node.is_up())
        });
    }
    for (_, why) in &whys {
        lb.wait_for_log(why);
    }
    assert!(lb.log_lines_with("check the program and the port that are advertised") >= 2);
    // A node that at least answers is better than none: the client gets its answer.
    let only = lab.get(&lb.url()).expect("an answer");
    assert_eq!((only.status, only.body.as_str()), (500, "odd\n"), "{only:?}");

    lab.pi("bob").web().start();
    lb.wait_for("bob", PATIENCE, |nodes| nodes.iter().any(Node::is_up));
    let load = lab.load(&lb, 8);
    let report = load.wait_for_answers(500);
    assert_eq!(report.nodes.len(), 1, "{report:?}");
    load.stop_with_no_failure();
}

#[test]
fn a_client_gets_a_503_soon_if_the_only_service_speaks_no_http() {
    let Some(lab) = Lab::new("only-ssh") else { return };
    let lb = lab.lb();
    let nas = lab.pi("nas");
    let ssh = nas.odd_server(22, Manner::Banner);
    lb.wait_until_it_answers();
    advertise_at(&lab, &nas, &[("ssh", 22)]);
    lb.wait_for("its fault", PATIENCE, |nodes| {
        nodes.iter().any(|node| node.why.contains("does not speak HTTP"))
    });
    let answer = lab.get(&lb.url()).expect("an answer");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(lb.node(&ssh).is_none_or(|node| !node.is_up()));
}

// The network.

#[test]
fn a_held_mdns_port_is_reported_and_waited_for() {
    let Some(lab) = Lab::new("5353") else { return };
    let (front, ada) = (lab.pi("front"), lab.pi("ada"));
    let holders = [front.hold_5353(), ada.hold_5353()];
    let (lb, node) = (front.lb().start(), ada.web().start());
    for program in [&*lb, &node] {
        program.wait_for_log_within("udp port 5353 is held by", LOUD_WITHIN);
        assert!(program.log_lines_with("ss -ulpn sport = 5353") > 0, "it must name the fix");
    }
    // Both serve nevertheless.
    let direct = lab.get(&format!("http://{}/", node.endpoint())).expect("an answer");
    assert_eq!(direct.body, "raspberrypi\n");
    assert_eq!(lab.get(&lb.url()).expect("an answer").status, 503);
    for holder in &holders {
        holder.kill9();
    }
    let took = lb.wait_until_up(&node, PATIENCE);
    lab.figure("5353 free to up", format!("{took:?}"), "none");
    assert!(lb.log_lines_with("udp port 5353 is held by") <= 5, "told ever more rarely");
}

#[test]
fn a_stop_while_the_mdns_port_is_held_is_not_held_up() {
    let Some(lab) = Lab::new("5353-stop") else { return };
    let ada = lab.pi("ada");
    ada.hold_5353();
    let node = ada.web().start();
    node.wait_for_log("udp port 5353 is held by");
    let (exit, took) = node.sigterm();
    assert_eq!(exit.code, 0);
    // The goodbye takes 2 s and the drain 5 s at most, which nobody uses here.
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn without_any_interface_both_wait_and_join_when_the_network_comes() {
    let Some(lab) = Lab::new("no-interface") else { return };
    let (front, ada) = (lab.pi("front"), lab.pi("ada"));
    for pi in [&front, &ada] {
        pi.all_interfaces_down();
    }
    let (lb, node) = (front.lb().start(), ada.web().start());
    for program in [&*lb, &node] {
        program.wait_for_log_within("no interface has an address", LOUD_WITHIN);
        assert!(program.log_lines_with("no restart is needed") > 0);
    }
    for pi in [&front, &ada] {
        pi.all_interfaces_up();
    }
    lb.wait_until_up(&node, PATIENCE);
    assert_eq!(lab.get(&lb.url()).expect("an answer").body, "raspberrypi\n");
    for program in [&*lb, &node] {
        assert_eq!(program.log_lines_with("no interface has an address"), 1, "told once");
    }
}

#[test]
fn without_loopback_all_goes_on() {
    let Some(lab) = Lab::new("no-lo") else { return };
    let (front, ada) = (lab.pi("front"), lab.pi("ada"));
    for pi in [&front, &ada] {
        pi.loopback_down();
    }
    let lb = front.lb().start();
    let node = ada.web().start();
    lb.wait_until_up(&node, PATIENCE);
    assert_eq!(lab.get(&lb.url()).expect("an answer").body, "raspberrypi\n");
}

#[test]
fn on_a_lan_without_ipv4_nodes_are_found_and_served_by_ipv6() {
    let Some(lab) = Lab::under_load("ipv6-only") else { return };
    lab.client().with_ipv6_only();
    let lb = lab.pi("front").with_ipv6_only().lb().start();
    let ada = lab.pi("ada").with_ipv6_only().web().start();
    let bob = lab.pi("bob").with_ipv6_only().web().start();
    for node in [&ada, &bob] {
        lb.wait_until_up(node, PATIENCE);
    }
    let load = lab.load(&lb, 4);
    load.wait_for_nodes(2);
    load.stop_with_no_failure();
}

#[test]
fn a_node_with_nothing_but_a_link_local_address_is_served() {
    let Some(lab) = Lab::new("link-local") else { return };
    lab.client().with_ipv6_only();
    let lb = lab.pi("front").with_ipv6_only().lb().start();
    lab.pi("bob").with_link_local_only().web().start();
    let nodes = lb.wait_for_nodes(1);
    assert!(nodes[0].endpoint.starts_with("[fe80::"), "{nodes:#?}");
    assert_eq!(lab.get(&lb.url()).expect("an answer").body, "raspberrypi\n");
}

#[test]
fn a_missing_interface_is_named_with_the_present_ones_and_used_once_there() {
    let Some(lab) = Lab::new("usb0") else { return };
    let (front, ada) = (lab.pi("front"), lab.pi("ada"));
    let lb = front.lb().args(&["--interface", "usb0"]).start();
    let node = ada.web().args(&["--interface", "usb0"]).start();
    for program in [&*lb, &node] {
        program.wait_for_log_within("there is no interface usb0", LOUD_WITHIN);
        assert!(program.log_lines_with("there are eth0, lo: correct --interface") > 0);
    }
    let direct = lab.get(&format!("http://{}/", node.endpoint())).expect("an answer");
    assert_eq!(direct.status, 200);
    for pi in [&front, &ada] {
        pi.rename_eth0("usb0");
    }
    lb.wait_until_up(&node, PATIENCE);
    assert_eq!(lab.get(&lb.url()).expect("an answer").status, 200);
}

#[test]
fn docker0_is_used_where_it_is_named_or_all_there_is() {
    let Some(lab) = Lab::new("docker0") else { return };
    let (named, alone) = (lab.pi("named"), lab.pi("alone"));
    for pi in [&named, &alone] {
        pi.add_docker0();
    }
    alone.unplug();
    alone.lose_address();
    let flags: [&[&str]; 2] = [&["--interface", "docker0"], &[]];
    let lbs = [&named, &alone].into_iter().zip(flags).map(|(pi, flags)| {
        pi.web().args(flags).start();
        pi.lb().args(flags).start()
    });
    for lb in lbs.collect::<Vec<_>>() {
        let ask = ["curl", "-sS", "--retry", "0", "http://127.0.0.1/"];
        wait_until("its own node to answer", || lb.pi().run(&ask) == "raspberrypi\n");
    }
}

// Ports.

#[test]
fn a_port_that_cannot_be_had_exits_69_and_names_the_owner_and_the_fix() {
    let Some(lab) = Lab::new("ports") else { return };
    let pi = lab.pi("front");
    let lb = pi.lb().start();
    lb.wait_until_it_answers();
    let taken = ["port 80 is taken by picluster (pid ", "--listen"];
    let admin = ["port 7070 is taken by picluster (pid ", "--admin"];
    let not_here = ["192.0.2.1 is no address of this machine", "--listen [::]:80"];
    for (args, told) in [
        (&[][..], taken),
        (&["--workers", "1"], taken),
        (&["--listen", ":8000"], admin),
        (&["--listen", "192.0.2.1:80"], not_here),
    ] {
        let second = pi.lb().args(args).start();
        assert_eq!(second.wait_exit(PATIENCE).code, 69, "{args:?}");
        for word in told {
            assert_eq!(second.log_lines_with(word), 1, "{args:?} {word}");
        }
    }
    assert!(lb.is_running());
    assert_eq!(lab.get(&lb.url()).expect("an answer").status, 503);
    if !lab.has("setpriv") {
        return;
    }
    // The lab's root, but without the capability.
    let mut unprivileged = vec!["setpriv", "--bounding-set=-net_bind_service"];
    unprivileged.push("--inh-caps=-net_bind_service");
    let program = env!("CARGO_BIN_EXE_picluster");
    unprivileged.extend([program, "lb", "--listen", ":81", "--admin", ":7071"]);
    let denied = pi.start(&unprivileged);
    assert_eq!(denied.wait_exit(PATIENCE).code, 69);
    let fix = format!("sudo setcap cap_net_bind_service=+ep {program}");
    for word in ["port 81 needs a privilege", fix.as_str(), "--listen [::]:8000"] {
        assert_eq!(denied.log_lines_with(word), 1, "{word}");
    }
}

// Output and signals.

#[test]
fn with_its_output_closed_or_full_each_program_goes_on_and_ends_as_asked() {
    let Some(lab) = Lab::new("no-output") else { return };
    for (n, output) in ["exec >&- 2>&-", "exec >/dev/full 2>/dev/full"].iter().enumerate() {
        let pi = |name| lab.pi(&format!("{name}{n}"));
        let lb = pi("front").lb().after(output).start();
        let node = pi("ada").web().after(output).start();
        let demo = pi("demo").demo().after(output).start();
        lb.wait_until_up(&node, PATIENCE);
        assert_eq!(lab.get(&lb.url()).expect("an answer").body, "raspberrypi\n");
        // The demo runs until its two children and itself have ended.
        assert!(demo.is_running());
        for program in [&*lb, &node, &demo] {
            let (exit, took) = program.sigterm();
            assert_eq!(exit.code, 0, "{output}");
            assert!(took < Duration::from_secs(8), "{output}: {took:?}");
        }
    }
}

#[test]
fn a_signal_at_any_time_ends_and_a_second_one_ends_at_once() {
    let Some(lab) = Lab::new("signals") else { return };
    let pi = lab.pi("front");
    // The signal comes as soon as there is a process.
    for _ in 0..3 {
        for program in [pi.web().start(), pi.lb().start().process()] {
            let (exit, took) = program.sigterm();
            assert!([0, 128 + 15].contains(&exit.code), "{exit:?}");
            assert!(took < Duration::from_secs(6), "{took:?}");
        }
    }
    for signal in ["HUP", "INT"] {
        // Under nohup the tests ignore SIGHUP, and each program would do the same.
        let lb = pi.lb().after("set -- env --default-signal=HUP \"$@\"").start();
        lb.wait_for_log("balancing");
        lb.signal(signal);
        assert_eq!(lb.wait_exit(PATIENCE).code, 0);
        assert_eq!(lb.log_lines_with(&format!("signal=\"SIG{signal}\"")), 1);
    }
    let node = pi.web().start();
    node.wait_for_log("serving");
    node.signal("INT");
    node.wait_for_log("stopping; a second signal ends at once");
    // A person is slower than a terminal that sends the signal twice.
    pause(Duration::from_millis(400));
    node.signal("INT");
    // The promise is "at once". The program waits for nothing between this signal and its exit, so a
    // second is enough for the few instructions on a busy machine too.
    assert_eq!(node.wait_exit(Duration::from_secs(1)).code, 1);
    assert_eq!(node.log_lines_with("second signal, ending at once"), 1);
}

#[test]
fn a_stopped_balancer_fails_no_request_until_closed_and_finishes_the_rest() {
    let Some(lab) = Lab::under_load("lb-sigterm") else { return };
    let lb = lab.lb();
    lab.pi("ada").web().start();
    lb.wait_for_nodes(1);
    let load = lab.load(&lb, 32);
    load.wait_for_answers(500);
    let (exit, took) = lb.sigterm();
    lab.figure("SIGTERM to the balancer's exit under load", format!("{took:?}"), "5 s");
    assert_eq!(exit.code, 0);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let report = load.stop();
    let after: Vec<_> = report.reasons.keys().filter(|reason| *reason != "refused").collect();
    assert!(after.is_empty(), "only an address where nobody listens any more: {report:#?}");
}

#[test]
fn a_long_request_is_finished_within_the_drain() {
    let Some(lab) = Lab::new("lb-drain") else { return };
    let lb = lab.pi("front").lb().args(&["--drain", "10s"]).start();
    let nas = lab.pi("nas");
    let slow = nas.odd_server(9000, Manner::Slow(1_500));
    lb.wait_until_it_answers();
    advertise_at(&lab, &nas, &[("slow", 9000)]);
    lb.wait_until_up(&slow, PATIENCE);
    let url = lb.url();
    std::thread::scope(|scope| {
        let long = scope.spawn(|| lab.get(&url));
        pause(Duration::from_millis(300));
        let (exit, took) = lb.sigterm();
        assert_eq!(exit.code, 0);
        assert!(took < Duration::from_secs(5), "{took:?}");
        let answer = long.join().expect("no panic").expect("an answer");
        assert_eq!((answer.status, answer.body.as_str(), answer.keep), (200, "slow\n", false));
    });
}

// Crowds and limits.

#[test]
fn silent_connections_cost_a_node_neither_its_health_nor_a_request() {
    let Some(lab) = Lab::under_load("crowd") else { return };
    let lb = lab.lb();
    let ada = lab.pi("ada").web().start();
    lb.wait_until_up(&ada, PATIENCE);
    let load = lab.load(&lb, 8);
    // More connections than it holds at once.
    for _ in 0..2 {
        let silence = Program::Silence { server: ada.endpoint(), connections: 700 };
        lab.client().attack(&silence).wait_for_log("all are connected");
    }
    let direct = lab.get(&format!("http://{}/", ada.endpoint())).expect("an answer");
    assert_eq!(direct.status, 200);
    load.wait_for_more(200);
    assert!(lb.node(&ada).is_some_and(|node| node.is_up()), "{:#?}", lb.nodes());
    assert_eq!(lb.log_lines_with("node lost"), 0);
    load.stop_with_no_failure();
}

#[test]
fn a_balancer_with_few_files_says_so_and_serves_as_many_clients_as_it_can() {
    let Some(lab) = Lab::under_load("few-files") else { return };
    let lb = lab.pi("front").lb().after("ulimit -n 64").start();
    let node = lab.pi("ada").web().after("ulimit -n 64").start();
    for (program, told) in [(&*lb, "so only so many clients"), (&node, "so only so many")] {
        program.wait_for_log_within(told, LOUD_WITHIN);
        assert!(program.log_lines_with("LimitNOFILE=") > 0, "it must name the fix");
    }
    lb.wait_until_up(&node, PATIENCE);
    let load = lab.load(&lb, 4);
    let silence = Program::Silence { server: lb.endpoint(), connections: 100 };
    lab.client().attack(&silence).wait_for_log("all are connected");
    let before = lb.cpu();
    load.wait_for_more(200);
    let spent = lb.cpu() - before;
    // CPU time, to which a busy machine adds nothing. 200 answers need a tenth of this.
    assert!(spent < Duration::from_secs(2), "a busy loop: {spent:?}");
    assert_eq!(lb.log_lines_with("can be accepted"), 0, "it never comes to that");
    load.stop_with_no_failure();
}
