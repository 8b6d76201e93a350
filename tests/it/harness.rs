//! The lab itself: the properties that the scenarios rely on.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::lab::{
    Advert, Answer, DEATH_PATH, Lab, Mood, PATIENCE, Program, Recorder, command, goodbye,
    wait_until,
};

#[test]
fn pis_reach_each_other_and_have_their_own_hostnames_and_interfaces() {
    let Some(lab) = Lab::new("reach") else { return };
    let ada = lab.pi("ada");
    let greeter = ada.greeter(8080, "hello");
    let answer = lab.get(&format!("http://{}/", greeter.endpoint())).expect("a LAN");
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    assert_eq!(ada.run(&["hostname"]), "raspberrypi\n");
    assert_eq!(lab.pi("bob").hostname("bob").run(&["hostname"]), "bob\n");
    assert_eq!(ada.run(&["ls", "/sys/class/net"]), "eth0\nlo\n");
    assert_eq!(
        ada.run(&["cat", "/etc/machine-id"]),
        lab.pi("bob").run(&["cat", "/etc/machine-id"])
    );
}

#[test]
fn a_pulled_cable_a_partition_and_a_new_address_do_what_they_say() {
    let Some(lab) = Lab::new("cables") else { return };
    let ada = lab.pi("ada");
    let greeter = ada.greeter(8080, "hello");
    let old = format!("http://{}/", greeter.endpoint());
    ada.unplug();
    assert!(ada.run(&["cat", "/sys/class/net/eth0/carrier"]).starts_with('0'));
    assert!(lab.get(&old).is_err());
    ada.plug();
    ada.partition();
    assert!(ada.run(&["cat", "/sys/class/net/eth0/carrier"]).starts_with('1'));
    assert!(lab.get(&old).is_err());
    ada.heal();
    assert!(lab.get(&old).is_ok());
    ada.move_to_new_address();
    assert!(lab.get(&format!("http://{}/", greeter.endpoint())).is_ok());
    ada.add_docker0();
    ada.add_wlan0();
    let addresses = ada.run(&["ip", "-4", "-br", "addr"]);
    assert!(!addresses.contains("10.77.0.1/24"), "{addresses}");
    for present in ["10.77.0.101/24", "172.17.0.1/16", "10.77.0.51/24"] {
        assert!(addresses.contains(present), "{addresses}");
    }
}

#[test]
fn multicast_crosses_the_bridge_until_it_is_killed() {
    let Some(lab) = Lab::new("multicast") else { return };
    let ears = lab.pi("ada").attack(&Program::Ears);
    ears.wait_for_log("ears listen");
    let shout = Advert::new("x", [10, 77, 0, 9].into(), 8080).packet();
    let shouting = Program::Shout { packets: vec![shout], every_ms: 20 };
    let shouting = lab.pi("bob").attack(&shouting);
    ears.wait_for_log("heard 10.77.0.2:5353");
    if !lab.has("nft") {
        return;
    }
    lab.kill_multicast();
    let heard = ears.log_lines_with("heard");
    let shouted = shouting.log_lines_with("shouted");
    wait_until("ten more shouts", || shouting.log_lines_with("shouted") >= shouted + 10);
    assert!(ears.log_lines_with("heard") <= heard + 1, "one packet may have been on its way");
    lab.lose_mdns(0);
    wait_until("multicast to come back", || ears.log_lines_with("heard") >= heard + 5);
}

#[test]
fn the_load_counts_answers_and_what_a_killed_server_costs() {
    let Some(lab) = Lab::under_load("load") else { return };
    let greeter = lab.pi("ada").greeter(8080, "ada");
    let url = format!("http://{}/", greeter.endpoint());
    let gets = lab.client().load(&url).clients(4).start();
    let posts = lab.client().load(&url).clients(2).sending("POST", 3000).start();
    posts.wait_for_answers(20);
    greeter.freeze();
    greeter.thaw();
    gets.wait_for_new_answer_of("ada");
    posts.stop_with_no_failure();
    greeter.kill9();
    gets.wait_until("failures", |report| report.failed >= 8);
    let greeter = greeter.restart();
    gets.wait_for_new_answer_of("ada");
    let report = gets.stop();
    assert!(report.reasons.contains_key("refused"), "{report:?}");
    assert!(report.worst_ms < 5_000, "{report:?}");
    assert!(greeter.is_running() && greeter.resident_kib() > 100);
    let (exit, _) = greeter.sigterm();
    assert_eq!(exit.code, 128 + 15);
}

#[test]
fn a_recorder_sees_each_request_that_reaches_its_pi() {
    let Some(lab) = Lab::under_load("recorder") else { return };
    let ada = lab.pi("ada");
    let greeter = ada.greeter(8080, "ada");
    let recorder = Recorder::start(&ada);
    let url = format!("http://{}/", greeter.endpoint());
    let gets = lab.client().load(&url).clients(4).connecting_anew().start();
    let puts = lab.client().load(&url).clients(2).sending("PUT", 32 << 10).start();
    puts.wait_for_answers(20);
    let (gets, puts) = (gets.stop_with_no_failure(), puts.stop_with_no_failure());
    let arrivals = recorder.stop();
    for (method, answered) in [("GET", gets.ok), ("PUT", puts.ok)] {
        let ids = arrivals.iter().filter(|arrival| arrival.method == method);
        let ids: Vec<_> = ids.map(|arrival| &arrival.id).collect();
        let distinct: BTreeSet<_> = ids.iter().collect();
        assert_eq!((ids.len(), distinct.len() as u64), (distinct.len(), answered), "{method}");
    }
}

