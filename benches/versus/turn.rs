//! One turn of one balancer: what it did in it, and what that cost.

use std::time::Duration;

use serde::Serialize;

use crate::client::{self, Clients, Does};
use crate::cpu::{Cpu, Used};
use crate::ground::{Ground, Rival};
use crate::lab::{Lab, pause};
use crate::load::Load;
use crate::options::Options;
use crate::product::Product;
use crate::workload::{Asks, Workload};
use crate::wrk;

/// Long enough to open the connections to the nodes and to fill the caches.
const WARM_UP_SECONDS: u64 = 1;

/// The fixed rate, as a share of what was reached.
const SHARE: f64 = 0.5;

/// The share of what it reaches that a balancer can keep without a queue.
const KEEPABLE: f64 = 0.7;

/// The clients' connections are closed by then, on both sides. That belongs to the cost, and thousands
/// of old ones would count beside thousands of new ones in the limits of the balancers.
const CLOSE: Duration = Duration::from_millis(300);

#[derive(Serialize)]
pub(crate) struct Turn {
    pub(crate) workload: &'static str,
    #[serde(serialize_with = "name")]
    pub(crate) product: Product,
    pub(crate) round: usize,
    /// Processor time of a request at saturation.
    pub(crate) user_us: f64,
    pub(crate) sys_us: f64,
    /// In the middle of it.
    pub(crate) resident_mib: f64,
    /// Connections to the nodes that were made in it: a balancer that does not keep them pays for
    /// that, and the comparison would be one of settings.
    pub(crate) connects: Option<u64>,
    pub(crate) saturated: Load,
    /// The control has none.
    pub(crate) paced: Option<Paced>,
}

/// At a fixed rate.
#[derive(Serialize)]
pub(crate) struct Paced {
    pub(crate) asked_per_second: f64,
    /// Processor time of a request.
    pub(crate) cpu_us: f64,
    pub(crate) met: Load,
}

fn name<S: serde::Serializer>(product: &Product, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(product.name())
}

/// All turns of a workload. The balancers take turns, and the order changes from round to round, so
/// that whatever else the machine does meets all of them.
pub(crate) fn take_all(
    lab: &Lab,
    ground: &Ground,
    workload: &Workload,
    options: &Options,
) -> Vec<Turn> {
    let asked = |rival: &&Rival| workload.with_caddy || rival.product != Product::Caddy;
    let rivals: Vec<_> = ground.rivals.iter().filter(asked).collect();
    let reached = |rival: &&Rival| {
        saturate(ground, rival, workload, WARM_UP_SECONDS * workload.length()).0.per_second
    };
    let reached: Vec<_> = rivals.iter().map(reached).collect();
    let rates = rates(&rivals, &reached);

    let seconds = options.seconds * workload.length();
    let mut turns = Vec::new();
    for round in 0..options.rounds {
        let mut order: Vec<_> = (0..rivals.len()).collect();
        order.rotate_left(round % rivals.len());
        if round % 2 == 1 {
            order.reverse();
        }
        for which in order {
            let (rival, rate) = (rivals[which], rates[which]);
            turns.push(take(lab, ground, rival, workload, seconds, rate, round));
        }
    }
    turns
}

/// The fixed rates: half of what HAProxy reaches, the same for all; for who could hardly keep that,
/// half of its own.
fn rates(rivals: &[&Rival], reached: &[f64]) -> Vec<f64> {
    let theirs = rivals.iter().zip(reached).find(|(rival, _)| rival.product == Product::HaProxy);
    let theirs = theirs.map_or(f64::INFINITY, |(_, reached)| *reached);
    let rate =
        |own: &f64| if own * KEEPABLE < theirs * SHARE { own * SHARE } else { theirs * SHARE };
    reached.iter().map(rate).collect()
}

fn take(
    lab: &Lab,
    ground: &Ground,
    rival: &Rival,
    workload: &Workload,
    seconds: u64,
    rate: f64,
    round: usize,
) -> Turn {
    let accepted = ground.accepted(lab);
    let (saturated, used, resident_mib) = saturate(ground, rival, workload, seconds);
    let connects = ground.accepted(lab).zip(accepted).map(|(now, before)| now - before);
    let each = 1e6 / saturated.answers as f64;
    let paced = (rival.product != Product::Control).then(|| {
        let does = Does::AskAtRate(seconds, rate);
        let argv = clients(rival, workload, does).argv();
        let (met, used, _) = run(ground, rival, &argv, seconds, client::read);
        Paced { asked_per_second: rate, cpu_us: used.total() * 1e6 / met.answers as f64, met }
    });
    Turn {
        workload: workload.name,
        product: rival.product,
        round,
        user_us: used.user * each,
        sys_us: used.sys * each,
        resident_mib,
        connects,
        saturated,
        paced,
    }
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

/// Runs clients; gives what they met, what it cost, and the memory that was resident meanwhile.
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
