//! From the start of a node's process to its first answer through the balancer.

use std::time::Duration;

use crate::Effort;
use crate::lab::{Lab, Report};
use crate::spread::Spread;
use crate::table::{Table, failed};

/// The clients ask often enough that a new node's turn comes within some 15 ms.
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
