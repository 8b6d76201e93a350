//! picluster beside Avahi, the responder that most Pis already run.

use crate::lab::{Lab, PATIENCE, Process, say, wait_until};

fn avahi_lab(name: &str) -> Option<Lab> {
    let lab = Lab::under_load(name)?;
    lab.has_all(&["avahi-daemon", "dbus-daemon", "avahi-browse", "avahi-publish"]).then_some(lab)
}

#[test]
fn avahi_browse_lists_exactly_our_nodes_whoever_started_first() {
    let Some(lab) = avahi_lab("avahi") else { return };
    let (ada, bob, nas) =
        (lab.pi("ada"), lab.pi("bob").hostname("bob"), lab.pi("nas").hostname("nas"));
    let lb = lab.pi("front").hostname("front").lb().start();
    // Avahi started first on ada and second on bob. On the NAS there is nothing else.
    ada.avahi();
    ada.web().start();
    bob.web().start();
    lb.wait_for_nodes(2);
    bob.avahi();
    nas.avahi();
    let mut ours: Vec<_> = lb.nodes().iter().map(|node| format!("pc-{}", node.id)).collect();
    ours.sort();
    for pi in [&ada, &bob, &nas] {
        wait_until(&format!("{} to see {ours:?}", pi.name()), || {
            let seen = pi.avahi_browse("_picluster._tcp");
            assert!(seen.iter().all(|label| ours.contains(label)), "{seen:?}, ours are {ours:?}");
            seen == ours
        });
    }
}

#[test]
fn a_node_outlives_a_restart_of_the_avahi_beside_it() {
    let Some(lab) = avahi_lab("avahi-restart") else { return };
    let ada = lab.pi("ada");
    let lb = lab.lb();
    let avahi = ada.avahi();
    ada.web().start();
    lb.wait_for_nodes(1);
    let load = lab.client().load(&lb.url()).start();
    let (exit, _) = avahi.sigterm();
    assert_eq!(exit.code, 0);
    avahi.restart().wait_for_log("Server startup complete");
    // A node that comes after the restart is found, so the balancer has heard all that was said
    // before.
    lab.pi("bob").web().start();
    lb.wait_for_nodes(2);
    wait_until("Avahi to see both", || ada.avahi_browse("_picluster._tcp").len() == 2);
    load.stop_with_no_failure();
}

#[test]
fn a_service_published_by_avahi_is_found_and_served() {
    let Some(lab) = avahi_lab("foreign") else { return };
    let lb = lab.lb();
    let nas = lab.pi("nas").hostname("nas");
    let greeter = nas.greeter(9000, "from the attic");
    nas.avahi();
    let published: Process = nas.avahi_publish("Attic NAS", "_picluster._tcp", 9000, &["v=1"]);
    lb.wait_until_up(&greeter, PATIENCE);
    let answer = lab.get(&lb.url()).expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, "from the attic"));
    let node = lb.node(&greeter).expect("it is up");
    say(&format!("lab foreign: it is called {}", node.name));
    assert_eq!(answer.node(), Some(node.name.as_str()), "ours replaces what the device says");

    // It says goodbye and still answers: the goodbye was forged or lost, so the node is kept.
    published.sigterm();
    let load = lab.client().load(&lb.url()).start();
    load.wait_for_answers(500);
    load.stop_with_no_failure();
}
