//! Everything that goes under one id: the ways that were advertised for it, and who holds it.
//!
//! One machine holds an id, as a rule, over any of its ways. Two do while clones of one card
//! answer at once; then each is a [`Holder`] with a way of its own. An id that nobody has proved
//! to hold yet is a candidate: it has one holder that is not `proven`.

use std::time::Duration;

use super::event::{Ledger, What};
use super::holder::{Farewell, Holder};
use super::probe::{HEALTH_PATH, ProbeResult, Proof, judge};
use super::way::{Target, Way};
use crate::config::{ENDPOINTS_MAX, FORGET_AFTER};
use crate::health::{Health, Outcome, Thresholds};
use crate::node::{Boot, NodeId, Sighting, Source, printable};

/// A way that does not answer, and that no node is known by, is dropped after this long. Its
/// source proposes it again if it is still there.
const CANDIDATE_FOR: Duration = Duration::from_secs(60);

/// A goodbye without a word of draining is believed this long after it, if no disturbance of our
/// own link was noticed meanwhile (mDNS withdraws all nodes then).
const BELIEVED_AFTER: Duration = Duration::from_secs(3);

/// What a claim needs of the table to take something in.
pub(super) struct Context<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) limits: &'a Thresholds,
    /// Whether the table has room for one more node.
    pub(super) room: bool,
    pub(super) now: Duration,
}

#[derive(Debug)]
pub(super) struct Claim {
    pub(super) id: NodeId,
    pub(super) foreign: bool,
    pub(super) source: Source,
    /// When it was first proposed.
    pub(super) added: Duration,
    pub(super) ways: Vec<Way>,
    /// In the order in which they came: the first goes by the id itself. Empty: to be dropped.
    pub(super) holders: Vec<Holder>,
}

impl Claim {
    pub(super) fn new(id: NodeId, foreign: bool, source: Source, now: Duration) -> Self {
        Self { id, foreign, source, added: now, ways: Vec::new(), holders: Vec::new() }
    }

    /// Whether nobody has proved to hold it yet.
    pub(super) fn is_candidate(&self) -> bool {
        !self.holders.iter().any(|holder| holder.proven)
    }

    pub(super) fn way(&self, key: u64) -> Option<&Way> {
        self.ways.iter().find(|way| way.key == key)
    }

    pub(super) fn way_mut(&mut self, key: u64) -> Option<&mut Way> {
        self.ways.iter_mut().find(|way| way.key == key)
    }

    /// Whether a proven node is reached by this way now.
    pub(super) fn is_active(&self, key: u64) -> bool {
        self.holders.iter().any(|holder| holder.proven && holder.active == key)
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
            way.instance = Some(sighting.instance.clone());
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
        self.drop_unproven_absent();
        self.settle(cx);
    }

