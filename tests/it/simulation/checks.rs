//! The rules that hold after every step, and the rules that hold once the world is quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use picluster::cluster::config::{NODES_MAX, PROBES_MAX};
use picluster::cluster::health::{Health, Outcome};
use picluster::cluster::picker;
use picluster::cluster::pool::{Counters, Member, Pool};
use picluster::discovery::membership::{Event, EventKind, NodeState, ProbeResult};

use super::world::{Machine, State};

/// The longest time for which a silent node may be routed: two probes' intervals with and without a
/// doubt, their timeouts, and the second in which a lost result is noticed, each once.
const FALL_BOUND: Duration = Duration::from_millis(5000);
/// The same time for a foreign device, whose probes may take 2 s each.
const FALL_BOUND_FOREIGN: Duration = Duration::from_millis(10_000);
/// The number of candidates that the view may show.
const STARTING_MAX: usize = 16;

type Key = (SocketAddr, Option<u64>);

/// The remembered properties of one member of the last view.
#[derive(Clone, Debug)]
struct Shown {
    id: String,
    name: String,
    key: Key,
    health: Health,
    epoch: u64,
    /// Its weight in the rotation.
    weight: f64,
    /// True if it is ejected although its probes are good.
    out: bool,
    why: String,
}

impl Shown {
    /// Returns whether it stands for this machine. A foreign device is known by its label alone.
    fn is(&self, machine: &Machine) -> bool {
        let labelled = self.name.starts_with(&machine.instance.replace(' ', "-"));
        self.key.1 == machine.boot() && (machine.id.is_some() || labelled)
    }

    /// Returns whether a probe of its address cannot distinguish it from this machine: whatever answers
    /// there passes for a foreign device.
    /// passes for a foreign device.
    fn may_be(&self, machine: &Machine) -> bool {
        match self.key.1 {
            None => matches!(machine.state, State::Up | State::Draining),
            boot => machine.state == State::Up && boot == machine.boot(),
        }
    }
}

#[derive(Default)]
pub(super) struct Checks {
    shown: Vec<Shown>,
    /// The machines that have ever answered a good probe.
    proved: BTreeSet<Key>,
    /// The owner of each epoch.
    epochs: BTreeMap<u64, Key>,
    /// The counters of every node that was ever shown.
    counters: BTreeMap<*const Counters, Weak<Counters>>,
    /// The counters of the nodes that are shown now.
    live: BTreeSet<*const Counters>,
    /// The time since which a routed member does not answer.
    dead_since: BTreeMap<Key, Duration>,
    /// The machines that were routed and have answered everything since: they must stay routed.
    owed: BTreeSet<Key>,
    /// The machine that was up in each epoch, and the time since which its weight is the same, if
    /// that is known.
    weighed: BTreeMap<u64, Duration>,
    /// The machines that have answered a request of their trial.
    passed: BTreeSet<u64>,
    /// The machines that were ejected for their errors, with the times.
    erred: BTreeMap<u64, Duration>,
}

impl Checks {
    /// A probe's result is about to reach the table. Returns whether it is a good one.
    pub(super) fn answered(&mut self, address: SocketAddr, result: &ProbeResult) -> bool {
        let boot = match result {
            ProbeResult::Node { boot, state: NodeState::Up, .. } => Some(boot.0),
            ProbeResult::Status(0..500) => None,
            _ => return false,
        };
        self.proved.insert((address, boot));
        true
    }

    /// From now on nothing is owed to this machine until it is routed again.
    pub(super) fn excuse(&mut self, machine: &Machine) {
        let boot = machine.boot();
        self.owed
            .retain(|key| !machine.addresses.contains(&key.0) && (boot.is_none() || key.1 != boot));
    }

