//! The table of known nodes: what sources propose, judged by what probes and traffic say.
//!
//! It is pure: it reads no clock, no random source and no socket, so that a simulation can run it
//! through thousands of bad days from a seed. `now` is the time since the process started. One
//! task owns it and goes round: give it a change, a probe's result or an outcome; start what
//! [`Membership::due`] returns; publish what [`Membership::view`] returns; log the events; sleep
//! until [`Membership::next_wake`].
//!
//! The law: a source only adds candidates or asks for a confirming probe. Only probes and traffic
//! change what routes.

mod entry;
mod drain;
mod event;
mod machine;
mod names;
mod offers;
mod probe;
mod schedule;
mod ownership;
mod outlier;
#[cfg(test)]
mod tests;
mod traffic;
mod view;
mod address;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::entry::{Context, Entry};
use self::event::EventLog;
pub use self::event::{Ejection, Event, EventKind};
pub use self::probe::{NodeState, Probe, ProbeResult, ProbeTicket, Unwell};
use self::schedule::Schedule;
use crate::cluster::config::{CANDIDATES_MAX, CANDIDATES_PER_SECOND, NODES_MAX};
use crate::cluster::health::Thresholds;
use crate::cluster::node::{Change, NodeId, Sighting, Source, printable};

/// After our own link was disturbed, this long no goodbye is believed: every node is withdrawn
/// within 5 s of a lost link, and the kernel may tell of it later than mDNS.
const DISTURBED_FOR: Duration = Duration::from_secs(15);

/// Goodbyes so close together count as one removal, and those so shortly before a disturbance as
/// a part of it.
const TOGETHER: Duration = Duration::from_secs(5);

/// The fewest nodes withdrawn together that are a mass removal, if they are half of all nodes:
/// more likely our own link than as many hands.
const MASS_MIN: usize = 3;

/// Candidates are shown as `starting` while there are no more than these: a few are news, a flood
/// of them must not fill the page.
const STARTING_SHOWN_MAX: usize = 16;

/// What has had its time may stay this much longer: a look at the whole table is not free.
const TIDY_EVERY: Duration = Duration::from_millis(200);

/// What the table has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster whose nodes are taken; others are ignored.
    pub cluster: String,
    /// When a node counts as up or down, and how often it is asked.
    pub thresholds: Thresholds,
}

/// The candidates taken in the present second. The second half of them is kept for machines that
/// have not taken much of the first: who floods under many names mostly does so from few addresses,
/// and a new node has one of its own.
#[derive(Debug, Default)]
struct Intake {
    second: u64,
    taken: u32,
    /// Of those, by address. Never longer than `taken`.
    by_address: BTreeMap<IpAddr, u32>,
}

/// What one address may have of the second half.
const LATE_PER_ADDRESS: u32 = 2;

impl Intake {
    fn takes(&mut self, sighting: &Sighting, now: Duration) -> bool {
        if self.second != now.as_secs() {
            *self = Self { second: now.as_secs(), ..Self::default() };
        }
        let late = self.taken >= CANDIDATES_PER_SECOND / 2;
        let address = sighting.endpoints.first().map(SocketAddr::ip);
        let before = address.and_then(|address| self.by_address.get(&address)).copied();
        let has_had_its_share = late && before.unwrap_or_default() >= LATE_PER_ADDRESS;
        if self.taken >= CANDIDATES_PER_SECOND || has_had_its_share {
            return false;
        }
        self.taken += 1;
        if let Some(address) = address {
            *self.by_address.entry(address).or_default() += 1;
        }
        true
    }
}

/// The table. See the module's description.
#[derive(Debug)]
pub struct Membership {
    settings: Settings,
    claims: BTreeMap<NodeId, Entry>,
    schedule: Schedule,
    ledger: EventLog,
    /// When proven nodes were withdrawn, within the last [`TOGETHER`].
    removals: VecDeque<Duration>,
    disturbed: Option<Duration>,
    tidied: Duration,
    intake: Intake,
    /// Taken out of the rotation on this machine, by the ids that are shown. See `drain`.
    drained_here: BTreeSet<NodeId>,
}

