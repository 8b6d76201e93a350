//! One node of four is slow: the waits of clients under each policy.

use std::time::Duration;

use crate::Effort;
use crate::lab::{Balancer, Lab, Mood, Report};
use crate::table::{Table, failed};

/// The slow node's time for an answer; the others take less than one millisecond.
const SLOW_MS: u64 = 50;

const CLIENTS: usize = 16;

pub(crate) fn run(effort: &Effort, lab: &Lab, table: &mut Table) {
    let fronts = ["round-robin", "least-requests", "p2c"].map(|policy| {
        let lb: Balancer = lab.pi(policy).lb().args(&["--balance", policy]).start();
        (policy, lb)
    });
    for name in ["ada", "bob", "cyd"] {
        lab.pi(name).web().start();
    }
    let mut slow = lab.pi("slow").fickle();
    for (_, lb) in &fronts {
        lb.wait_for_nodes(4);
    }
    let mut ask = |what: &str, policy: &str, lb: &Balancer| {
        let load = lab.client().load(&lb.url()).clients(CLIENTS).start();
        load.wait_until("answers of all four", |report| report.nodes.len() == 4);
        load.keep_on(Duration::from_secs(effort.of(15, 3)));
        let report = load.stop();
        let all = report.ok + report.failed;
        let part = report.nodes["slow"].count as f64 / report.ok as f64;
        let [median, p99] = [50, 99].map(|percent| wait_ms(&report, percent));
        let seen = format!("p99 {p99} ms, p50 {median} ms, {:.1} % there", part * 100.0);
        table.row(&format!("{what}, {policy}"), "", seen, failed(report.failed, all));
    };
    for (policy, lb) in &fronts {
        ask("four alike", policy, lb);
    }
    slow.turns(Mood::Slow(SLOW_MS));
    for (policy, lb) in &fronts {
        ask("one of four slow", policy, lb);
    }
}

/// The wait that this percentage of the answers does not exceed.
fn wait_ms(report: &Report, percent: u64) -> u64 {
    let mut left = (report.ok * percent).div_ceil(100);
    let reached = report.waits_ms.iter().find(|(_, count)| {
        left = left.saturating_sub(**count);
        left == 0
    });
    *reached.expect("there are answers").0
}
