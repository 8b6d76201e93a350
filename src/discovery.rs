//! The discovery line: one task, one `select!`, one publication.
//!
//! Sources propose, probes and traffic judge, the table decides, and one immutable pool is
//! published. Nothing on the request path ever waits for this task.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::cluster::counts::Counts;
use crate::cluster::node::{Change, NodeId};
use crate::cluster::pool::Feedback;
use crate::cluster::pool::{Conflict, Publisher};
use crate::discovery::membership::{Event, EventKind, Membership};
use crate::discovery::probe::{Asked, Kept, STALLED};
use crate::os::systemd::Pulse;
use crate::telemetry::journal::{Journal, JournalEntry};

pub mod mdns;
pub mod membership;
mod probe;

pub use self::membership::Unwell;
pub use self::probe::ask_neighbour;

/// Words taken from a channel in one go: a flood is worked off in batches, and each batch ends in
/// one look at the table.
const BATCH: usize = 64;

/// With an empty table nothing is due; it is looked at anyway.
const IDLE: Duration = Duration::from_secs(60);

/// Drain a node, or end that.
#[derive(Debug)]
pub struct Order {
    /// The node, by the id that is shown.
    pub id: NodeId,
    /// To drain it, or to end that.
    pub drain: bool,
    /// Told once it is published: from then on no request is sent otherwise.
    pub done: oneshot::Sender<()>,
}

/// What the line reads from and where it publishes.
pub struct Line {
    /// The table, empty at first.
    pub table: Membership,
    /// What the sources say.
    pub changes: mpsc::Receiver<Change>,
    /// What traffic says.
    pub feedback: mpsc::Receiver<Feedback>,
    /// What somebody on this machine wants drained, or no longer.
    pub orders: mpsc::Receiver<Order>,
    /// Where the pool is published.
    pub publisher: Publisher,
    /// The zero of all times in the table and the pool.
    pub started: Instant,
    /// Where events are counted.
    pub counts: Arc<Counts>,
    /// Where they are written for people.
    pub journal: Journal,
    /// Shows that the line goes round.
    pub pulse: Pulse,
}

impl Line {
    /// Runs the line until its sources and the traffic are gone or the future is dropped.
    pub async fn run(mut self) {
        let mut probes = JoinSet::new();
        let mut kept = Kept::new(self.table.cluster());
        let mut rng = fastrand::Rng::new();
        let (mut changes, mut feedback, mut done) = (Vec::new(), Vec::new(), None);
        loop {
            // What has come is taken first: after a stall of ours the table would give up probes whose
            // answers wait here.
            while let Some(asked) = probes.try_join_next() {
                self.probed(&mut kept, asked.ok());
            }
            let now = self.started.elapsed();
            for probe in self.table.due(now, &mut rng) {
                probes.spawn(kept.ask(probe));
            }
            self.report(now);
            // Who asked may be gone.
            let _ = done.take().map(|done: oneshot::Sender<()>| done.send(()));
            let wake = self.table.next_wake(now).map_or(now + IDLE, |wake| wake.max(now));
            tokio::select! {
                n = self.changes.recv_many(&mut changes, BATCH) => if n == 0 { return },
                n = self.feedback.recv_many(&mut feedback, BATCH) => if n == 0 { return },
                Some(order) = self.orders.recv() => done = self.carry_out(order),
                () = self.pulse.answer() => {}
                Some(asked) = probes.join_next() => self.probed(&mut kept, asked.ok()),
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

    /// Gives who is to be told once it is published. Who gave up waiting was told that it failed: then
    /// it is not done either.
    fn carry_out(&mut self, order: Order) -> Option<oneshot::Sender<()>> {
        let Order { id, drain, done } = order;
        if done.is_closed() {
            return None;
        }
        self.table.drain(&id, drain, self.started.elapsed());
        Some(done)
    }

    /// A probe whose task failed gives no result; the table counts it as unanswered in time.
    fn probed(&mut self, kept: &mut Kept, asked: Option<Asked>) {
        let Some(mut asked) = asked else { return };
        kept.keep(&mut asked);
        self.counts.probes.add(asked.result.as_str());
        self.counts.probe_times.add(asked.took);
        self.table.probed(asked.ticket, &asked.result, self.started.elapsed());
    }

    /// Logs, counts and writes down what happened and publishes what changed.
    fn report(&mut self, now: Duration) {
        for event in self.table.events() {
            self.count(event.what);
            log(&event);
            if !event.what.is_detail() {
                self.journal.write(entry(event));
            }
        }
        if let Some(members) = self.table.view() {
            for conflict in self.publisher.publish(members, now) {
                warn!("{conflict}; give one of them another --host or --path");
                self.journal.write(claimed_in_vain(conflict));
            }
        }
    }

    fn count(&self, what: EventKind) {
        self.counts.node_events.add(what.as_str());
        if let EventKind::Ejected(cause) = what {
            self.counts.ejections.add(cause.as_str());
        }
    }
}

fn entry(event: Event) -> JournalEntry {
    JournalEntry {
        number: 0,
        at: SystemTime::now(),
        node: event.node,
        what: event.what.beside_the_name(),
        detail: event.detail,
        warning: event.what.is_warning(),
    }
}

fn claimed_in_vain(conflict: Conflict) -> JournalEntry {
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
    let Event { what, node, endpoint, detail } = event;
    let endpoint = endpoint.map(tracing::field::display);
    let detail = (!detail.is_empty()).then(|| tracing::field::display(detail));
    let what = what.as_str();
    if event.what.is_warning() {
        warn!(%node, endpoint, detail, "{what}");
    } else if event.what.is_detail() {
        debug!(%node, endpoint, detail, "{what}");
    } else {
        info!(%node, endpoint, detail, "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::health::Thresholds;
    use crate::discovery::membership::Settings;
    use crate::os::systemd::Pulses;

    /// A line and what it ends with.
    fn line(pulses: &Pulses) -> (Line, (mpsc::Sender<Change>, mpsc::Sender<Feedback>)) {
        let (changes_from, changes) = mpsc::channel(1);
        let (feedback_from, feedback) = mpsc::channel(1);
        let settings =
            Settings { cluster: "default".to_owned(), thresholds: Thresholds::default() };
        let line = Line {
            table: Membership::new(settings),
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
    async fn an_order_whose_giver_gave_up_is_not_carried_out() {
        let (mut line, _ends) = line(&Pulses::default());
        let (done, told) = oneshot::channel();
        let id = NodeId::new("ada").unwrap();
        let wanted = line.carry_out(Order { id: id.clone(), drain: true, done });
        assert!(wanted.is_some());
        drop(told);
        let (done, told) = oneshot::channel();
        drop(told);
        assert!(line.carry_out(Order { id, drain: false, done }).is_none());
    }

    #[tokio::test]
    async fn a_line_that_goes_round_answers_and_one_that_is_not_polled_does_not() {
        let pulses = Pulses::default();
        let (line, _ends) = line(&pulses);
        pulses.ask();
        assert_eq!(pulses.silent().as_deref(), Some("discovery"));
        let run = tokio::spawn(line.run());
        while pulses.silent().is_some() {
            tokio::task::yield_now().await;
        }
        assert!(!run.is_finished());
    }
}