    /// Takes a new view.
    pub(super) fn take(&mut self, members: &[Member], now: Duration) {
        let ids: BTreeSet<_> = members.iter().map(|member| &member.node.id).collect();
        let names: BTreeSet<_> = members.iter().map(|member| &member.node.name).collect();
        assert_eq!(ids.len(), members.len(), "an id twice: {members:#?}");
        assert_eq!(names.len(), members.len(), "a name twice: {members:#?}");
        let starting = members.iter().filter(|member| member.health == Health::Starting).count();
        assert!(starting <= STARTING_MAX && members.len() <= NODES_MAX + STARTING_MAX);
        let mut live = BTreeSet::new();
        for member in members {
            assert!((1..=63).contains(&member.node.name.len()) && !member.why.is_empty());
            assert!(member.since <= now);
            let key = (member.node.endpoint, member.node.boot.map(|boot| boot.0));
            let routed = member.health == Health::Up;
            assert!(!routed || self.proved.contains(&key), "routed unproved: {member:#?}");
            let first = *self.epochs.entry(member.epoch).or_insert(key);
            assert_eq!(first, key, "an epoch was used again: {member:#?}");
            live.insert(Arc::as_ptr(&member.counters));
            if member.health != Health::Starting {
                let weak = Arc::downgrade(&member.counters);
                self.counters.insert(Arc::as_ptr(&member.counters), weak);
            }
        }
        let new = members.iter().map(shown).collect();
        let before = std::mem::replace(&mut self.shown, new);
        self.live = live;
        self.weights_follow(&before, now);
    }

    /// Takes the pool after the data line has let go of the one before. `idle` means that no
    /// request is under way.
    pub(super) fn published(&mut self, pool: &Pool, idle: bool) {
        let live = &self.live;
        self.counters.retain(|at, weak| {
            let leaked = idle && !live.contains(at) && weak.strong_count() > 0;
            assert!(!leaked, "counters outlived their node");
            live.contains(at) || weak.strong_count() > 0
        });
        // One round of the rotation, whatever the weights are, from wherever it begins.
        let quarters = |member: &Member| match member.weight() {
            0.0 => 4 * usize::from(member.node.offer.weight),
            weight => (weight * 4.0) as usize,
        };
        let round: usize = pool.usable().iter().map(|member| quarters(member)).sum();
        let mut turns: BTreeMap<u64, usize> = BTreeMap::new();
        for _ in 0..round {
            let pick = picker::pick(pool, &[]).expect("some are usable");
            *turns.entry(pick.member().epoch).or_default() += 1;
        }
        for member in pool.usable() {
            assert_eq!(turns.get(&member.epoch), Some(&quarters(member)), "{member:?}");
        }
        let answers = self.shown.iter().any(|m| m.health == Health::Up || m.out);
        assert!(!answers || picker::pick(pool, &[]).is_ok(), "nobody takes requests: {pool:#?}");
    }

    /// A request goes to this member.
    pub(super) fn picked(&self, member: &Member, pool: &Pool) {
        let serves = member.health == Health::Up;
        assert!(serves || (pool.usable().is_empty() && member.last_resort), "{member:?} {pool:#?}");
        let answers = |m: &Arc<Member>| !matches!(m.health, Health::Suspect);
        let better = pool.last_resort().iter().any(answers);
        assert!(member.health != Health::Suspect || !better, "{member:?} {pool:#?}");
    }

    /// Traffic reports this outcome of an epoch.
    pub(super) fn told(&mut self, epoch: u64, outcome: Outcome) {
        if outcome == Outcome::Answered {
            self.passed.insert(epoch);
        }
    }

