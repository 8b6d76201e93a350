//! Everything that goes under one id: the ways that were advertised for it, and who holds it.
//!
//! One machine holds an id, as a rule, over any of its ways. Two do while clones of one card
//! answer at once; then each is a [`Machine`] with a way of its own. An id that nobody has proved
//! to hold yet is a candidate: it has one machine that is not `proven`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::address::{Address, Target};
use super::event::{EventKind, EventLog};
use super::machine::{Goodbye, Machine};
use super::offers::Offers;
use super::probe::{HEALTH_PATH, ProbeResult, judge};
use crate::cluster::config::{ENDPOINTS_MAX, FORGET_AFTER};
use crate::cluster::health::{Health, Outcome, Thresholds};
use crate::cluster::node::{Advertisement, NodeId, Offer, Sighting, Source, printable};

/// A way that does not answer is dropped after this long, unless a node is known by it and still
/// advertised there. Its source proposes it again if it is still there.
const CANDIDATE_FOR: Duration = Duration::from_secs(60);

/// A goodbye without a word of draining is believed this long after it, if no disturbance of our
/// own link was noticed meanwhile (mDNS withdraws all nodes then).
const BELIEVED_AFTER: Duration = Duration::from_secs(3);

/// What a entry needs of the table to take something in.
pub(super) struct Context<'a> {
    pub(super) log: &'a mut EventLog,
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
    pub(super) addresses: Vec<Address>,
    /// In the order in which they came: the first goes by the id itself. Empty: to be dropped.
    pub(super) machines: Vec<Machine>,
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
            addresses: Vec::new(),
            machines: Vec::new(),
            offers: Offers::default(),
        }
    }

    /// Whether nobody has proved to hold it yet.
    pub(super) fn is_candidate(&self) -> bool {
        !self.machines.iter().any(|machine| machine.proven)
    }

    pub(super) fn address(&self, key: u64) -> Option<&Address> {
        self.addresses.iter().find(|address| address.key == key)
    }

    pub(super) fn address_mut(&mut self, key: u64) -> Option<&mut Address> {
        self.addresses.iter_mut().find(|address| address.key == key)
    }

    /// Whether a proven node is reached by this way now.
    pub(super) fn is_active(&self, key: u64) -> bool {
        self.machines.iter().any(|machine| machine.proven && machine.active == key)
    }

    /// Where this id answers now, so that nobody else can be there. A foreign device holds an
    /// address only as long as it is advertised there.
    pub(super) fn answering(&self) -> impl Iterator<Item = SocketAddr> {
        let held = |address: &&Address| {
            address.health().answers() && (!self.foreign || address.instance.is_some())
        };
        self.addresses.iter().filter(held).map(|address| address.target.endpoint)
    }

    /// Gives up these ways: somebody else answers there. A node that was reached by one goes on by
    /// another that has answered, if there is one.
    pub(super) fn give_up(&mut self, keys: &[u64], cx: &mut Context<'_>) {
        let (lost, kept) = std::mem::take(&mut self.addresses)
            .into_iter()
            .partition::<Vec<Address>, _>(|address| keys.contains(&address.key));
        self.addresses = kept;
        for at in 0..self.machines.len() {
            let Machine { active, boot, proven, .. } = self.machines[at];
            let known = self.addresses.iter().filter(|address| address.is_of(boot));
            let best = known.max_by_key(|address| address.merit()).map(|address| address.key);
            if let Some(key) = best.filter(|_| proven && keys.contains(&active)) {
                self.hand_over(at, key, boot, cx);
            }
        }
        self.machines.retain(|machine| {
            let Some(address) = lost.iter().find(|address| address.key == machine.active) else {
                return true;
            };
            if machine.proven {
                let detail = "another node answers there now";
                cx.log.tell(EventKind::Forgotten, machine, Some(address.target.endpoint), detail);
            }
            false
        });
        cx.log.changed = true;
        self.settle(cx);
    }

    /// A source's word: these ways are advertised. It adds ways and asks known ones; it changes
    /// no way that has answered.
    pub(super) fn sighted(&mut self, sighting: &Sighting, cx: &mut Context<'_>) {
        let targets: Vec<Target> = targets(sighting, self.foreign);
        for target in &targets {
            let known = self.addresses.iter().position(|address| address.target == *target);
            let Some(at) = known.or_else(|| self.admit(target, cx)) else { continue };
            let address = &mut self.addresses[at];
            address.hostname = hostname(sighting);
            // Whoever advertised it first is who may withdraw it.
            address.instance.get_or_insert_with(|| sighting.instance.clone());
            let (key, boot) = (address.key, address.answer.map(|answer| answer.boot));
            if !address.health().answers() {
                address.ask(cx.now);
            }
            for machine in self.machines.iter_mut().filter(|h| h.is_reached_by(key, boot)) {
                machine.goodbye = None;
            }
        }
        for address in &mut self.addresses {
            let ours = address.instance.as_deref() == Some(sighting.instance.as_str());
            if ours && !targets.contains(&address.target) {
                address.instance = None;
                address.ask(cx.now);
            }
        }
        let Advertisement { boot, offer, .. } = &sighting.advertisement;
        self.offers.heard(*boot, offer, &self.machines);
        self.drop_unproven_absent();
        self.settle(cx);
    }

    /// Makes room for a new way, if there is any to make, and enters it; says where.
    fn admit(&mut self, target: &Target, cx: &mut Context<'_>) -> Option<usize> {
        if self.addresses.len() >= ENDPOINTS_MAX {
            let idle =
                |address: &Address| address.may_be_replaced() && !self.is_active(address.key);
            let oldest = self.addresses.iter().position(idle)?;
            self.addresses.remove(oldest);
        }
        self.addresses.push(Address::new(cx.log.number(), target.clone(), cx.now));
        Some(self.addresses.len() - 1)
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
        for at in 0..self.addresses.len() {
            if self.addresses[at].instance.as_deref() != Some(instance) {
                continue;
            }
            self.addresses[at].instance = None;
            self.addresses[at].ask(cx.now);
            let (key, boot) =
                (self.addresses[at].key, self.addresses[at].answer.map(|answer| answer.boot));
            for machine in &mut self.machines {
                if !machine.proven || !machine.is_reached_by(key, boot) {
                    continue;
                }
                meant = true;
                // One that was already gone has only expired: that is no goodbye.
                if machine.shown.answers() {
                    machine.goodbye = Some(Goodbye { at: cx.now, doubted });
                    cx.log.changed = true;
                }
            }
        }
        self.drop_unproven_absent();
        self.settle(cx);
        meant
    }

    fn drop_unproven_absent(&mut self) {
        let machines = &self.machines;
        self.addresses.retain(|address| {
            let active =
                machines.iter().any(|machine| machine.proven && machine.active == address.key);
            address.instance.is_some() || address.answer.is_some() || active
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
        let Some(address) = self.address_mut(key) else { return };
        if asked < address.record.since() {
            // It says how it was before what is known now.
            address.plan(active, cx.limits, cx.now);
            return address.ask(cx.now);
        }
        let verdict = judge(result, address.target.asked(), &id, foreign);
        let before = (address.why.clone(), address.last_resort);
        address.ended(&verdict, asked, cx.limits, cx.now);
        // Told when a second try has failed too: a node that just starts may refuse the first.
        let faulty = address.answer.is_none() && address.record.failed() == 2;
        let endpoint = address.target.endpoint;
        cx.log.changed |= before != (address.why.clone(), address.last_resort);
        if faulty || (verdict.stranger && !active) {
            cx.log.fault(self.label.clone(), endpoint, &verdict.why, cx.now);
        }
        if verdict.stranger && !active {
            self.addresses.retain(|address| address.key != key);
        } else if let Some(proof) = verdict.proof {
            self.seat(key, &proof, cx);
            self.hear(&proof, verdict.outcome, asked, cx);
        } else if active {
            self.ask_stand_bys(key, cx.now);
        }
        self.settle(cx);
        let active = self.is_active(key);
        if let Some(address) = self.address_mut(key) {
            address.plan(active, cx.limits, cx.now);
        }
    }

    /// Traffic's word about the way in use.
    pub(super) fn observed(&mut self, key: u64, outcome: Outcome, cx: &mut Context<'_>) {
        // A foreign device may take longer to answer a probe than a request may be made to wait.
        let foreign = self.foreign;
        let Some(address) = self.address_mut(key) else { return };
        let moves = match outcome {
            Outcome::Answered | Outcome::Erring => {
                if address.health() == Health::Suspect {
                    address.ask(cx.now);
                }
                address.record.record(outcome, cx.limits, cx.now);
                return;
            }
            Outcome::Draining => address.health() != Health::Draining,
            // What is laid over it is decided already: see `outlier`.
            Outcome::Breaking => false,
            Outcome::Refused => address.health().answers(),
            Outcome::Silent if !foreign => {
                address.record.doubt();
                false
            }
            _ => false,
        };
        address.ask(cx.now);
        if moves {
            let draining = outcome == Outcome::Draining;
            address.record.record(outcome, cx.limits, cx.now);
            address.last_resort = draining;
            address.why = if draining {
                "says that it is draining".to_owned()
            } else {
                format!("connection refused on {}", address.target.endpoint)
            };
            self.ask_stand_bys(key, cx.now);
            self.settle(cx);
        }
    }

    /// Time has passed: trials, growing shares and ejections that are over.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) {
        for machine in &mut self.machines {
            let address = self.addresses.iter().find(|address| address.key == machine.active);
            let proved = address.is_some_and(|address| address.record.good() >= cx.limits.rise);
            let usable = cx.usable(&machine.offer);
            cx.log.changed |= machine.outlier.advance(machine.shown, proved, usable, cx.now);
        }
        self.settle(cx);
    }

    /// Asks the other ways that have answered once. Not those in use by a clone, which would ask
    /// this one in turn.
    pub(super) fn ask_stand_bys(&mut self, key: u64, now: Duration) {
        let machines = &self.machines;
        let stand_by = |address: &&mut Address| {
            let used = machines.iter().any(|machine| machine.active == address.key);
            address.key != key && address.answer.is_some() && !used
        };
        self.addresses.iter_mut().filter(stand_by).for_each(|address| address.ask(now));
    }

    /// Brings the machines in line with their ways: who has lost its way takes a stand-by, and what
    /// changed is told.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        if self.machines.is_empty() && !self.addresses.is_empty() {
            let name = self.candidate_name();
            self.machines.push(Machine::new(name, self.addresses[0].key, cx));
        }
        for at in 0..self.machines.len() {
            if let Some(key) = self.replacement(&self.machines[at]) {
                let boot = self.machines[at].boot;
                self.hand_over(at, key, boot, cx);
            }
        }
        for machine in &mut self.machines {
            let offer = self.offers.of(machine).filter(|offer| **offer != machine.offer);
            if let Some(offer) = offer {
                machine.offer = Arc::clone(offer);
                cx.log.changed = true;
            }
        }
        let (addresses, foreign) = (&self.addresses, self.foreign);
        let unheld = |address: &Address, machines: &[Machine]| {
            !machines.iter().any(|h| h.is_reached_by(address.key, address.answer.map(|a| a.boot)))
        };
        let free = addresses
            .iter()
            .any(|address| address.instance.is_some() && unheld(address, &self.machines));
        self.machines.retain_mut(|machine| machine.refresh(addresses, free, foreign, cx));
    }

    /// Drops what has had its time.
    pub(super) fn tidy(&mut self, cx: &mut Context<'_>) {
        let mut gone = Vec::new();
        self.machines.retain(|machine| {
            let Some(what) = parting(machine, cx.now) else { return true };
            gone.push((machine.active, machine.boot));
            cx.log.tell(what, machine, None, "");
            cx.log.changed = true;
            false
        });
        let machines = &self.machines;
        self.addresses.retain(|address| {
            let left = gone.iter().any(|(key, boot)| address.key == *key || address.is_of(*boot));
            let active = machines.iter().any(|h| h.proven && h.active == address.key);
            let known = address.instance.is_some()
                && machines.iter().any(|h| h.proven && address.is_of(h.boot));
            let silent =
                !address.health().answers() && cx.now >= address.record.since() + CANDIDATE_FOR;
            let stale = silent && !known;
            active || !(stale || (left && address.instance.is_none()))
        });
        if !gone.is_empty() || self.machines.iter().any(|h| self.address(h.active).is_none()) {
            self.settle(cx);
        }
    }

    fn candidate_name(&self) -> String {
        match self.addresses.first().filter(|_| !self.foreign) {
            Some(address) => super::names::suffixed(&address.hostname, self.id.short()),
            None => self.label.clone(),
        }
    }
}

/// Whether a node leaves the list now, and how that is to be called.
fn parting(machine: &Machine, now: Duration) -> Option<EventKind> {
    if !machine.proven || machine.shown.answers() {
        return None;
    }
    let believed = |goodbye: &Goodbye| !goodbye.doubted && now >= goodbye.at + BELIEVED_AFTER;
    let left = machine.has_taken_leave() || machine.goodbye.as_ref().is_some_and(believed);
    let absent =
        !machine.advertised && now >= machine.since.max(machine.absent_since) + FORGET_AFTER;
    match (machine.shown, left, absent) {
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
