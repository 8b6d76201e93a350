//! Everything that goes under one id: the ways that were advertised for it, and who holds it.
//!
//! One machine holds an id, as a rule, over any of its ways. Two do while clones of one card
//! answer at once; then each is a [`Machine`] with a way of its own. An id that nobody has proved
//! to hold yet is a candidate: it has one holder that is not `proven`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::address::{Address, Target};
use super::event::{EventKind, EventLog};
use super::machine::{Goodbye, Machine};
use super::offers::Offers;
use super::probe::{ProbeResult, judge};
use crate::cluster::config::{ENDPOINTS_MAX, FORGET_AFTER};
use crate::cluster::health::{Health, Outcome, Thresholds};
use crate::cluster::node::{Advertisement, NodeId, Offer, Sighting, Source, printable};
use crate::cluster::protocol::HEALTH_PATH;

/// A way that does not answer is dropped after this long, unless a node is known by it and still
/// advertised there. Its source proposes it again if it is still there.
const CANDIDATE_FOR: Duration = Duration::from_secs(60);

/// A goodbye without a word of draining is believed this long after it, if no disturbance of our
/// own link was noticed meanwhile (mDNS withdraws all nodes then).
const BELIEVED_AFTER: Duration = Duration::from_secs(3);

/// What a claim needs of the table to take something in.
pub(super) struct Context<'a> {
    pub(super) ledger: &'a mut EventLog,
    pub(super) limits: &'a Thresholds,
    /// Whether the table has room for one more node.
    pub(super) room: bool,
    /// What the nodes offer that had a share of the requests when this began.
    pub(super) usable: &'a [Arc<Offer>],
    pub(super) now: Duration,
}

impl Context<'_> {
    /// How many nodes of the service of this offer had a share of the requests.
    pub(super) fn usable(&self, offer: &Offer) -> usize {
        self.usable.iter().filter(|other| other.service == offer.service).count()
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: NodeId,
    pub(super) foreign: bool,
    pub(super) source: Source,
    /// The instance label that proposed it first, made printable: a foreign device's name.
    pub(super) label: String,
    /// When it was first proposed.
    pub(super) added: Duration,
    pub(super) ways: Vec<Address>,
    /// In the order in which they came: the first goes by the id itself. Empty: to be dropped.
    pub(super) holders: Vec<Machine>,
    /// What was advertised under this id, by the start that it was said of.
    offers: Offers,
}

impl Entry {
    pub(super) fn new(
        id: NodeId,
        foreign: bool,
        source: Source,
        label: &str,
        now: Duration,
    ) -> Self {
        let label = if label.is_empty() { id.to_string() } else { printable(label, 63) };
        Self {
            id,
            foreign,
            source,
            label,
            added: now,
            ways: Vec::new(),
            holders: Vec::new(),
            offers: Offers::default(),
        }
    }

    /// Whether nobody has proved to hold it yet.
    pub(super) fn is_candidate(&self) -> bool {
        !self.holders.iter().any(|holder| holder.proven)
    }

    pub(super) fn way(&self, key: u64) -> Option<&Address> {
        self.ways.iter().find(|way| way.key == key)
    }

    pub(super) fn way_mut(&mut self, key: u64) -> Option<&mut Address> {
        self.ways.iter_mut().find(|way| way.key == key)
    }

    /// Whether a proven node is reached by this way now.
    pub(super) fn is_active(&self, key: u64) -> bool {
        self.holders.iter().any(|holder| holder.proven && holder.active == key)
    }

    /// Where this id answers now, so that nobody else can be there. A foreign device holds an
    /// address only as long as it is advertised there.
    pub(super) fn answering(&self) -> impl Iterator<Item = SocketAddr> {
        let held =
            |way: &&Address| way.health().answers() && (!self.foreign || way.instance.is_some());
        self.ways.iter().filter(held).map(|way| way.target.endpoint)
    }

