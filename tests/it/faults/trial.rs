//! One trial: clients ask, a fault strikes, it is mended, and everything is counted.

use std::time::{Duration, Instant};

use super::fault::Fault;
use super::ground::{Arrivals, Ground};
use crate::lab::{Failure, Load, Report, now_ms, pause};

/// Some clients of one kind; a node answers their requests at once.
#[derive(Clone, Copy)]
pub(crate) struct Clients {
    pub(crate) method: &'static str,
    /// True if each request has a new connection instead of a kept one.
    pub(crate) anew: bool,
    pub(crate) count: usize,
    /// The pause between an answer and the next request.
    pub(crate) pause: Duration,
}

/// The lengths of the parts of a trial.
#[derive(Clone, Copy)]
pub(crate) struct Spans {
    /// The time before the fault, in which all is well.
    pub(crate) before: Duration,
    /// The time from the fault to its mending.
    pub(crate) sick: Duration,
    /// The longest wait for the first answer of the mended node; after that it counts as lost.
    pub(crate) back_max: Duration,
    /// The time from the first answer of the mended node to the end.
    pub(crate) after: Duration,
}

/// The outcome for one group of clients.
pub(crate) struct Met {
    pub(crate) clients: Clients,
    pub(crate) report: Report,
    /// The time when the fault had struck, by [`now_ms`].
    pub(crate) struck_ms: u64,
    /// The time from the fault until the balancer sent the node no more requests, if that happened.
    pub(crate) out: Option<Duration>,
    /// The time from the mending until the node answered these clients again, if that happened.
    pub(crate) back: Option<Duration>,
    /// The requests that arrived at the nodes more than once, with the places of arrival.
    pub(crate) twice: Vec<String>,
    /// The number of answered requests whose arrival was missed; some of these may have come twice.
    pub(crate) unseen: u64,
}

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

impl Clients {
    /// The clients of the benchmark's matrix.
    pub(crate) fn new(method: &'static str, anew: bool) -> Self {
        Self { method, anew, count: 32, pause: Duration::from_millis(10) }
    }

    /// Starts the clients, and waits until each node has answered them.
    pub(crate) fn start(self, ground: &Ground<'_>) -> Load {
        let load = ground.lab.client().load(&ground.url).clients(self.count).pausing(self.pause);
        let load = load.expecting_names();
        let load = if self.anew { load.connecting_anew() } else { load };
        let load = match self.method {
            "GET" => load,
            "PUT" => load.sending("PUT", 32 << 10),
            method => load.sending(method, 100),
        };
        let load = load.start();
        load.wait_for_nodes(3);
        load
    }
}

/// Runs a trial to its end. Each group of clients gets its own report.
pub(crate) fn run(
    mut ground: Ground<'_>,
    fault: Fault,
    groups: &[Clients],
    spans: Spans,
) -> Vec<Met> {
    let endpoint = ground.nodes[0].process().endpoint();
    let loads: Vec<_> = groups.iter().map(|clients| clients.start(&ground)).collect();
    pause(spans.before);

    let began = Instant::now();
    fault.strike(&mut ground);
    let struck_ms = now_ms();
    let mut out = None;
    let sick = fault.lasts(spans.sick);
    while began.elapsed() < sick {
        if out.is_none() && ground.is_in_rotation(endpoint) == Some(false) {
            out = Some(began.elapsed());
        }
        pause(LOOK_EVERY);
    }
    fault.mend(&mut ground);
    let mended_ms = now_ms();
    let back: Vec<_> =
        loads.iter().map(|load| wait_for_ada(load, mended_ms, spans.back_max)).collect();
    pause(spans.after);

    let reports: Vec<_> = loads.into_iter().map(Load::stop).collect();
    let arrived = ground.stop_recording();
    let each = groups.iter().zip(reports).zip(back);
    let met = each.map(|((clients, report), back)| {
        let (twice, unseen) = compare(&arrived, clients, groups, &report);
        Met { clients: *clients, report, struck_ms, out, back, twice, unseen }
    });
    met.collect()
}

/// Waits for an answer that ada gives from now on. Returns how long that took.
fn wait_for_ada(load: &Load, from_ms: u64, back_max: Duration) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < back_max {
        let last_ms = load.so_far().nodes.get("ada").map_or(0, |answers| answers.last_ms);
        if last_ms > from_ms {
            return Some(Duration::from_millis(last_ms - from_ms));
        }
        pause(LOOK_EVERY);
    }
    None
}

/// Returns the requests of these clients' method that arrived more than once, and the number of
/// answered ones that were not seen to arrive. Groups of one method share these numbers.
fn compare(
    arrived: &Arrivals,
    clients: &Clients,
    groups: &[Clients],
    report: &Report,
) -> (Vec<String>, u64) {
    let ours = arrived.iter().filter(|((method, _), _)| method == clients.method);
    let ours: Vec<_> = ours.collect();
    let alone = groups.iter().filter(|group| group.method == clients.method).count() == 1;
    let unseen = if alone { report.ok.saturating_sub(ours.len() as u64) } else { 0 };
    let twice = ours.iter().filter(|(_, places)| places.len() > 1);
    (twice.map(|((_, id), places)| format!("{id}: {}", places.join(", "))).collect(), unseen)
}

impl Met {
    /// A summary that helps to explain a miss; times count from the fault.
    pub(crate) fn story(&self) -> String {
        let after = |ms: u64| (i128::from(ms) - i128::from(self.struck_ms)) as f64 / 1e3;
        let Report { worst_ms, worst_began_ms, stall_ms, reasons, failures, .. } = &self.report;
        let failed = failures.iter().take(5).map(|failure| {
            let Failure { client, began_ms, waited_ms, .. } = failure;
            format!("client {client} at {:.2} s for {waited_ms} ms", after(*began_ms))
        });
        format!(
            "{} kept: {}; out {:?}, back {:?}; worst wait {worst_ms} ms from {:.2} s on, \
             machine stalled {stall_ms} ms; {reasons:?}; \
             failed {:?}; twice {:?}",
            self.clients.method,
            !self.clients.anew,
            self.out,
            self.back,
            after(*worst_began_ms),
            failed.collect::<Vec<_>>(),
            self.twice.first()
        )
    }

    /// The largest number of failures that one client met.
    pub(crate) fn most_of_a_client(&self) -> u64 {
        self.report.by_client.values().copied().max().unwrap_or(0)
    }

    /// The longest wait for a failure, among the failures that are reported in full.
    pub(crate) fn slowest_failure_ms(&self) -> u64 {
        self.report.failures.iter().map(|failure| failure.waited_ms).max().unwrap_or(0)
    }

    /// The failures of requests that were sent after the fault had struck.
    pub(crate) fn sent_after_the_fault(&self) -> impl Iterator<Item = &Failure> {
        self.report.failures.iter().filter(|failure| failure.began_ms > self.struck_ms)
    }
}