impl Membership {
    /// An empty table.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            claims: BTreeMap::new(),
            schedule: Schedule::default(),
            ledger: EventLog::default(),
            removals: VecDeque::new(),
            disturbed: None,
            tidied: Duration::ZERO,
            intake: Intake::default(),
            drained_here: BTreeSet::new(),
        }
    }

    /// The cluster whose nodes are taken.
    pub fn cluster(&self) -> &str {
        &self.settings.cluster
    }

    /// Takes a source's word: it adds candidates, or asks for confirming probes.
    pub fn change(&mut self, change: &Change, now: Duration) {
        match change {
            Change::Seen(source, sighting) => self.seen(*source, sighting, now),
            Change::Left(_, instance) => self.left(instance, now),
            Change::Disturbed(_) => {
                self.disturbed = Some(now);
                self.doubt_goodbyes(now);
            }
        }
    }

    /// Takes the result of a probe. Call [`Self::due`] after it: a place has become free.
    pub fn probed(&mut self, ticket: ProbeTicket, result: &ProbeResult, now: Duration) {
        // A ticket that is not known was given up long ago.
        let Some(asked) = self.schedule.ended(ticket) else { return };
        self.with(&asked.id, now, |claim, cx| {
            claim.probed(asked.way, asked.at, result, cx);
            claim.tidy(cx);
        });
    }

    /// This process did not run until now, nor did its probers: what they ask has all of its time
    /// again.
    pub fn stalled(&mut self, now: Duration) {
        self.schedule.stalled(now);
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
        self.advance(now);
        self.schedule.start(&mut self.claims, &self.settings.thresholds, now, rng)
    }

    /// When [`Self::due`] has something to do, if nothing comes before; `None` while the table is
    /// empty.
    pub fn next_wake(&self, now: Duration) -> Option<Duration> {
        let probes = self.schedule.next_wake(&self.claims, now);
        [probes, self.next_step()].into_iter().flatten().min().map(|at| at.max(now))
    }

    fn tidy(&mut self, now: Duration) {
        let (room, hidden) = (self.nodes() < NODES_MAX, self.hides_candidates());
        let usable = &self.usable();
        let (ledger, limits) = (&mut self.ledger, &self.settings.thresholds);
        self.claims.retain(|_, claim| {
            let unseen = hidden && claim.is_candidate();
            let changed = ledger.changed;
            claim.tidy(&mut Context { ledger, limits, room, usable, now });
            let kept = !claim.holders.is_empty();
            ledger.changed = if unseen { changed } else { ledger.changed || !kept };
            kept
        });
        self.ledger.changed |= hidden && !self.hides_candidates();
        self.yield_addresses(now);
    }

    fn seen(&mut self, source: Source, sighting: &Sighting, now: Duration) {
        let advertisement = &sighting.advertisement;
        if advertisement.cluster != self.settings.cluster {
            let detail = format!("it belongs to the cluster {}", advertisement.cluster);
            self.ledger.refuse(printable(&sighting.instance, 63), &detail, now);
            return self.left(&sighting.instance, now);
        }
        let foreign = advertisement.id.is_none();
        let id = advertisement.id.clone();
        let id = id.unwrap_or_else(|| names::foreign_id(&sighting.instance));
        if sighting.endpoints.is_empty() || (foreign && self.is_taken(sighting, &id)) {
            return;
        }
        if !self.admit(&id, foreign, source, sighting, now) {
            return;
        }
        self.with(&id, now, |claim, cx| claim.sighted(sighting, cx));
    }

    /// Makes sure that there is a claim of this id and kind, if the bounds allow it.
    fn admit(
        &mut self,
        id: &NodeId,
        foreign: bool,
        source: Source,
        sighting: &Sighting,
        now: Duration,
    ) -> bool {
        match self.claims.get(id) {
            Some(claim) if claim.foreign == foreign => return true,
            Some(claim) if !claim.is_candidate() => {
                let detail = format!("the id {id} belongs to a node of another kind");
                self.ledger.refuse(printable(&sighting.instance, 63), &detail, now);
                return false;
            }
            _ => {}
        }
        if !self.intake.takes(sighting, now) {
            return false;
        }
        let candidates = self.claims.values().filter(|claim| claim.is_candidate());
        if candidates.clone().count() >= CANDIDATES_MAX {
            let oldest = candidates.min_by_key(|claim| claim.added).map(|claim| claim.id.clone());
            oldest.and_then(|id| self.claims.remove(&id));
        }
        self.claims
            .insert(id.clone(), Entry::new(id.clone(), foreign, source, &sighting.instance, now));
        true
    }

    /// Whether another node answers where this foreign device is said to be: one machine under two
    /// names would get twice its share, and a device that cannot say who it is could be forged.
    fn is_taken(&self, sighting: &Sighting, id: &NodeId) -> bool {
        let is_there = |claim: &Entry| {
            claim.answering().any(|endpoint| sighting.endpoints.contains(&endpoint))
        };
        self.claims.values().any(|claim| claim.id != *id && is_there(claim))
    }

    /// A foreign device cannot say who answers at its address, so it yields the address to a
    /// picluster node that does answer there, and one that is advertised there no more to one that
    /// is: addresses are leased again.
    fn yield_addresses(&mut self, now: Duration) {
        if !self.claims.values().any(|claim| claim.foreign) {
            return;
        }
        let (devices, nodes): (Vec<&Entry>, Vec<&Entry>) =
            self.claims.values().partition(|claim| claim.foreign);
        let of = |claim: &Entry| claim.answering().collect::<Vec<_>>();
        let by_node: BTreeSet<SocketAddr> = nodes.iter().flat_map(|claim| of(claim)).collect();
        let by_device: BTreeMap<SocketAddr, &NodeId> = devices
            .iter()
            .flat_map(|claim| of(claim).into_iter().map(|endpoint| (endpoint, &claim.id)))
            .collect();
        let yields = |claim: &Entry, way: &address::Address| {
            let leased = by_device.get(&way.target.endpoint).is_some_and(|id| **id != claim.id);
            by_node.contains(&way.target.endpoint) || (leased && way.instance.is_none())
        };
        let contested = devices.iter().filter_map(|claim| {
            let ways = claim.ways.iter().filter(|way| yields(claim, way));
            let keys: Vec<u64> = ways.map(|way| way.key).collect();
            (!keys.is_empty()).then(|| (claim.id.clone(), keys))
        });
        for (id, keys) in contested.collect::<Vec<_>>() {
            self.with(&id, now, |claim, cx| claim.give_up(&keys, cx));
        }
    }

    fn left(&mut self, instance: &str, now: Duration) {
        let disturbed = self.disturbed.is_some_and(|at| now < at + DISTURBED_FOR);
        let named: Vec<NodeId> = self
            .claims
            .values()
            .filter(|claim| claim.ways.iter().any(|way| way.instance.as_deref() == Some(instance)))
            .map(|claim| claim.id.clone())
            .collect();
        for id in named {
            let mut meant = false;
            self.with(&id, now, |claim, cx| meant = claim.withdrawn(instance, disturbed, cx));
            if meant {
                self.removals.push_back(now);
            }
        }
        while self.removals.front().is_some_and(|at| *at + TOGETHER < now)
            || self.removals.len() > NODES_MAX
        {
            self.removals.pop_front();
        }
        if self.removals.len() >= MASS_MIN && self.removals.len() * 2 >= self.nodes() {
            self.doubt_goodbyes(now);
        }
    }

    /// The goodbyes heard a moment ago may be our own fault.
    fn doubt_goodbyes(&mut self, now: Duration) {
        let holders = self.claims.values_mut().flat_map(|claim| &mut claim.holders);
        for farewell in holders.filter_map(|holder| holder.farewell.as_mut()) {
            farewell.doubted |= farewell.at + TOGETHER >= now;
        }
    }

    /// The nodes that have proved themselves.
    fn nodes(&self) -> usize {
        let holders = self.claims.values().flat_map(|claim| &claim.holders);
        holders.filter(|holder| holder.proven).count()
    }

    /// Whether so many candidates are there that none is shown, with one more or less too: what
    /// befalls one then changes no view. A flood would have a view made for each of its packets.
    fn hides_candidates(&self) -> bool {
        let candidates = self.claims.values().filter(|claim| claim.is_candidate());
        candidates.count() > STARTING_SHOWN_MAX + 1
    }

    /// Does something to a claim, and drops it if nothing is left of it.
    fn with(&mut self, id: &NodeId, now: Duration, act: impl FnOnce(&mut Entry, &mut Context<'_>)) {
        let (room, hidden) = (self.nodes() < NODES_MAX, self.hides_candidates());
        let usable = &self.usable();
        let Some(claim) = self.claims.get_mut(id) else { return };
        let (ledger, limits) = (&mut self.ledger, &self.settings.thresholds);
        let (unseen, changed) = (hidden && claim.is_candidate(), ledger.changed);
        act(claim, &mut Context { ledger, limits, room, usable, now });
        let kept = !claim.holders.is_empty();
        ledger.changed |= !kept;
        if unseen && claim.is_candidate() {
            ledger.changed = changed;
        }
        if !kept {
            self.claims.remove(id);
        }
    }
}
