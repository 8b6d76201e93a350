//! Twenty Pis flashed from one card, with one hostname and one machine id, switched on together.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::Effort;
use crate::lab::{Balancer, Lab, Pi, Process, RENAMED, Report, now_ms, pause};
use crate::spread::Spread;
use crate::table::{Table, failed};

const CLONES: usize = 20;

/// Twice the life of every mDNS record that names a host (120 s).
const LONG: Duration = Duration::from_secs(260);

/// One start of all of them.
struct Round {
    all_serving_s: f64,
    ids: usize,
    clones: Vec<Process>,
}

pub(crate) fn run(effort: &Effort, lab: &Lab, table: &mut Table) {
    let lb = lab.pi("front").lb().start();
    let pis: Vec<_> = (1..=CLONES).map(|n| lab.pi(&format!("pi{n}"))).collect();
    lb.wait_until_it_answers();
    let mut rounds: Vec<Round> = Vec::new();
    for _ in 0..effort.of(3, 1) {
        if let Some(before) = rounds.last() {
            stop(before);
            lb.wait_for_nodes(0);
        }
        rounds.push(start(lab, &lb, &pis));
    }

    // The early clients get a 503, because there is no node. From here on no client should.
    let load = lab.client().load(&lb.url()).clients(4).start();
    load.wait_until("500 answers", |report| report.ok >= 500);
    let report = load.stop();
    let served = Spread::of(rounds.iter().map(|round| round.all_serving_s));
    let ids = rounds.iter().map(|round| round.ids).min().unwrap_or(0);
    table.row(
        &format!("{CLONES} clones at once: until all serve"),
        "3 s",
        served.show(" s", 2),
        failed(report.failed, report.ok + report.failed),
    );
    table.row("  distinct ids", "20", ids.to_string(), String::new());
    let last = rounds.last().expect("there was one");
    if effort.long {
        later(&lb, last, table);
    }
}

fn start(lab: &Lab, lb: &Balancer, pis: &[Pi]) -> Round {
    let early = lab.client().load(&lb.url()).clients(8).start();
    let began_ms = now_ms();
    let clones: Vec<_> = pis.iter().map(|pi| pi.web().start()).collect();
    let nodes = lb.wait_for_nodes(CLONES);
    let names: BTreeSet<_> = nodes.iter().map(|node| &node.name).collect();
    let all = |report: &Report| names.iter().all(|name| report.nodes.contains_key(*name));
    let report = early.wait_until("answers of all", all);
    early.stop();
    let last_ms = report.nodes.values().map(|answers| answers.first_ms).max().unwrap_or(0);
    let ids: BTreeSet<_> = nodes.iter().map(|node| &node.id).collect();
    let all_serving_s = last_ms.saturating_sub(began_ms) as f64 / 1e3;
    Round { all_serving_s, ids: ids.len(), clones }
}

/// All figures in one line, in their order.
fn stop(round: &Round) {
    std::thread::scope(|scope| {
        for clone in &round.clones {
            scope.spawn(|| clone.sigterm());
        }
    });
}

fn later(lb: &Balancer, round: &Round, table: &mut Table) {
    let end = Instant::now() + LONG;
    let mut fewest = CLONES;
    while Instant::now() < end {
        fewest = fewest.min(up(lb));
        pause(Duration::from_secs(1));
    }
    let renames: usize = round.clones.iter().map(|c| c.log_lines_with(RENAMED)).sum();
    let seen = format!("{} (at the least {fewest})", up(lb));
    table.row("  distinct and up at 260 s", "20", seen, String::new());
    table.row("  name changes", "0", renames.to_string(), String::new());
}

fn up(lb: &Balancer) -> usize {
    let nodes = lb.nodes();
    let up = nodes.iter().filter(|node| node.is_up());
    up.map(|node| &node.id).collect::<BTreeSet<_>>().len()
}
