//! The table of known nodes: sources propose them, and probes and traffic judge them.
//!
//! The law: a source only adds candidates or asks for a confirming probe. Only probes and traffic
//! change what routes.
//!
//! The table is pure: it reads no clock, no random source and no socket, so that a simulation can run
//! it through thousands of bad days from a seed. `now` is always the time since the process started.
//! It starts no probe and publishes nothing; its owner does both.

mod address;
mod context;
mod departure;
mod drain;
mod entries;
mod entry;
mod event;
mod event_log;
mod foreign;
mod intake;
mod machine;
mod names;
mod offers;
mod outlier;
mod ownership;
mod probe;
mod probing;
mod schedule;
mod sources;
#[cfg(test)]
mod tests;
mod traffic;
mod verdict;
mod view;
mod withdrawals;

use std::collections::BTreeMap;
use std::time::Duration;

use self::context::{Context, Numbers};
use self::drain::DrainedHere;
use self::entries::Entries;
use self::entry::Entry;
pub use self::event::{Ejection, Event, EventKind};
use self::event_log::EventLog;
use self::intake::Intake;
pub use self::probe::{NodeState, Probe, ProbeResult, ProbeTicket, Unwell};
use self::schedule::Schedule;
pub(in crate::discovery) use self::verdict::judge_application;
use self::withdrawals::Withdrawals;
use crate::cluster::config::{CANDIDATES_MAX, NODES_MAX};
use crate::cluster::health::{Outcome, Thresholds};
use crate::cluster::node::{Change, NodeId, Sighting, Source, printable};
use crate::cluster::pool::Member;

/// Entries whose time is over may stay this much longer: a look at the whole table is not free.
const TIDY_EVERY: Duration = Duration::from_millis(200);

/// The table of known nodes.
///
/// One task owns it and goes round: it gives the table a change, a probe's result or an outcome;
/// starts the probes that [`due`](Self::due) returns; publishes what [`view`](Self::view) returns; logs
/// the [`events`](Self::events); and sleeps until [`next_wake`](Self::next_wake).
///
/// ```
/// use std::collections::BTreeMap;
/// use std::time::Duration;
///
/// use picluster::cluster::health::{Health, Thresholds};
/// use picluster::cluster::node::{Advertisement, Boot, Change, NodeId, Sighting, Source};
/// use picluster::discovery::membership::{Membership, NodeState, ProbeResult};
///
/// let mut table = Membership::new("default".to_owned(), Thresholds::default());
/// let mut rng = fastrand::Rng::with_seed(1);
/// let now = Duration::ZERO;
///
/// // mDNS has seen an instance. The table asks the node itself before it believes that.
/// let id = NodeId::new("ada").unwrap();
/// let txt = BTreeMap::from([("v", "1"), ("id", "ada"), ("cluster", "default")]);
/// let sighting = Sighting {
///     instance: "pc-ada".to_owned(),
///     target: "ada.local".to_owned(),
///     endpoints: vec![([10, 0, 0, 1], 8080).into()],
///     advertisement: Advertisement::parse(|key| txt.get(key).copied()).unwrap(),
/// };
/// table.change(&Change::Seen(Source::Mdns, sighting), now);
/// let probe = table.due(now, &mut rng).pop().unwrap();
/// assert_eq!(probe.path, "/.picluster/health");
/// assert_eq!(table.view().unwrap()[0].health, Health::Starting);
///
/// // The node has answered the probe. From now on it gets requests.
/// let (name, boot) = ("ada".to_owned(), Boot(1));
/// let answer = ProbeResult::Node { id, name, boot, state: NodeState::Up, pi: None };
/// let now = Duration::from_millis(3);
/// table.probed(probe.ticket, &answer, now);
/// assert_eq!(table.view().unwrap()[0].health, Health::Up);
/// assert_eq!(table.events()[0].to_string(), "node joined: ada on 10.0.0.1:8080");
/// assert!(table.view().is_none(), "nothing has changed since");
/// ```
#[derive(Debug)]
pub struct Membership {
    /// The cluster whose nodes are taken.
    cluster: String,
    thresholds: Thresholds,
    entries: Entries,
    schedule: Schedule,
    log: EventLog,
    numbers: Numbers,
    intake: Intake,
    withdrawals: Withdrawals,
    drained_here: DrainedHere,
    /// Something that routes or is shown has changed since the last view.
    changed: bool,
    /// When the whole table was last tidied.
    tidied: Duration,
}