    /// A node that is back gets its share in steps, and one that was ejected for its errors stays
    /// out for the time that it should.
    fn weights_follow(&mut self, before: &[Shown], now: Duration) {
        let with_share = |m: &&Shown| m.health == Health::Up && m.weight > 0.0;
        for member in &self.shown {
            let Some(old) = before.iter().find(|old| old.epoch == member.epoch) else {
                // It may have moved in the middle of a step.
                if member.health == Health::Up {
                    self.weighed.insert(member.epoch, Duration::ZERO);
                }
                continue;
            };
            let alone = |shown: &[Shown]| {
                !shown.iter().filter(with_share).any(|other| other.epoch != member.epoch)
            };
            let alone = alone(before) || alone(&self.shown);
            let erring = member.out && member.why.starts_with("the last 5 requests ");
            if erring && old.health == Health::Up {
                let out = self.shown.iter().filter(|m| m.out).count();
                let up = self.shown.iter().filter(|m| m.health == Health::Up).count();
                assert!(out * 2 <= out + up, "more than half is out: {:?}", self.shown);
                self.erred.insert(member.epoch, now);
            }
            if member.health != Health::Up {
                continue;
            }
            if let Some(since) = self.erred.remove(&member.epoch) {
                assert!(now >= since + Duration::from_secs(30), "back after {:?}", now - since);
            }
            let known = self.weighed.contains_key(&member.epoch);
            let since = *self.weighed.get(&member.epoch).unwrap_or(&now);
            let right = match (old.health, old.weight, member.weight) {
                (Health::Up, old, new) if old == new => continue,
                (Health::Up, 0.0, 0.25) => self.passed.remove(&member.epoch),
                (Health::Up, 0.0, 1.0) => alone || now >= since + Duration::from_secs(5),
                (Health::Up, old, new) => {
                    (new == old + 0.25 || (new == 1.0 && alone))
                        && now >= since + Duration::from_millis(3333)
                }
                (Health::Ejected | Health::Down, _, new) if known => new == 0.0,
                (Health::Suspect, _, new) => new < 0.5 || alone,
                _ => true,
            };
            assert!(right, "{since:?} {old:?} {member:?}");
            self.weighed.insert(member.epoch, now);
        }
    }

    /// Compares the last view with the truth.
    pub(super) fn after_step(
        &mut self,
        machines: &[Machine],
        unicast: bool,
        in_flight: usize,
        now: Duration,
    ) {
        assert!(in_flight <= PROBES_MAX, "{in_flight} probes at once");
        let routed: BTreeMap<Key, &Shown> =
            self.shown.iter().filter(|m| m.health == Health::Up).map(|m| (m.key, m)).collect();
        self.dead_since.retain(|key, _| routed.contains_key(key));
        for (key, member) in &routed {
            let there = machines.iter().find(|m| unicast && m.addresses.contains(&key.0));
            if there.is_some_and(|m| m.state == State::Up && member.is(m)) {
                self.owed.insert(*key);
            }
            if there.is_some_and(|m| member.may_be(m)) {
                self.dead_since.remove(key);
                continue;
            }
            let since = *self.dead_since.entry(*key).or_insert(now);
            let bound = if key.1.is_some() { FALL_BOUND } else { FALL_BOUND_FOREIGN };
            assert!(
                now <= since + bound,
                "{key:?} is dead since {since:?}, still routed at {now:?}"
            );
        }
        for id in machines.iter().filter_map(|machine| machine.id.as_ref()) {
            let real = machines.iter().filter(|machine| machine.id.as_ref() == Some(id)).count();
            let seated = self.shown.iter().filter(|m| m.id.starts_with(id.as_str())).count();
            assert!(seated <= real, "a clone that is none: {:?}", self.shown);
        }
        for key in &self.owed {
            // A machine with two addresses may be used at either.
            let mates = machines.iter().find(|m| m.addresses.contains(&key.0));
            let kept = |m: &Shown| m.health == Health::Up || m.out;
            let kept = mates.is_some_and(|machine| {
                let at = |m: &Shown| machine.addresses.contains(&m.key.0) && m.key.1 == key.1;
                self.shown.iter().any(|m| at(m) && kept(m))
            });
            assert!(
                kept,
                "{key:?} answers everything and is not routed at {now:?}: {:?}",
                self.shown
            );
        }
    }

