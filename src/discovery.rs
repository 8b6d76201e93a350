//! The discovery line: one task, one `select!`, one publication.
//!
//! Sources propose nodes, probes and traffic judge them, the table decides, and one immutable pool is
//! published. Nothing on the request path ever waits for this task.

pub mod mdns;
pub mod membership;
mod probe;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

pub use self::membership::Unwell;
use self::membership::{Event, EventKind, Membership};
pub use self::probe::ask_neighbour;
use self::probe::{Probed, Prober, STALLED};
use crate::cluster::counts::Counts;
use crate::cluster::node::{Change, NodeId};
use crate::cluster::pool::{Conflict, Feedback, Publisher};
use crate::os::systemd::Pulse;
use crate::telemetry::journal::{Journal, JournalEntry};

/// The most words that are taken from a channel in one go: a flood is worked off in batches, and each
/// batch ends in one look at the table.
const BATCH: usize = 64;

/// The table is looked at this often while it is empty and nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// An order to drain a node, or to end that.
#[derive(Debug)]
pub struct Order {
    /// The node, by the id that is shown.
    pub id: NodeId,
    /// True to drain it, false to end that.
    pub drain: bool,
    /// Completed after publication: from then on requests follow the order.
    pub done: oneshot::Sender<()>,
}

/// The discovery line: the channels it reads, the table, and the publisher of the pool.
pub struct Line {
    /// The table, empty at first.
    pub table: Membership,
    /// The changes that the sources report.
    pub changes: mpsc::Receiver<Change>,
    /// The outcomes that traffic reports.
    pub feedback: mpsc::Receiver<Feedback>,
    /// The orders of people on this machine.
    pub orders: mpsc::Receiver<Order>,
    /// The publisher of the pool.
    pub publisher: Publisher,
    /// The zero of all times in the table and the pool.
    pub started: Instant,
    /// The counters of events and probes.
    pub counts: Arc<Counts>,
    /// The journal of events for people.
    pub journal: Journal,
    /// Answers that the line still goes round.
    pub pulse: Pulse,
}

impl Line {
    /// Runs the line until its sources and the traffic are gone or the future is dropped.
    pub async fn run(mut self) {
        let mut probes = JoinSet::new();
        let mut prober = Prober::new(self.table.cluster());
        let mut rng = fastrand::Rng::new();
        let (mut changes, mut feedback, mut done) = (Vec::new(), Vec::new(), None);
        loop {
            // Results that wait here come first: after a stall of ours the table would give up their
            // probes.
            while let Some(probed) = probes.try_join_next() {
                self.probed(&mut prober, probed.ok());
            }
            let now = self.started.elapsed();
            for probe in self.table.due(now, &mut rng) {
                probes.spawn(prober.ask(probe));
            }
            self.report(now);
            // The caller may be gone.
            let _ = done.take().map(|done: oneshot::Sender<()>| done.send(()));
            let wake = self.table.next_wake(now).map_or(now + IDLE, |wake| wake.max(now));
            tokio::select! {
                n = self.changes.recv_many(&mut changes, BATCH) => if n == 0 { return },
                n = self.feedback.recv_many(&mut feedback, BATCH) => if n == 0 { return },
                Some(order) = self.orders.recv() => done = self.carry_out(order),
                () = self.pulse.answer() => {}
                Some(probed) = probes.join_next() => self.probed(&mut prober, probed.ok()),
                () = tokio::time::sleep(wake - now) => {}
            }
            let now = self.started.elapsed();
            if now > wake + STALLED {
                self.table.stalled(now);
            }
            for change in changes.drain(..) {
                self.table.change(&change, now);
            }
            for (epoch, outcome) in feedback.drain(..) {
                self.table.observed(epoch, outcome, now);
            }
        }
    }

    /// Returns the reply channel, to be completed after publication. If the caller has given up, the
    /// order is dropped: it was already reported as failed.
    fn carry_out(&mut self, order: Order) -> Option<oneshot::Sender<()>> {
        let Order { id, drain, done } = order;
        if done.is_closed() {
            return None;
        }
        self.table.drain(&id, drain, self.started.elapsed());
        Some(done)
    }

