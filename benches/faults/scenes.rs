//! Misfortunes of the whole cluster: all nodes go and come back, it is restarted node by node, a
//! request kills each node that executes it, and the balancer itself is stopped.

use std::time::Duration;

use crate::crew::Job;
use crate::faults::company::{Company, TUNNELS};
use crate::faults::ground::{Ground, NAMES, Node};
use crate::faults::trial::Clients;
use crate::lab::{DEATH_PATH, Lab, Load, PATIENCE, Report, pause};
use crate::rows::Row;

const WHILE: Duration = Duration::from_secs(2);

/// The time without a node.
const GONE: Duration = Duration::from_millis(1_500);

/// The longest time that tunnels may stay after the stop of the balancer.
const DRAIN: Duration = Duration::from_secs(4);

const ENDED: &str = "all nodes SIGTERM, one back";
const KILLED: &str = "all nodes kill -9, one back";

pub(crate) fn jobs() -> Vec<Job> {
    vec![
        Job::new(ENDED, |lab| all_gone(lab, ENDED, "TERM", &["GET", "POST"])),
        Job::new(KILLED, |lab| all_gone(lab, KILLED, "KILL", &["GET"])),
        Job::new("query of death", query_of_death),
        Job::new("rolling restart", rolling_restart),
        Job::new("balancer stopped", balancer_stopped),
    ]
}

fn missed(is_missed: bool, words: &str) -> Vec<String> {
    if is_missed { vec![words.to_owned()] } else { Vec::new() }
}

/// Requests wait for the first node that comes back.
fn all_gone(lab: &Lab, what: &str, signal: &str, methods: &[&'static str]) -> Vec<Row> {
    let ground = Ground::of_picluster(lab, false);
    let each = Duration::from_millis(10 * methods.len() as u64);
    let clients = |method: &&'static str| Clients { pause: each, ..Clients::new(method, false) };
    let loads: Vec<_> = methods.iter().map(|method| clients(method).start(&ground)).collect();
    pause(WHILE);
    let nodes: Vec<_> = ground.nodes.iter().map(Node::process).collect();
    nodes.iter().for_each(|node| node.signal(signal));
    for node in &nodes {
        node.wait_exit(PATIENCE);
    }
    pause(GONE);
    nodes[0].restart();
    for load in &loads {
        load.wait_for_new_answer_of(NAMES[0]);
    }
    pause(WHILE);
    let row = |(method, load): (&&str, Load)| {
        let report = load.stop();
        Row::plain(what, &format!("{method}, kept"), &report, missed(report.failed > 0, "failed"))
    };
    methods.iter().zip(loads).map(row).collect()
}

/// Sends a GET that kills the node that reads it, among ordinary ones.
fn query_of_death(lab: &Lab) -> Vec<Row> {
    let ground = Ground::of_picluster(lab, true);
    let load = lab.client().load(&ground.url).clients(8).expecting_names().start();
    pause(WHILE);
    let answer = lab.get(&format!("{}{}", ground.url, &DEATH_PATH[1..]));
    pause(WHILE);
    let report = load.stop();
    let killed = ground.nodes.iter().filter(|node| !node.process().is_running()).count();
    let missed = missed(killed > 2, "killed more than two nodes");
    let mut row = Row::plain("query of death", "GET, kept", &report, missed);
    let status = answer.map_or_else(|error| error, |answer| answer.status.to_string());
    row.note = format!("it killed {killed} of 3 nodes, its client got {status}");
    vec![row]
}

fn rolling_restart(lab: &Lab) -> Vec<Row> {
    let Company { lb, nodes, loads, tunnels, kim: _kim } = Company::start(lab, &[]);
    pause(WHILE);
    for node in nodes {
        node.sigterm();
        lb.wait_until_up(&node.restart(), PATIENCE);
    }
    pause(WHILE);
    let row = |(clients, load): (&str, Load)| {
        let report = load.stop();
        Row::plain("rolling restart", clients, &report, missed(report.failed > 0, "failed"))
    };
    let mut rows: Vec<_> = loads.into_iter().map(row).collect();
    let tunnels = tunnels.stop();
    let broke = tunnels.iter().filter(|tunnel| tunnel.broke_ms.is_some()).count();
    let echoes = tunnels.iter().map(|tunnel| tunnel.echoes).sum();
    let missed = missed(broke > 0, "a tunnel broke");
    let mut row = of_tunnels("rolling restart", echoes, missed);
    row.note = format!("{broke} of {TUNNELS} tunnels broke");
    rows.push(row);
    rows
}

fn balancer_stopped(lab: &Lab) -> Vec<Row> {
    let drain = format!("{}s", DRAIN.as_secs());
    let company = Company::start(lab, &["--drain", &drain]);
    pause(WHILE);
    let stopped = company.stop_the_balancer();
    let row = |(clients, report): &(&str, Report)| {
        Row::plain("balancer stopped", clients, report, missed(report.failed > 0, "failed"))
    };
    let mut rows: Vec<_> = stopped.reports.iter().map(row).collect();
    let early = stopped.tunnels < DRAIN - Duration::from_millis(200);
    let mut row = of_tunnels("balancer stopped", stopped.echoes, missed(early, "cut early"));
    row.note = format!(
        "--drain {drain}: tunnels stayed {:.1} s, exit code {} after {:.1} s",
        stopped.tunnels.as_secs_f64(),
        stopped.exit_code,
        stopped.took.as_secs_f64()
    );
    rows.push(row);
    rows
}

/// Tunnels have no failures but their end.
fn of_tunnels(what: &str, echoes: u64, missed: Vec<String>) -> Row {
    let report = Report { ok: echoes, ..Report::default() };
    Row::plain(what, "echoes in tunnels", &report, missed)
}