#[test]
fn a_fickle_node_behaves_as_its_orders_say() {
    let Some(lab) = Lab::new("fickle") else { return };
    let mut ada = lab.pi("ada").fickle();
    let url = format!("http://{}/", ada.process.endpoint());
    let health = format!("{url}.picluster/health");
    let tunnels = lab.client().tunnels(ada.process.endpoint(), 2);
    let mut told = |mood, health_too: bool| {
        if health_too {
            ada.turns_wholly(mood);
        } else {
            ada.turns(mood);
        }
        let status = |answer: Result<Answer, String>| answer.map(|answer| answer.status);
        (status(lab.get(&url)), status(lab.get(&health)))
    };
    let fails = |why: &str| Err(why.to_owned());
    assert_eq!(told(Mood::Slow(10), false), (Ok(200), Ok(200)));
    assert_eq!(told(Mood::Status(500), false), (Ok(500), Ok(200)));
    assert_eq!(told(Mood::Status(503), true), (Ok(503), Ok(503)));
    assert_eq!(told(Mood::Resets, true), (fails("reset"), fails("reset")));
    assert_eq!(told(Mood::ResetsInBody, false), (fails("reset"), Ok(200)));
    assert_eq!(told(Mood::HalfHead, false), (fails("closed early"), Ok(200)));
    assert_eq!(told(Mood::Well, false), (Ok(200), Ok(200)));
    assert_eq!(told(Mood::Mute, false), (fails("no answer in time"), Ok(200)));
    let tunnels = tunnels.stop();
    assert!(tunnels.iter().all(|tunnel| tunnel.broke_ms.is_none() && tunnel.echoes > 0));
    assert!(lab.get(&format!("http://{}{DEATH_PATH}", ada.process.endpoint())).is_err());
    assert_ne!(ada.process.wait_exit(PATIENCE).code, 0);
}

#[test]
fn dials_are_counted() {
    let Some(lab) = Lab::new("dials") else { return };
    if !lab.has("nft") {
        return;
    }
    let greeter = lab.pi("ada").greeter(8080, "ada");
    let to_ada = lab.client().count_dials("10.77.0.1/32");
    let to_others = lab.client().count_dials("172.16.0.0/12");
    assert!(lab.get(&format!("http://{}/", greeter.endpoint())).is_ok());
    assert_eq!((to_ada.count(), to_others.count()), (1, 0));
}

#[test]
fn avahi_hears_another_avahi_our_forged_packets_and_their_goodbye() {
    let Some(lab) = Lab::new("avahi-itself") else { return };
    if !lab.has_all(&["avahi-daemon", "dbus-daemon", "avahi-browse", "avahi-publish"]) {
        return;
    }
    let (ada, bob) = (lab.pi("ada").hostname("ada"), lab.pi("bob").hostname("bob"));
    ada.avahi();
    bob.avahi();
    ada.avahi_publish("printer", "_picluster._tcp", 9000, &["v=1"]);
    let advert = Advert::new("forged", [10, 77, 0, 9].into(), 8080);
    let forged = Program::Shout { packets: vec![advert.packet()], every_ms: 100 };
    let forger = lab.pi("mallory").attack(&forged);
    forger.wait_for_log("shouted");
    wait_until("both", || bob.avahi_browse("_picluster._tcp") == ["forged", "printer"]);
    forger.kill9();
    // Each goodbye leaves the record one more second, so they must come further apart.
    let goodbye = Program::Shout { packets: vec![goodbye("forged")], every_ms: 3_000 };
    lab.pi("mallory").attack(&goodbye);
    wait_until("one of them", || bob.avahi_browse("_picluster._tcp") == ["printer"]);
}

#[test]
fn a_killed_test_process_leaves_nothing_behind() {
    let mut victim = command(&Program::Victim)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this binary runs");
    let output = BufReader::new(victim.stdout.take().expect("piped"));
    let mut lines = output.lines().map_while(Result::ok);
    let holder = lines.find_map(|line| line.strip_prefix("@lab ").map(str::to_owned));
    victim.kill().expect("it is ours");
    victim.wait().expect("it is ours");
    let Some(holder) = holder else { return };
    let programs = format!("/proc/{holder}/ns/pid_for_children");
    let namespace = std::fs::read_link(&programs).ok();
    let holder = Path::new("/proc").join(holder);
    wait_until("the lab to end after its test", || {
        !holder.exists() && !somebody_is_in(namespace.as_deref())
    });
}

/// Returns whether a process of this PID namespace is left.
fn somebody_is_in(namespace: Option<&Path>) -> bool {
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    let mut namespaces = processes.map(|p| std::fs::read_link(p.path().join("ns/pid")).ok());
    namespace.is_some() && namespaces.any(|n| n.as_deref() == namespace)
}