    /// Takes in a probe that ended. A probe whose task failed has no result; the table counts it as
    /// unanswered in time.
    fn probed(&mut self, prober: &mut Prober, probed: Option<Probed>) {
        let Some(mut probed) = probed else { return };
        prober.keep(&mut probed);
        self.counts.probes.add(probed.result.as_str());
        self.counts.probe_times.add(probed.took);
        self.table.probed(probed.ticket, &probed.result, self.started.elapsed());
    }

    /// Logs, counts and writes down the events, and publishes a view that has changed.
    fn report(&mut self, now: Duration) {
        for event in self.table.events() {
            self.count(event.kind);
            log(&event);
            if !event.kind.is_detail() {
                self.journal.write(entry(event));
            }
        }
        if let Some(members) = self.table.view() {
            for conflict in self.publisher.publish(members, now) {
                warn!("{conflict}; give one of them another --host or --path");
                self.journal.write(conflict_entry(conflict));
            }
        }
    }

    fn count(&self, kind: EventKind) {
        self.counts.node_events.add(kind.as_str());
        if let EventKind::Ejected(cause) = kind {
            self.counts.ejections.add(cause.as_str());
        }
    }
}

fn entry(event: Event) -> JournalEntry {
    JournalEntry {
        number: 0,
        at: SystemTime::now(),
        node: event.node,
        what: event.kind.beside_the_name(),
        detail: event.detail,
        warning: event.kind.is_warning(),
    }
}

fn conflict_entry(conflict: Conflict) -> JournalEntry {
    let Conflict { route, kept_by, service } = conflict;
    JournalEntry {
        number: 0,
        at: SystemTime::now(),
        node: service.to_string(),
        what: "names a route that is taken",
        detail: format!("{route} belongs to {kept_by}"),
        warning: true,
    }
}

fn log(event: &Event) {
    let Event { kind, node, endpoint, detail } = event;
    let endpoint = endpoint.map(tracing::field::display);
    let detail = (!detail.is_empty()).then(|| tracing::field::display(detail));
    let message = kind.as_str();
    if kind.is_warning() {
        warn!(%node, endpoint, detail, "{message}");
    } else if kind.is_detail() {
        debug!(%node, endpoint, detail, "{message}");
    } else {
        info!(%node, endpoint, detail, "{message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::health::Thresholds;
    use crate::os::systemd::Pulses;

    /// A line, and the senders without which it ends.
    fn line(pulses: &Pulses) -> (Line, (mpsc::Sender<Change>, mpsc::Sender<Feedback>)) {
        let (changes_from, changes) = mpsc::channel(1);
        let (feedback_from, feedback) = mpsc::channel(1);
        let line = Line {
            table: Membership::new("default".to_owned(), Thresholds::default()),
            changes,
            feedback,
            orders: mpsc::channel(1).1,
            publisher: crate::cluster::pool::channel().0,
            started: Instant::now(),
            counts: Arc::default(),
            journal: Journal::default(),
            pulse: pulses.part("discovery"),
        };
        (line, (changes_from, feedback_from))
    }

    #[tokio::test]
    async fn an_order_whose_caller_gave_up_is_not_carried_out() {
        let (mut line, _ends) = line(&Pulses::default());
        let (done, reply) = oneshot::channel();
        let id = NodeId::new("ada").unwrap();
        let carried_out = line.carry_out(Order { id: id.clone(), drain: true, done });
        assert!(carried_out.is_some());
        drop(reply);
        let (done, reply) = oneshot::channel();
        drop(reply);
        assert!(line.carry_out(Order { id, drain: false, done }).is_none());
    }

    #[tokio::test]
    async fn a_line_that_goes_round_answers_and_one_that_is_not_polled_does_not() {
        let pulses = Pulses::default();
        let (line, _ends) = line(&pulses);
        pulses.ask();
        assert_eq!(pulses.silent().as_deref(), Some("discovery"));
        let run = tokio::spawn(line.run());
        let began = Instant::now();
        while pulses.silent().is_some() {
            assert!(began.elapsed() < Duration::from_secs(20), "the line does not answer");
            tokio::task::yield_now().await;
        }
        assert!(!run.is_finished());
    }
}
