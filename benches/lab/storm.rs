//! Fifty nodes come within one second, and go within one second, while clients go on asking these
//! and three others.
//!
//! The clients ask at a fixed rate, half of the highest they reach, and a wait counts from the time
//! at which the request was due. A quiet window with the same number of nodes precedes each storm,
//! so that a storm is compared with its neighbour.

use std::time::Duration;

use crate::Effort;
use crate::asks::{Asks, Size};
use crate::client::{self, Clients, Does};
use crate::crowd;
use crate::lab::{Balancer, Lab, Pi, Process, pause, wait_until};
use crate::load::Load;
use crate::losses::Cluster;
use crate::spread::Spread;
use crate::table::{Table, failed};

const CLIENTS: usize = 64;

const WINDOW_SECONDS: u64 = 5;

/// The start of the storm within its window: by then all clients ask.
const BEFORE: Duration = Duration::from_millis(500);

/// The pause between two windows: by then the connections of the one before are closed.
const CLOSE: Duration = Duration::from_millis(300);

/// The nodes that are there all the time.
const STEADY: usize = 3;

struct Scene {
    lb: Balancer,
    phone: Pi,
    rate: f64,
}

/// The windows of one kind, one a round, and the length of each storm.
#[derive(Default)]
struct Windows {
    loads: Vec<Load>,
    took_s: Vec<f64>,
}

pub(crate) fn run(effort: &Effort, lab: &Lab, table: &mut Table) {
    let lb = Cluster::start(lab).lb;
    let mut scene = Scene { lb, phone: lab.client(), rate: 0.0 };
    let shelf = lab.pi("shelf");
    crowd::make_room(&shelf);
    scene.ask(Does::AskOn(1));
    scene.rate = scene.ask(Does::AskOn(effort.of(4, 1))).per_second / 2.0;

    let mut kinds: [Windows; 4] = Default::default();
    for round in 1..=effort.of(7, 1) {
        let [quiet, join, many, leave] = &mut kinds;
        quiet.add(&scene, || {});
        let mut crowd = None;
        join.add_storm(&scene, "node joined", || crowd = Some(crowd::start(&shelf, round)));
        let crowd: Process = crowd.expect("it was started");
        scene.lb.wait_for_nodes(STEADY + usize::from(crowd::NODES));
        many.add(&scene, || {});
        leave.add_storm(&scene, "node left", || crowd.signal("TERM"));
        crowd.wait_for_log("all are gone");
        scene.lb.wait_for_nodes(STEADY);
    }

    let [quiet, join, many, leave] = &kinds;
    let nodes = crowd::NODES;
    let rate = format!("{:.0} requests/s, a half", scene.rate);
    table.row("storm: asked, and reached", "", rate, String::new());
    quiet.tell("quiet, 3 nodes", None, table);
    join.tell(&format!("{nodes} nodes join"), Some(quiet), table);
    many.tell("quiet, 53 nodes", None, table);
    leave.tell(&format!("{nodes} nodes leave"), Some(many), table);
}

impl Scene {
    fn start(&self, does: Does) -> Process {
        let (server, asks) = (self.lb.endpoint().to_string(), Asks::Get(Size::Bytes13));
        Clients { server, asks, clients: CLIENTS, does }.start(&self.phone)
    }

    fn ask(&self, does: Does) -> Load {
        client::met(&self.start(does))
    }
}

impl Windows {
    fn add(&mut self, scene: &Scene, during: impl FnOnce()) {
        let clients = scene.start(Does::AskAtRate(WINDOW_SECONDS, scene.rate));
        pause(BEFORE);
        during();
        self.loads.push(client::met(&clients));
        pause(CLOSE);
    }

    /// The log line by which the storm ends for the balancer, once for each node that comes or
    /// goes.
    fn add_storm(&mut self, scene: &Scene, event: &str, begin: impl FnOnce()) {
        let before = scene.lb.log_lines_with(event);
        let mut took_s = 0.0;
        self.add(scene, || {
            let began = std::time::Instant::now();
            begin();
            wait_until(event, || {
                scene.lb.log_lines_with(event) - before == usize::from(crowd::NODES)
            });
            took_s = began.elapsed().as_secs_f64();
        });
        self.took_s.push(took_s);
    }

    /// Each storm has a quiet neighbour in the same round.
    fn tell(&self, what: &str, quiet: Option<&Self>, table: &mut Table) {
        let answers: u64 = self.loads.iter().map(|load| load.answers).sum();
        let errors: u64 = self.loads.iter().flat_map(|load| load.errors.values()).sum();
        let p99 = Spread::of(self.loads.iter().map(|load| load.p99_ms));
        let worst = Spread::of(self.loads.iter().map(|load| load.worst_ms));
        table.row(
            &format!("{what}: p99"),
            "",
            p99.show(" ms", 2),
            failed(errors, answers + errors),
        );
        if let Some(quiet) = quiet {
            let pairs = self.loads.iter().zip(&quiet.loads);
            let moved = Spread::of(pairs.map(|(storm, quiet)| storm.p99_ms - quiet.p99_ms));
            table.row("  p99 moved by", "5 ms", moved.show(" ms", 2), String::new());
        }
        table.row("  worst wait", "", worst.show(" ms", 1), String::new());
        if quiet.is_some() {
            let took = Spread::of(self.took_s.iter().copied());
            table.row("  until the balancer knows all", "", took.show(" s", 2), String::new());
        }
        for (reason, count) in self.loads.iter().flat_map(|load| &load.errors) {
            table.note(&format!("{what}: {count} x {reason}"));
        }
    }
}