    /// An event must carry the name that people see, unless its node is gone by now.
    pub(super) fn are_told_as_shown(&self, events: &[Event]) {
        let parting = |what| matches!(what, EventKind::Left | EventKind::Forgotten);
        let of_candidate = |what| matches!(what, EventKind::Refused | EventKind::Faulty);
        let gone = |name: &str| events.iter().any(|e| parting(e.kind) && e.node == name);
        for event in events.iter().filter(|event| !of_candidate(event.kind)) {
            let shown = self.shown.iter().any(|member| member.name == event.node);
            assert!(shown || gone(&event.node), "{event} {:?}", self.shown);
        }
    }

    /// A machine said goodbye and stopped, and could be probed while it drained.
    pub(super) fn is_gone(&self, machine: &Machine) {
        let of = |m: &&Shown| machine.addresses.contains(&m.key.0) && m.key.1 == machine.boot();
        let there = self.shown.iter().find(of);
        assert!(there.is_none(), "it said goodbye and stopped: {there:?}");
    }

    /// The world was quiet for a while.
    pub(super) fn view_equals_truth(&self, machines: &[Machine]) {
        for machine in machines {
            let of = |m: &&Shown| {
                let proven = m.health != Health::Starting;
                proven && machine.addresses.contains(&m.key.0) && m.key.1 == machine.boot()
            };
            let found: Vec<_> = self.shown.iter().filter(of).collect();
            let health = found.first().map(|member| member.health);
            let cloned =
                machine.id.is_some() && machines.iter().filter(|m| m.id == machine.id).count() > 1;
            let right = match machine.state {
                State::Up => found.len() == 1 && (health == Some(Health::Up) || found[0].out),
                // A clone gets its own place once it serves.
                State::Draining | State::AppDown if cloned && health.is_none() => true,
                State::Draining => health == Some(Health::Draining),
                State::AppDown => health == Some(Health::Down),
                State::Stopped | State::Dark => health.is_none_or(|health| health == Health::Down),
            };
            assert!(right, "{machine:?} is shown as {found:?} among {:?}", self.shown);
        }
        let up = machines.iter().filter(|machine| machine.state == State::Up).count();
        let routed = self.shown.iter().filter(|m| m.health == Health::Up || m.out).count();
        assert_eq!(up, routed, "{machines:?} {:?}", self.shown);
    }

    /// The world was quiet for longer than anything is remembered.
    pub(super) fn only_the_living_are_listed(&self, machines: &[Machine]) {
        self.view_equals_truth(machines);
        let whole = |m: &Shown| m.health != Health::Up || m.weight == 1.0;
        assert!(self.shown.iter().all(|m| !m.out && whole(m)), "{:#?}", self.shown);
        let dead = |state| matches!(state, State::Stopped | State::Dark);
        let seated = |m: &&Machine| {
            let cloned = machines.iter().filter(|other| other.id == m.id).count() > 1;
            !dead(m.state) && (m.state == State::Up || m.id.is_none() || !cloned)
        };
        let least = machines.iter().filter(seated).count();
        let most = machines.iter().filter(|m| !dead(m.state)).count();
        assert!((least..=most).contains(&self.shown.len()), "{machines:?} {:?}", self.shown);
        for machine in machines.iter().filter(|machine| machine.state == State::Up) {
            let Some(id) = &machine.id else { continue };
            let alone =
                machines.iter().filter(|m| m.id == machine.id && !dead(m.state)).count() == 1;
            let plain =
                self.shown.iter().any(|m| m.id == id.as_str() && m.name.starts_with(&machine.name));
            assert!(!alone || plain, "{id} lost its id: {:#?}", self.shown);
        }
    }
}

fn shown(member: &Member) -> Shown {
    Shown {
        id: member.node.id.to_string(),
        name: member.node.name.clone(),
        key: (member.node.endpoint, member.node.boot.map(|boot| boot.0)),
        health: member.health,
        epoch: member.epoch,
        weight: member.share.weight(),
        out: member.health == Health::Ejected && member.last_resort,
        why: member.why.clone(),
    }
}