    /// Gives up these ways: somebody else answers there. A node that was reached by one goes on by
    /// another that has answered, if there is one.
    pub(super) fn give_up(&mut self, keys: &[u64], cx: &mut Context<'_>) {
        let (lost, kept) = std::mem::take(&mut self.ways)
            .into_iter()
            .partition::<Vec<Address>, _>(|way| keys.contains(&way.key));
        self.ways = kept;
        for at in 0..self.holders.len() {
            let Machine { active, boot, proven, .. } = self.holders[at];
            let known = self.ways.iter().filter(|way| way.is_of(boot));
            let best = known.max_by_key(|way| way.merit()).map(|way| way.key);
            if let Some(key) = best.filter(|_| proven && keys.contains(&active)) {
                self.hand_over(at, key, boot, cx);
            }
        }
        self.holders.retain(|holder| {
            let Some(way) = lost.iter().find(|way| way.key == holder.active) else { return true };
            if holder.proven {
                let detail = "another node answers there now";
                cx.ledger.tell(EventKind::Forgotten, holder, Some(way.target.endpoint), detail);
            }
            false
        });
        cx.ledger.changed = true;
        self.settle(cx);
    }

    /// A source's word: these ways are advertised. It adds ways and asks known ones; it changes
    /// no way that has answered.
    pub(super) fn sighted(&mut self, sighting: &Sighting, cx: &mut Context<'_>) {
        let targets: Vec<Target> = targets(sighting, self.foreign);
        for target in &targets {
            let known = self.ways.iter().position(|way| way.target == *target);
            let Some(at) = known.or_else(|| self.admit(target, cx)) else { continue };
            let way = &mut self.ways[at];
            way.hostname = hostname(sighting);
            // Whoever advertised it first is who may withdraw it.
            way.instance.get_or_insert_with(|| sighting.instance.clone());
            let (key, boot) = (way.key, way.answer.map(|answer| answer.boot));
            if !way.health().answers() {
                way.ask(cx.now);
            }
            for holder in self.holders.iter_mut().filter(|h| h.is_reached_by(key, boot)) {
                holder.farewell = None;
            }
        }
        for way in &mut self.ways {
            let ours = way.instance.as_deref() == Some(sighting.instance.as_str());
            if ours && !targets.contains(&way.target) {
                way.instance = None;
                way.ask(cx.now);
            }
        }
        let Advertisement { boot, offer, .. } = &sighting.advertisement;
        self.offers.heard(*boot, offer, &self.holders);
        self.drop_unproven_absent();
        self.settle(cx);
    }

    /// Makes room for a new way, if there is any to make, and enters it; says where.
    fn admit(&mut self, target: &Target, cx: &mut Context<'_>) -> Option<usize> {
        if self.ways.len() >= ENDPOINTS_MAX {
            let idle = |way: &Address| way.may_be_replaced() && !self.is_active(way.key);
            let oldest = self.ways.iter().position(idle)?;
            self.ways.remove(oldest);
        }
        self.ways.push(Address::new(cx.ledger.number(), target.clone(), cx.now));
        Some(self.ways.len() - 1)
    }

    /// A source's word: it no longer hears of this instance. Asks the node itself. True if a
    /// proven node was meant.
    pub(super) fn withdrawn(
        &mut self,
        instance: &str,
        doubted: bool,
        cx: &mut Context<'_>,
    ) -> bool {
        let mut meant = false;
        for at in 0..self.ways.len() {
            if self.ways[at].instance.as_deref() != Some(instance) {
                continue;
            }
            self.ways[at].instance = None;
            self.ways[at].ask(cx.now);
            let (key, boot) = (self.ways[at].key, self.ways[at].answer.map(|answer| answer.boot));
            for holder in &mut self.holders {
                if !holder.proven || !holder.is_reached_by(key, boot) {
                    continue;
                }
                meant = true;
                // One that was already gone has only expired: that is no goodbye.
                if holder.shown.answers() {
                    holder.farewell = Some(Goodbye { at: cx.now, doubted });
                    cx.ledger.changed = true;
                }
            }
        }
        self.drop_unproven_absent();
        self.settle(cx);
        meant
    }

