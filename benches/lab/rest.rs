//! The memory of the programs while nobody asks for anything, and after many requests.

use std::time::Duration;

use crate::Effort;
use crate::cpu::Cpu;
use crate::lab::{Lab, Pi, Process, pause};
use crate::table::{Table, failed};

const NODES: usize = 20;

/// Long enough: the joins are over, and their memory has been given back or never will be.
const SETTLE: Duration = Duration::from_secs(3);

/// Requests between two checks of a long load's progress; within the patience of the lab.
const STEP: u64 = 10_000;

pub(crate) fn run(effort: &Effort, lab: &Lab, table: &mut Table) {
    let lb = lab.pi("front").lb().start();
    let pis: Vec<_> = (1..=NODES).map(|n| lab.pi(&format!("pi{n}"))).collect();
    let nodes: Vec<_> = pis.iter().map(|pi| pi.web().start()).collect();
    lb.wait_for_nodes(NODES);
    pause(SETTLE);
    let [web, other] = [&nodes[0], &nodes[1]];
    memory("web: resident, idle", web, String::new(), table);
    memory(&format!("lb, {NODES} nodes: resident, idle"), &lb, String::new(), table);

    let span = Duration::from_secs(effort.of(20, 5));
    let programs = [("web: CPU, idle", web), ("lb, 20 nodes: CPU, idle", &*lb)];
    let before = programs.map(|(_, program)| Cpu::of(program));
    pause(span);
    for ((figure, program), before) in programs.into_iter().zip(before) {
        let share = Cpu::of(program).since(before).total() / span.as_secs_f64();
        let seen = format!("{:.2} % of a core over {span:?}", share * 100.0);
        table.row(figure, "", seen, String::new());
    }

    let at_web = format!("http://{}/", other.endpoint());
    let errors = ask(&lab.client(), &at_web, 8, 10_000);
    memory("web: resident after 10,000 requests", other, errors, table);
    let errors = ask(&lab.client(), &lb.url(), 64, effort.of(100_000, 20_000));
    let figure = format!("lb: after {} from 64 clients", effort.of("100,000", "20,000"));
    memory(&figure, &lb, errors, table);
}

fn memory(figure: &str, program: &Process, failed: String, table: &mut Table) {
    let mib = program.resident_kib() as f64 / 1024.0;
    table.row(figure, "", format!("{mib:.1} MiB"), failed);
}

/// Sends this many requests as fast as they are answered. Returns the failures as the last column
/// shows them.
fn ask(client: &Pi, url: &str, clients: usize, requests: u64) -> String {
    let load = client.load(url).clients(clients).pausing(Duration::ZERO).start();
    let mut reached = 0;
    while reached < requests {
        let next = (reached + STEP).min(requests);
        reached = load.wait_until("more answers", |r| r.ok + r.failed >= next).ok;
    }
    let report = load.stop();
    failed(report.failed, report.ok + report.failed)
}