impl Membership {
    /// An empty table, which takes the nodes of this cluster and ignores others.
    pub fn new(cluster: String, thresholds: Thresholds) -> Self {
        Self {
            cluster,
            thresholds,
            entries: Entries::default(),
            schedule: Schedule::default(),
            log: EventLog::default(),
            numbers: Numbers::default(),
            intake: Intake::default(),
            withdrawals: Withdrawals::default(),
            drained_here: DrainedHere::default(),
            changed: false,
            tidied: Duration::ZERO,
        }
    }

    /// The cluster whose nodes are taken.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Takes in a source's word: it adds candidates, or asks for confirming probes.
    pub fn change(&mut self, change: &Change, now: Duration) {
        match change {
            Change::Seen(source, sighting) => self.seen(*source, sighting, now),
            Change::Left(_, instance) => self.left(instance, now),
            Change::Disturbed(_) => {
                self.withdrawals.disturbed(now);
                self.doubt_goodbyes(now);
            }
        }
    }

    /// Takes in the result of a probe. The owner calls [`Self::due`] after it, because a place for
    /// another probe has become free.
    pub fn probed(&mut self, ticket: ProbeTicket, result: &ProbeResult, now: Duration) {
        // A ticket that is not known was given up long ago.
        let Some(probe) = self.schedule.ended(ticket) else { return };
        self.change_entry(&probe.id, now, |entry, cx| {
            probing::probed(entry, probe.address, probe.asked, result, cx);
            departure::tidy(entry, cx);
        });
    }

    /// Takes in the outcome of a request to the member of this epoch.
    ///
    /// A refused connection and a draining answer count at once. Any other bad outcome only asks for a
    /// probe at once, unless the node is on trial. An answer ends a doubt and a trial; not every answer
    /// has to be reported.
    pub fn observed(&mut self, epoch: u64, outcome: Outcome, now: Duration) {
        let Some((entry, at)) = self.entries.find_epoch(epoch) else { return };
        let wrong = matches!(outcome, Outcome::Erring | Outcome::Breaking);
        let errs_alone = wrong && traffic::errs_alone(&self.entries, &entry.machines[at]);
        let id = entry.id.clone();
        self.change_entry(&id, now, |entry, cx| {
            traffic::observed(entry, at, outcome, errs_alone, cx);
        });
    }

    /// This process did not run until now: each probe under way gets all of its time again, because its
    /// answer may wait to be read.
    pub fn stalled(&mut self, now: Duration) {
        self.schedule.stalled(now);
    }

    /// Drains the node that is shown under this id, or ends that. Doing it twice changes nothing.
    pub fn drain(&mut self, id: &NodeId, drain: bool, now: Duration) {
        let shown = view::shown(&self.entries);
        let is_shown = |id: &NodeId| shown.iter().any(|shown| shown.id == *id);
        if !self.drained_here.set(id, drain, is_shown) {
            return;
        }
        let Some(shown) = shown.into_iter().find(|shown| shown.id == *id) else { return };
        self.change_entry(&shown.entry, now, |entry, cx| {
            let active = entry.machines[shown.at].active;
            let endpoint = entry.address(active).map(|address| address.target.endpoint);
            entry.machines[shown.at].drain_here(drain, endpoint, cx);
        });
    }

    /// The probes to start now. `rng` only jitters their intervals.
    pub fn due(&mut self, now: Duration, rng: &mut fastrand::Rng) -> Vec<Probe> {
        for ticket in self.schedule.overdue(now) {
            self.probed(ticket, &ProbeResult::TimedOut, now);
        }
        if now >= self.tidied + TIDY_EVERY {
            self.tidied = now;
            self.tidy(now);
        }
        for id in self.entries.due_steps(now) {
            self.change_entry(&id, now, traffic::advance);
        }
        self.schedule.start(&mut self.entries, &self.thresholds, now, rng)
    }

    /// When [`Self::due`] has something to do, if nothing comes before; never before `now`. `None`
    /// while the table is empty.
    pub fn next_wake(&self, now: Duration) -> Option<Duration> {
        let probe = self.schedule.next_wake(&self.entries, now);
        [probe, self.entries.next_step()].into_iter().flatten().min().map(|at| at.max(now))
    }