    fn drop_unproven_absent(&mut self) {
        let holders = &self.holders;
        self.ways.retain(|way| {
            let active = holders.iter().any(|holder| holder.proven && holder.active == way.key);
            way.instance.is_some() || way.answer.is_some() || active
        });
    }

    /// Takes in what a probe of a way said.
    pub(super) fn probed(
        &mut self,
        key: u64,
        asked: Duration,
        result: &ProbeResult,
        cx: &mut Context<'_>,
    ) {
        let active = self.is_active(key);
        let (id, foreign) = (self.id.clone(), self.foreign);
        let Some(way) = self.way_mut(key) else { return };
        if asked < way.record.since() {
            // It says how it was before what is known now.
            way.plan(active, cx.limits, cx.now);
            return way.ask(cx.now);
        }
        let verdict = judge(result, way.target.asked(), &id, foreign);
        let before = (way.why.clone(), way.last_resort);
        way.ended(&verdict, asked, cx.limits, cx.now);
        // Told when a second try has failed too: a node that just starts may refuse the first.
        let faulty = way.answer.is_none() && way.record.failed() == 2;
        let endpoint = way.target.endpoint;
        cx.ledger.changed |= before != (way.why.clone(), way.last_resort);
        if faulty || (verdict.stranger && !active) {
            cx.ledger.fault(self.label.clone(), endpoint, &verdict.why, cx.now);
        }
        if verdict.stranger && !active {
            self.ways.retain(|way| way.key != key);
        } else if let Some(proof) = verdict.proof {
            self.seat(key, &proof, cx);
            self.hear(&proof, verdict.outcome, asked, cx);
        } else if active {
            self.ask_stand_bys(key, cx.now);
        }
        self.settle(cx);
        let active = self.is_active(key);
        if let Some(way) = self.way_mut(key) {
            way.plan(active, cx.limits, cx.now);
        }
    }

    /// Traffic's word about the way in use.
    pub(super) fn observed(&mut self, key: u64, outcome: Outcome, cx: &mut Context<'_>) {
        // A foreign device may take longer to answer a probe than a request may be made to wait.
        let foreign = self.foreign;
        let Some(way) = self.way_mut(key) else { return };
        let moves = match outcome {
            Outcome::Answered | Outcome::Erring => {
                if way.health() == Health::Suspect {
                    way.ask(cx.now);
                }
                way.record.record(outcome, cx.limits, cx.now);
                return;
            }
            Outcome::Draining => way.health() != Health::Draining,
            // What is laid over it is decided already: see `standing`.
            Outcome::Breaking => false,
            Outcome::Refused => way.health().answers(),
            Outcome::Silent if !foreign => {
                way.record.doubt();
                false
            }
            _ => false,
        };
        way.ask(cx.now);
        if moves {
            let draining = outcome == Outcome::Draining;
            way.record.record(outcome, cx.limits, cx.now);
            way.last_resort = draining;
            way.why = if draining {
                "says that it is draining".to_owned()
            } else {
                format!("connection refused on {}", way.target.endpoint)
            };
            self.ask_stand_bys(key, cx.now);
            self.settle(cx);
        }
    }

