//! The times from the start of a process to its first answers: a node's through the balancer, and a
//! balancer's own.

use std::time::{Duration, Instant};

use crate::Effort;
use crate::lab::{self, Lab, Report};
use crate::spread::Spread;
use crate::table::{Table, failed};

/// The clients ask so often that a new node's turn comes within some 15 ms.
const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) fn run(effort: &Effort, lab: &Lab, table: &mut Table) {
    let runs = effort.of(20, 5);
    let lb = lab.pi("front").lb().start();
    lab.pi("first").web().start();
    lb.wait_for_nodes(1);
    let load = lab.client().load(&lb.url()).clients(CLIENTS).pausing(PAUSE).start();
    let mut joins = Vec::new();
    for n in 1..=runs {
        let pi = lab.pi(&format!("pi{n}")).hostname(&format!("join{n}"));
        let node = pi.web().start();
        // A node's name begins with its hostname.
        let name = format!("join{n}-");
        let first_ms = |report: &Report| {
            let answers = report.nodes.iter().find(|(node, _)| node.starts_with(&name));
            answers.map(|(_, answers)| answers.first_ms)
        };
        let report = load.wait_until("an answer of the new node", |r| first_ms(r).is_some());
        let first_ms = first_ms(&report).expect("waited for");
        joins.push(first_ms.saturating_sub(node.started_ms()) as f64 / 1e3);
    }
    let report = load.stop();
    let joins = Spread::of(joins);
    let (p50, p95, max) = (joins.median(), joins.percentile(95), joins.greatest());
    table.row(
        &format!("node: start to first request, {runs} x"),
        "p95 2.0 s",
        format!("p50 {p50:.2}, p95 {p95:.2}, max {max:.2} s"),
        failed(report.failed, report.ok + report.failed),
    );
}

/// The nodes run and were announced before the balancer starts.
pub(crate) fn balancer(effort: &Effort, lab: &Lab, table: &mut Table) {
    let runs = effort.of(20, 5);
    let front = lab.pi("front");
    for name in ["ada", "bob", "eve"] {
        lab.pi(name).web().start();
    }
    let lb = front.lb().start();
    lb.wait_for_nodes(3);
    lb.sigterm();
    let (mut healthy, mut served, mut failures) = (Vec::new(), Vec::new(), 0);
    for _ in 0..runs {
        let began = Instant::now();
        let lb = front.lb().start();
        let is_healthy = || lab.get(&lb.admin("/healthz")).is_ok_and(|answer| answer.status == 200);
        while !is_healthy() {
            assert!(began.elapsed() < lab::PATIENCE, "the balancer does not start");
        }
        healthy.push(began.elapsed().as_secs_f64() * 1e3);
        // The request is held until there is a node.
        let is_served = lab.get(&lb.url()).is_ok_and(|answer| answer.status == 200);
        failures += u64::from(!is_served);
        served.push(began.elapsed().as_secs_f64());
        lb.sigterm();
    }
    for (figure, bar, spread, unit) in [
        ("start to /healthz", "30 ms", Spread::of(healthy), "ms"),
        ("start to a served request", "1.2 s", Spread::of(served), "s"),
    ] {
        let (p50, max) = (spread.median(), spread.greatest());
        table.row(
            &format!("balancer: {figure}, {runs} x"),
            bar,
            format!("p50 {p50:.2}, max {max:.2} {unit}"),
            failed(failures, runs as u64),
        );
    }
}