    /// Makes room for a new way, if there is any to make, and enters it; says where.
    fn admit(&mut self, target: &Target, cx: &mut Context<'_>) -> Option<usize> {
        if self.ways.len() >= ENDPOINTS_MAX {
            let idle = |way: &Way| way.may_be_replaced() && !self.is_active(way.key);
            let oldest = self.ways.iter().position(idle)?;
            self.ways.remove(oldest);
        }
        self.ways.push(Way::new(cx.ledger.number(), target.clone(), cx.now));
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
                if holder.shown.answers() || holder.drained {
                    holder.farewell = Some(Farewell { at: cx.now, doubted });
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
        cx.ledger.changed |= before != (way.why.clone(), way.last_resort);
        if verdict.stranger && !active {
            cx.ledger.refuse(self.label(key), &verdict.why, cx.now);
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
        let Some(way) = self.way_mut(key) else { return };
        let moves = match outcome {
            Outcome::Answered => {
                way.record.record(outcome, cx.limits, cx.now);
                return;
            }
            Outcome::Draining => way.health() != Health::Draining,
            Outcome::Refused => way.health().answers(),
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

    fn ask_stand_bys(&mut self, key: u64, now: Duration) {
        for way in self.ways.iter_mut().filter(|way| way.key != key && way.answer.is_some()) {
            way.ask(now);
        }
    }

    /// Finds the holder for a way that has just proved who is there.
    fn seat(&mut self, key: u64, proof: &Proof, cx: &mut Context<'_>) {
        let of_boot = |holder: &Holder| holder.proven && holder.boot == proof.boot;
        if let Some(at) = self.holders.iter().position(|h| h.proven && h.active == key) {
            let other = self.holders.iter().position(|h| of_boot(h) && h.active != key);
            match other {
                // Another holder turned out to be this very machine.
                Some(_) => {
                    self.holders.remove(at);
                    cx.ledger.changed = true;
                }
                None if self.holders[at].boot != proof.boot => self.restart(at, proof.boot, cx),
                None => {}
            }
        } else if self.holders.iter().any(of_boot) {
            // One more way to a known machine: a stand-by.
            if let Some(way) = self.way_mut(key) {
                way.disputed = None;
            }
        } else if let Some(at) = self.holders.iter().position(|h| self.gives_way(h, key)) {
            self.hand_over(at, key, proof.boot, cx);
        } else {
            self.dispute(key, proof, cx);
        }
    }

    fn restart(&mut self, at: usize, boot: Option<Boot>, cx: &mut Context<'_>) {
        let holder = &mut self.holders[at];
        let endpoint = self.ways.iter().find(|way| way.key == holder.active);
        let endpoint = endpoint.map(|way| way.target.endpoint);
        cx.ledger.tell(What::Restarted, holder.known_as(), endpoint, "");
        let active = holder.active;
        holder.renew(boot, active, cx);
        holder.since = cx.now;
        self.ask_stand_bys(active, cx.now);
    }

    /// Whether a holder leaves its seat to whoever answers by this way. One that serves does not.
    fn gives_way(&self, holder: &Holder, key: u64) -> bool {
        let merit = |key| self.way(key).map(Way::merit);
        !holder.proven || merit(key) > merit(holder.active)
    }

    fn hand_over(&mut self, at: usize, key: u64, boot: Option<Boot>, cx: &mut Context<'_>) {
        let Some(endpoint) = self.way(key).map(|way| way.target.endpoint) else { return };
        let holder = &mut self.holders[at];
        if holder.proven {
            cx.ledger.tell(What::Moved, holder.known_as(), Some(endpoint), "");
        } else if !cx.room {
            let label = self.label(key);
            cx.ledger.refuse(label, "the table of nodes is full", cx.now);
            return self.ways.clear();
        }
        holder.renew(boot, key, cx);
        if let Some(way) = self.way_mut(key) {
            // It was asked as seldom as a stand-by is.
            way.ask(cx.now);
        }
    }

    /// A second machine answers as this id while the first one goes on to answer. That two are
    /// there is certain only once they have answered in turn: the newcomer, then the holders, then
    /// the newcomer again; a restart seen over two ways cannot look like that.
    fn dispute(&mut self, key: u64, proof: &Proof, cx: &mut Context<'_>) {
        let Some(way) = self.way_mut(key) else { return };
        let (Some(answer), Health::Up) = (way.answer, way.health()) else { return };
        let first = *way.disputed.get_or_insert(cx.now);
        let endpoint = way.target.endpoint;
        let in_turn = |holder: &Holder| {
            let held = self.way(holder.active).and_then(|way| way.answer);
            held.is_some_and(|held| held.asked >= first && held.received <= answer.asked)
        };
        if !self.holders.iter().all(in_turn) {
            let actives: Vec<u64> = self.holders.iter().map(|holder| holder.active).collect();
            let pending = |way: &&mut Way| {
                actives.contains(&way.key) && way.answer.is_none_or(|held| held.asked < first)
            };
            self.ways.iter_mut().filter(pending).for_each(|way| way.ask(cx.now));
        } else if cx.room {
            let mut holder = Holder::new(self.holders[0].wanted.clone(), key, cx);
            let detail = format!(
                "also {}, id {}: a copied PICLUSTER_ID or one hardware id twice; give each machine its own",
                self.holders[0].known_as(),
                self.id
            );
            cx.ledger.tell(What::Cloned, &holder.wanted, Some(endpoint), detail);
            holder.renew(proof.boot, key, cx);
            self.holders.push(holder);
            if let Some(way) = self.way_mut(key) {
                way.disputed = None;
            }
        }
    }

    /// What the machine itself says: its name, and whether it is about to go.
    fn hear(&mut self, proof: &Proof, outcome: Outcome, asked: Duration, cx: &mut Context<'_>) {
        let Some(holder) = self.holders.iter_mut().find(|h| h.proven && h.boot == proof.boot)
        else {
            return;
        };
        if let Some(name) = proof.name.as_ref().filter(|name| **name != holder.wanted) {
            holder.wanted.clone_from(name);
            cx.ledger.changed = true;
        }
        match outcome {
            Outcome::Draining => holder.drained = true,
            Outcome::Healthy => {
                holder.drained = false;
                if holder.farewell.take_if(|farewell| asked >= farewell.at).is_some() {
                    let detail = "forged, or the advertisement was lost: it stays";
                    cx.ledger.tell(What::FalseGoodbye, holder.known_as(), None, detail);
                }
            }
            _ => {}
        }
    }

    /// Brings the holders in line with their ways: who has lost its way takes a stand-by, and what
    /// changed is told.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        if self.holders.is_empty() && !self.ways.is_empty() {
            let name = self.candidate_name();
            self.holders.push(Holder::new(name, self.ways[0].key, cx));
        }
        for at in 0..self.holders.len() {
            if let Some(key) = self.replacement(&self.holders[at]) {
                let boot = self.holders[at].boot;
                self.hand_over(at, key, boot, cx);
            }
        }
        let (ways, foreign) = (&self.ways, self.foreign);
        let unheld = |way: &Way, holders: &[Holder]| {
            !holders.iter().any(|h| h.is_reached_by(way.key, way.answer.map(|a| a.boot)))
        };
        let free = ways.iter().any(|way| way.instance.is_some() && unheld(way, &self.holders));
        self.holders.retain_mut(|holder| holder.refresh(ways, free, foreign, cx));
    }

    /// The stand-by that a holder should be reached by instead. Its first failure
    /// is enough if the active way is no longer advertised: the node has moved.
    fn replacement(&self, holder: &Holder) -> Option<u64> {
        let active = self.way(holder.active)?;
        let moved = active.instance.is_none() && active.record.failed() > 0;
        let since = active.record.failing_since().unwrap_or(active.record.since());
        let better = |way: &&Way| {
            let fresh = way.answer.is_some_and(|answer| answer.asked >= since);
            let whole = moved && way.instance.is_some() && way.health() == Health::Up;
            way.key != active.key && fresh && (way.merit() > active.merit() || whole)
        };
        let mut stand_bys = self.ways.iter().filter(|way| way.is_of(holder.boot));
        stand_bys.find(|way| holder.proven && better(way)).map(|way| way.key)
    }

    /// Drops what has had its time.
    pub(super) fn tidy(&mut self, cx: &mut Context<'_>) {
        let mut gone = Vec::new();
        self.holders.retain(|holder| {
            let Some(what) = parting(holder, cx.now) else { return true };
            gone.push((holder.active, holder.boot));
            cx.ledger.tell(what, holder.known_as(), None, "");
            cx.ledger.changed = true;
            false
        });
        let holders = &self.holders;
        self.ways.retain(|way| {
            let left = gone.iter().any(|(key, boot)| way.key == *key || way.is_of(*boot));
            let active = holders.iter().any(|h| h.proven && h.active == way.key);
            let stale = !way.health().answers() && cx.now >= way.record.since() + CANDIDATE_FOR;
            active || !(stale || (left && way.instance.is_none()))
        });
        if !gone.is_empty() || self.holders.iter().any(|h| self.way(h.active).is_none()) {
            self.settle(cx);
        }
    }

    fn candidate_name(&self) -> String {
        let way = &self.ways[0];
        match &way.instance {
            Some(instance) if self.foreign => printable(instance, 63),
            _ => super::names::suffixed(&printable(&way.hostname, 63), self.id.short()),
        }
    }

    fn label(&self, key: u64) -> String {
        let instance = self.way(key).and_then(|way| way.instance.as_deref());
        printable(instance.unwrap_or(self.id.as_str()), 63)
    }
}

/// Whether a node leaves the list now, and how that is to be called.
fn parting(holder: &Holder, now: Duration) -> Option<What> {
    if !holder.proven || holder.shown.answers() {
        return None;
    }
    let left = holder.farewell.as_ref().is_some_and(|farewell| {
        holder.drained || (!farewell.doubted && now >= farewell.at + BELIEVED_AFTER)
    });
    let absent = !holder.advertised && now >= holder.since.max(holder.absent_since) + FORGET_AFTER;
    match (holder.shown, left, absent) {
        (Health::Down, true, _) => Some(What::Left),
        (_, _, true) => Some(What::Forgotten),
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
    let target = |endpoint: &std::net::SocketAddr| Target {
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
