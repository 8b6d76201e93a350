//! A cluster in full use: every method, both kinds of connection, and open tunnels.

use std::time::Duration;

use super::ground::NAMES;
use crate::lab::{Balancer, Fickle, Lab, Load, Process, Report, Tunnels, now_ms};

/// The number of open tunnels.
pub(crate) const TUNNELS: usize = 8;

/// The cluster with all its programs running.
pub(crate) struct Company {
    pub(crate) lb: Balancer,
    /// Ordinary nodes.
    pub(crate) nodes: Vec<Process>,
    /// Its clients, by kind.
    pub(crate) loads: Vec<(&'static str, Load)>,
    /// The tunnels through the balancer to kim, who stays.
    pub(crate) tunnels: Tunnels,
    /// The node of the tunnels: they end when it is dropped.
    pub(crate) kim: Fickle,
}

/// The cost of the balancer's stop.
pub(crate) struct Stopped {
    /// One report for each kind of clients. Refused connections are not counted, because nobody
    /// accepted them.
    pub(crate) reports: Vec<(&'static str, Report)>,
    /// The time that the first tunnel to end stayed open.
    pub(crate) tunnels: Duration,
    pub(crate) echoes: u64,
    pub(crate) exit_code: i32,
    pub(crate) took: Duration,
}

impl Company {
    /// Starts the cluster. The tunnels open before the ordinary nodes start, because these know no
    /// tunnels.
    pub(crate) fn start(lab: &Lab, lb_args: &[&str]) -> Self {
        let lb = lab.pi("front").lb().args(lb_args).start();
        let kim = lab.pi("kim").fickle();
        lb.wait_for_nodes(1);
        let tunnels = lab.client().tunnels(lb.endpoint(), TUNNELS);
        let web = |name: &str| lab.pi(name).web().named().start();
        let nodes = NAMES.map(web).into();
        lb.wait_for_nodes(NAMES.len() + 1);
        let loads = loads(lab, &lb.url());
        Self { lb, nodes, loads, tunnels, kim }
    }

    /// Stops the balancer, and counts the outcomes of its clients.
    pub(crate) fn stop_the_balancer(self) -> Stopped {
        let Self { lb, loads, tunnels, kim: _kim, .. } = self;
        let asked_ms = now_ms();
        let (exit, took) = lb.process().sigterm();
        let accepted = |(clients, load): (_, Load)| (clients, without_refused(load.stop()));
        let reports = loads.into_iter().map(accepted).collect();
        let tunnels = tunnels.stop();
        let ended_ms = tunnels.iter().filter_map(|tunnel| tunnel.broke_ms).min().unwrap_or(0);
        Stopped {
            reports,
            tunnels: Duration::from_millis(ended_ms.saturating_sub(asked_ms)),
            echoes: tunnels.iter().map(|tunnel| tunnel.echoes).sum(),
            exit_code: exit.code,
            took,
        }
    }
}

fn loads(lab: &Lab, url: &str) -> Vec<(&'static str, Load)> {
    let load = |clients| lab.client().load(url).clients(clients).expecting_names();
    vec![
        ("GET, kept", load(16).start()),
        ("GET, new", load(8).connecting_anew().start()),
        ("POST, kept", load(16).sending("POST", 100).start()),
        ("PUT of 1 MiB, kept", load(4).sending("PUT", 1 << 20).start()),
    ]
}

fn without_refused(mut report: Report) -> Report {
    report.failed -= report.reasons.remove("refused").unwrap_or(0);
    report.failures.retain(|failure| failure.reason != "refused");
    report.by_client.clear();
    report
}
