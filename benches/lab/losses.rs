//! One of three nodes goes, in four ways, while clients keep their connections.

use std::time::Duration;

use crate::Effort;
use crate::lab::{Balancer, Lab, Load, Process, Report};
use crate::spread::Spread;
use crate::table::{Table, failed};

const PATIENCE: Duration = Duration::from_secs(10);

/// A balancer and three nodes; `ada` goes.
pub(crate) struct Cluster {
    pub(crate) lb: Balancer,
    ada: Process,
}

/// The outcomes of one method's clients in all rounds.
struct Met {
    what: &'static str,
    reports: Vec<Report>,
}

pub(crate) fn kill(effort: &Effort, lab: &Lab, table: &mut Table) {
    gets(effort, lab, "kill -9: GET, worst wait", table, Process::kill9, Process::restart);
}

pub(crate) fn cable(effort: &Effort, lab: &Lab, table: &mut Table) {
    let plug = |ada: &Process| {
        ada.pi().plug();
        ada.clone()
    };
    gets(effort, lab, "cable pulled: GET, worst wait", table, |ada| ada.pi().unplug(), plug);
}

pub(crate) fn frozen(effort: &Effort, lab: &Lab, table: &mut Table) {
    let thaw = |ada: &Process| {
        ada.thaw();
        ada.clone()
    };
    gets(effort, lab, "frozen: GET, worst wait", table, Process::freeze, thaw);
}

/// SIGTERM must cost no request, whatever its method is.
pub(crate) fn term(effort: &Effort, lab: &Lab, table: &mut Table) {
    let mut cluster = Cluster::start(lab);
    let mut met = ["GET", "POST of 1 kB", "PUT of 32 kB"].map(Met::new);
    let mut exits = Vec::new();
    for _ in 0..effort.of(3, 1) {
        let url = cluster.lb.url();
        let load = || lab.client().load(&url);
        let loads = [
            load().clients(32).start(),
            load().clients(16).sending("POST", 1_000).start(),
            load().clients(4).sending("PUT", 32_000).start(),
        ];
        loads.iter().for_each(all_three_answer);
        let (_, took) = cluster.ada.sigterm();
        exits.push(took.as_secs_f64());
        loads[0].keep_on(Duration::from_secs(1));
        for (met, load) in met.iter_mut().zip(loads) {
            met.reports.push(load.stop());
        }
        cluster.ada = cluster.ada.restart();
        cluster.lb.wait_until_up(&cluster.ada, PATIENCE);
    }
    for met in met {
        met.tell(&format!("SIGTERM: {}, worst wait", met.what), table);
    }
    table.row("  SIGTERM to exit", "5 s", Spread::of(exits).show(" s", 2), String::new());
}

/// The node goes without a goodbye and comes back. The promise covers only GETs.
fn gets(
    effort: &Effort,
    lab: &Lab,
    figure: &str,
    table: &mut Table,
    lose: impl Fn(&Process),
    come_back: impl Fn(&Process) -> Process,
) {
    let mut cluster = Cluster::start(lab);
    let mut met = Met::new("GET");
    let mut outs = Vec::new();
    for _ in 0..effort.of(3, 1) {
        let load = lab.client().load(&cluster.lb.url()).clients(32).start();
        all_three_answer(&load);
        lose(&cluster.ada);
        outs.push(cluster.lb.wait_until_out(&cluster.ada, PATIENCE).as_secs_f64());
        load.keep_on(Duration::from_secs(2));
        cluster.ada = come_back(&cluster.ada);
        cluster.lb.wait_until_up(&cluster.ada, PATIENCE);
        met.reports.push(load.stop());
    }
    met.tell(figure, table);
    table.row("  out of the rotation after", "2 s", Spread::of(outs).show(" s", 2), String::new());
}

impl Cluster {
    pub(crate) fn start(lab: &Lab) -> Self {
        let lb = lab.pi("front").lb().start();
        let ada = lab.pi("ada").web().start();
        lab.pi("bob").web().start();
        lab.pi("eve").web().start();
        lb.wait_for_nodes(3);
        Self { lb, ada }
    }
}

fn all_three_answer(load: &Load) {
    load.wait_until("answers of all three", |report| report.nodes.len() == 3);
}

impl Met {
    fn new(what: &'static str) -> Self {
        Self { what, reports: Vec::new() }
    }

    fn tell(&self, figure: &str, table: &mut Table) {
        let sum = |count: fn(&Report) -> u64| self.reports.iter().map(count).sum::<u64>();
        let (ok, bad) = (sum(|report| report.ok), sum(|report| report.failed));
        let waits = Spread::of(self.reports.iter().map(|report| report.worst_ms as f64));
        table.row(figure, "0 and 1 s", waits.show(" ms", 0), failed(bad, ok + bad));
        for (reason, count) in self.reports.iter().flat_map(|report| &report.reasons) {
            table.note(&format!("{figure}: {count} x {reason}"));
        }
    }
}
