//! One turn of one balancer: its throughput and its cost.

use std::time::Duration;

use serde::Serialize;

use crate::asks::Asks;
use crate::client::{self, Clients, Does};
use crate::cpu::{Cpu, Used};
use crate::ground::{Ground, Rival};
use crate::lab::{Lab, pause};
use crate::load::Load;
use crate::options::Options;
use crate::product::Product;
use crate::spread::Spread;
use crate::workload::Workload;
use crate::wrk;

/// Long enough to open the connections to the nodes and to fill the caches.
const WARM_UP_SECONDS: u64 = 1;

/// The fixed rate, as a share of the reached one.
const SHARE: f64 = 0.5;

/// The clients' connections are closed on both sides after this. That belongs to the cost. Also, in
/// the limits of the balancers thousands of old connections would count beside thousands of new
/// ones.
const CLOSE: Duration = Duration::from_millis(300);

#[derive(Serialize)]
pub(crate) struct Turn {
    pub(crate) workload: &'static str,
    #[serde(serialize_with = "name")]
    pub(crate) product: Product,
    pub(crate) round: usize,
    /// The processor time of a request at saturation.
    pub(crate) user_us: f64,
    pub(crate) sys_us: f64,
    /// The resident memory in the middle of the turn.
    pub(crate) resident_mib: f64,
    /// The connections to the nodes that were made in the turn. A balancer that does not keep them
    /// pays for that, and the comparison would be one of settings.
    pub(crate) connects: Option<u64>,
    pub(crate) saturated: Load,
    /// `None` for the control.
    pub(crate) paced: Option<Paced>,
}

/// The result at a fixed rate.
#[derive(Serialize)]
pub(crate) struct Paced {
    pub(crate) asked_per_second: f64,
    /// The processor time of a request.
    pub(crate) cpu_us: f64,
    pub(crate) met: Load,
}

fn name<S: serde::Serializer>(product: &Product, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(product.name())
}

/// All turns of a workload. The balancers take turns, and the order changes from round to round, so
/// that other work of the machine affects all of them.
pub(crate) fn take_all(
    lab: &Lab,
    ground: &Ground,
    workload: &Workload,
    options: &Options,
) -> Vec<Turn> {
    let asked = |rival: &&Rival| workload.with_caddy || rival.product != Product::Caddy;
    let rivals: Vec<_> = ground.rivals.iter().filter(asked).collect();
    for rival in &rivals {
        saturate(ground, rival, workload, WARM_UP_SECONDS);
    }
    let seconds = options.seconds * workload.length();
    let mut turns = Vec::new();
    for round in 0..options.rounds {
        for which in order(round, rivals.len()) {
            turns.push(take(lab, ground, rivals[which], workload, seconds, round));
        }
    }
    let rates: Vec<_> = rivals.iter().map(|rival| rate(rival.product, &turns)).collect();
    for round in 0..options.rounds {
        for which in order(round, rivals.len()) {
            let (rival, rate) = (rivals[which], rates[which]);
            if rival.product != Product::Control {
                let of_round =
                    |turn: &&mut Turn| (turn.product, turn.round) == (rival.product, round);
                let turn = turns.iter_mut().find(of_round).expect("it had one of each round");
                turn.paced = Some(pace(ground, rival, workload, seconds, rate));
            }
        }
    }
    turns
}

/// The order of the balancers in a round.
fn order(round: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..count).collect();
    order.rotate_left(round % count);
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// The fixed rate: half of the slowest balancer's throughput, so that it is the same for all. Caddy
/// would lower it to that of an idle machine, so Caddy gets half of its own throughput.
fn rate(product: Product, turns: &[Turn]) -> f64 {
    let reached = |product| {
        let of_product = turns.iter().filter(|turn| turn.product == product);
        Spread::of(of_product.map(|turn| turn.saturated.per_second)).median() * SHARE
    };
    let others = turns.iter().map(|turn| turn.product);
    let others = others.filter(|other| !matches!(other, Product::Caddy | Product::Control));
    let least = others.map(reached).fold(f64::INFINITY, f64::min);
    if product == Product::Caddy { reached(product).min(least) } else { least }
}

fn take(
    lab: &Lab,
    ground: &Ground,
    rival: &Rival,
    workload: &Workload,
    seconds: u64,
    round: usize,
) -> Turn {
    let accepted = ground.accepted(lab);
    let (saturated, used, resident_mib) = saturate(ground, rival, workload, seconds);
    let connects = ground.accepted(lab).zip(accepted).map(|(now, before)| now - before);
    let each = 1e6 / saturated.answers as f64;
    Turn {
        workload: workload.name,
        product: rival.product,
        round,
        user_us: used.user * each,
        sys_us: used.sys * each,
        resident_mib,
        connects,
        saturated,
        paced: None,
    }
}

fn pace(ground: &Ground, rival: &Rival, workload: &Workload, seconds: u64, rate: f64) -> Paced {
    let argv = clients(rival, workload, Does::AskAtRate(seconds, rate)).argv();
    let (met, used, _) = run(ground, rival, &argv, seconds, client::read);
    Paced { asked_per_second: rate, cpu_us: used.total() * 1e6 / met.answers as f64, met }
}

fn clients(rival: &Rival, workload: &Workload, does: Does) -> Clients {
    let (server, asks, clients) = (rival.server.clone(), workload.asks, workload.clients);
    Clients { server, asks, clients, does }
}

fn saturate(
    ground: &Ground,
    rival: &Rival,
    workload: &Workload,
    seconds: u64,
) -> (Load, Used, f64) {
    if workload.asks == Asks::Echo {
        let argv = clients(rival, workload, Does::AskOn(seconds)).argv();
        return run(ground, rival, &argv, seconds, client::read);
    }
    let argv = wrk::argv(&rival.server, workload.asks, workload.clients, seconds);
    run(ground, rival, &argv, seconds, wrk::read)
}

/// Runs clients. Returns their outcomes, the cost, and the resident memory meanwhile.
fn run(
    ground: &Ground,
    rival: &Rival,
    argv: &[String],
    seconds: u64,
    read: fn(&str) -> Option<Load>,
) -> (Load, Used, f64) {
    let before = Cpu::of_all(&rival.processes);
    let argv: Vec<_> = argv.iter().map(String::as_str).collect();
    let clients = ground.pi.start(&argv);
    pause(Duration::from_secs(seconds) / 2);
    let resident_mib = rival.resident_mib();
    let text = clients.output();
    pause(CLOSE);
    let used = Cpu::of_all(&rival.processes).since(before);
    let load = read(&text).unwrap_or_else(|| panic!("{} wrote\n{text}", argv[0]));
    assert!(load.answers > 0, "{} gave no answer in {seconds} s", rival.product.name());
    (load, used, resident_mib)
}