    /// The members of the next pool, if anything that routes or is shown has changed since the last
    /// call.
    pub fn view(&mut self) -> Option<Vec<Member>> {
        std::mem::take(&mut self.changed)
            .then(|| view::members(&mut self.entries, &self.drained_here, &mut self.log))
    }

    /// The events since the last call, oldest first.
    pub fn events(&mut self) -> Vec<Event> {
        if !self.log.needs_names() {
            return self.log.take(&BTreeMap::new());
        }
        view::give_names(&mut self.entries, &self.drained_here, &mut self.log);
        self.log.take(&view::names(&self.entries))
    }

    fn seen(&mut self, source: Source, sighting: &Sighting, now: Duration) {
        let advertisement = &sighting.advertisement;
        if advertisement.cluster != self.cluster {
            let detail = format!("it belongs to the cluster {}", advertisement.cluster);
            self.log.record_refused(printable(&sighting.instance, 63), &detail, now);
            return self.left(&sighting.instance, now);
        }
        let foreign = advertisement.id.is_none();
        let id = advertisement.id.clone();
        let id = id.unwrap_or_else(|| names::foreign_id(&sighting.instance));
        let taken = foreign && foreign::is_taken(&self.entries, sighting, &id);
        if !sighting.endpoints.is_empty() && !taken && self.admit(&id, source, sighting, now) {
            self.change_entry(&id, now, |entry, cx| sources::sighted(entry, sighting, cx));
        }
    }

    /// Makes sure that there is an entry of this id and kind. False if the bounds do not allow it.
    fn admit(&mut self, id: &NodeId, source: Source, sighting: &Sighting, now: Duration) -> bool {
        let foreign = sighting.advertisement.id.is_none();
        match self.entries.get(id) {
            Some(entry) if entry.foreign == foreign => return true,
            Some(entry) if !entry.is_candidate() => {
                let detail = format!("the id {id} belongs to a node of another kind");
                self.log.record_refused(printable(&sighting.instance, 63), &detail, now);
                return false;
            }
            _ => {}
        }
        if !self.intake.takes(sighting, now) {
            return false;
        }
        if self.entries.candidates().count() >= CANDIDATES_MAX {
            self.entries.drop_oldest_candidate();
        }
        self.entries.insert(Entry::new(id.clone(), foreign, source, &sighting.instance, now));
        true
    }

    fn left(&mut self, instance: &str, now: Duration) {
        let doubted = self.withdrawals.doubts(now);
        for id in self.entries.advertised_by(instance) {
            let meant_a_node = self.change_entry(&id, now, |entry, cx| {
                sources::withdrawn(entry, instance, doubted, cx)
            });
            if meant_a_node == Some(true) {
                self.withdrawals.count(now);
            }
        }
        if self.withdrawals.is_mass(self.entries.machines().count(), now) {
            self.doubt_goodbyes(now);
        }
    }

    /// The goodbyes heard a moment ago may be the fault of our own link.
    fn doubt_goodbyes(&mut self, now: Duration) {
        for goodbye in self.entries.goodbyes_mut() {
            goodbye.doubted |= withdrawals::belongs_to(goodbye.at, now);
        }
    }

    fn tidy(&mut self, now: Duration) {
        self.in_context(now, |entries, cx| entries.change_all(cx, departure::tidy));
        for (id, keys) in foreign::contested(&self.entries) {
            self.change_entry(&id, now, |entry, cx| foreign::give_up(entry, &keys, cx));
        }
    }

    /// Lets `act` change the entry of this id. `None` if there is none.
    fn change_entry<T>(
        &mut self,
        id: &NodeId,
        now: Duration,
        act: impl FnOnce(&mut Entry, &mut Context<'_>) -> T,
    ) -> Option<T> {
        self.in_context(now, |entries, cx| entries.change_one(id, cx, act))
    }

    fn in_context<T>(
        &mut self,
        now: Duration,
        act: impl FnOnce(&mut Entries, &mut Context<'_>) -> T,
    ) -> T {
        let has_room = self.entries.machines().count() < NODES_MAX;
        let usable = self.entries.usable();
        let mut cx = Context {
            log: &mut self.log,
            numbers: &mut self.numbers,
            limits: &self.thresholds,
            has_room,
            usable: &usable,
            changed: false,
            now,
        };
        let done = act(&mut self.entries, &mut cx);
        self.changed |= cx.changed;
        done
    }
}