    /// Time has passed: trials, growing shares and ejections that are over.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) {
        for holder in &mut self.holders {
            let way = self.ways.iter().find(|way| way.key == holder.active);
            let proved = way.is_some_and(|way| way.record.good() >= cx.limits.rise);
            let usable = cx.usable(&holder.offer);
            cx.ledger.changed |= holder.standing.advance(holder.shown, proved, usable, cx.now);
        }
        self.settle(cx);
    }

    /// Asks the other ways that have answered once. Not those in use by a clone, which would ask
    /// this one in turn.
    pub(super) fn ask_stand_bys(&mut self, key: u64, now: Duration) {
        let holders = &self.holders;
        let stand_by = |way: &&mut Address| {
            let used = holders.iter().any(|holder| holder.active == way.key);
            way.key != key && way.answer.is_some() && !used
        };
        self.ways.iter_mut().filter(stand_by).for_each(|way| way.ask(now));
    }

    /// Brings the holders in line with their ways: who has lost its way takes a stand-by, and what
    /// changed is told.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        if self.holders.is_empty() && !self.ways.is_empty() {
            let name = self.candidate_name();
            self.holders.push(Machine::new(name, self.ways[0].key, cx));
        }
        for at in 0..self.holders.len() {
            if let Some(key) = self.replacement(&self.holders[at]) {
                let boot = self.holders[at].boot;
                self.hand_over(at, key, boot, cx);
            }
        }
        for holder in &mut self.holders {
            let offer = self.offers.of(holder).filter(|offer| **offer != holder.offer);
            if let Some(offer) = offer {
                holder.offer = Arc::clone(offer);
                cx.ledger.changed = true;
            }
        }
        let (ways, foreign) = (&self.ways, self.foreign);
        let unheld = |way: &Address, holders: &[Machine]| {
            !holders.iter().any(|h| h.is_reached_by(way.key, way.answer.map(|a| a.boot)))
        };
        let free = ways.iter().any(|way| way.instance.is_some() && unheld(way, &self.holders));
        self.holders.retain_mut(|holder| holder.refresh(ways, free, foreign, cx));
    }

    /// Drops what has had its time.
    pub(super) fn tidy(&mut self, cx: &mut Context<'_>) {
        let mut gone = Vec::new();
        self.holders.retain(|holder| {
            let Some(what) = parting(holder, cx.now) else { return true };
            gone.push((holder.active, holder.boot));
            cx.ledger.tell(what, holder, None, "");
            cx.ledger.changed = true;
            false
        });
        let holders = &self.holders;
        self.ways.retain(|way| {
            let left = gone.iter().any(|(key, boot)| way.key == *key || way.is_of(*boot));
            let active = holders.iter().any(|h| h.proven && h.active == way.key);
            let known =
                way.instance.is_some() && holders.iter().any(|h| h.proven && way.is_of(h.boot));
            let silent = !way.health().answers() && cx.now >= way.record.since() + CANDIDATE_FOR;
            let stale = silent && !known;
            active || !(stale || (left && way.instance.is_none()))
        });
        if !gone.is_empty() || self.holders.iter().any(|h| self.way(h.active).is_none()) {
            self.settle(cx);
        }
    }

    fn candidate_name(&self) -> String {
        match self.ways.first().filter(|_| !self.foreign) {
            Some(way) => super::names::suffixed(&way.hostname, self.id.short()),
            None => self.label.clone(),
        }
    }
}

/// Whether a node leaves the list now, and how that is to be called.
fn parting(holder: &Machine, now: Duration) -> Option<EventKind> {
    if !holder.proven || holder.shown.answers() {
        return None;
    }
    let believed = |farewell: &Goodbye| !farewell.doubted && now >= farewell.at + BELIEVED_AFTER;
    let left = holder.has_taken_leave() || holder.farewell.as_ref().is_some_and(believed);
    let absent = !holder.advertised && now >= holder.since.max(holder.absent_since) + FORGET_AFTER;
    match (holder.shown, left, absent) {
        (Health::Down, true, _) => Some(EventKind::Left),
        (_, _, true) => Some(EventKind::Forgotten),
        _ => None,
    }
}

fn targets(sighting: &Sighting, foreign: bool) -> Vec<Target> {
    let advertisement = &sighting.advertisement;
    let path = match &advertisement.health {
        Some(path) if foreign => path.clone(),
        None if foreign => "/".to_owned(),
        _ => HEALTH_PATH.to_owned(),
    };
    let target = |endpoint: &SocketAddr| Target {
        endpoint: *endpoint,
        health_port: advertisement.ctl.filter(|_| !foreign).unwrap_or(endpoint.port()),
        path: path.clone(),
    };
    let mut targets: Vec<Target> = Vec::with_capacity(ENDPOINTS_MAX);
    for target in sighting.endpoints.iter().take(ENDPOINTS_MAX).map(target) {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

fn hostname(sighting: &Sighting) -> String {
    let said = sighting.advertisement.hostname.as_ref();
    let said = said.filter(|_| sighting.advertisement.id.is_some());
    printable(said.unwrap_or(&sighting.target), 63)
}
