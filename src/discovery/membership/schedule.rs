//! Whom to ask next: a bounded number of probes at once, the nodes that serve first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::address::Address;
use super::entry::Entry;
use super::probe::{Probe, ProbeTicket};
use crate::cluster::config::PROBES_MAX;
use crate::cluster::health::{Health, Thresholds};
use crate::cluster::node::NodeId;

/// A prober that lost a result is not waited for longer than this past the probe's own timeout.
const SLACK: Duration = Duration::from_secs(1);

/// Who is asked first. Each rank has places of its own, so that addresses that do not answer,
/// each of which holds a place for as long as a probe may take, never delay a node that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The active way of a node that is in use or may be back with the next answer.
    Serving,
    /// The active way of a node that is down, and stand-bys.
    Known,
    /// A way that has never answered.
    Candidate,
}

impl Rank {
    fn of(entry: &Entry, address: &Address) -> Self {
        let down = address.health() == Health::Down && !address.record.in_doubt();
        match (entry.is_active(address.key), address.answer) {
            (true, _) if !down => Self::Serving,
            (true, _) | (false, Some(_)) => Self::Known,
            (false, None) => Self::Candidate,
        }
    }

    /// The most probes of this rank and the ranks behind it under way at once.
    fn places(self) -> usize {
        match self {
            Self::Serving => PROBES_MAX,
            Self::Known => PROBES_MAX * 3 / 4,
            Self::Candidate => PROBES_MAX / 2,
        }
    }
}

/// The places that are taken, by rank.
struct Places {
    taken: [usize; 3],
}

impl Places {
    fn has(&self, rank: Rank) -> bool {
        let behind: usize = self.taken[rank as usize..].iter().sum();
        behind < rank.places() && self.taken.iter().sum::<usize>() < PROBES_MAX
    }

    fn take(&mut self, rank: Rank) -> bool {
        let free = self.has(rank);
        self.taken[rank as usize] += usize::from(free);
        free
    }
}

/// A question under way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: NodeId,
    /// The key of the way that was asked.
    pub(super) address: u64,
    pub(super) at: Duration,
    /// How long it may take.
    allowed: Duration,
    give_up: Duration,
    rank: Rank,
}

/// The questions under way, at most [`PROBES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Schedule {
    asked: BTreeMap<ProbeTicket, Asked>,
    tickets: u64,
}

impl Schedule {
    /// A question was answered, or is given up.
    pub(super) fn ended(&mut self, ticket: ProbeTicket) -> Option<Asked> {
        self.asked.remove(&ticket)
    }

    /// Nobody could ask or hear until now.
    pub(super) fn stalled(&mut self, now: Duration) {
        self.asked.values_mut().for_each(|asked| asked.give_up = now + asked.allowed);
    }

    /// The questions whose answer should have come long ago.
    pub(super) fn overdue(&self, now: Duration) -> Vec<ProbeTicket> {
        let overdue = self.asked.iter().filter(|(_, asked)| asked.give_up <= now);
        overdue.map(|(ticket, _)| *ticket).collect()
    }

    fn places(&self) -> Places {
        let mut taken = [0; 3];
        self.asked.values().for_each(|asked| taken[asked.rank as usize] += 1);
        Places { taken }
    }

    /// Puts the questions that are due and have a place.
    pub(super) fn start(
        &mut self,
        entries: &mut BTreeMap<NodeId, Entry>,
        limits: &Thresholds,
        now: Duration,
        rng: &mut fastrand::Rng,
    ) -> Vec<Probe> {
        let mut places = self.places();
        let mut due = Vec::new();
        for entry in entries.values() {
            for address in
                entry.addresses.iter().filter(|address| !address.in_flight && address.due <= now)
            {
                let rank = Rank::of(entry, address);
                if !places.has(rank) {
                    continue;
                }
                // Candidates take turns, or a few that are always due would keep the rest from
                // ever being asked; a known node's new address goes before new nodes.
                let turn = address.asked().filter(|_| rank == Rank::Candidate);
                let order = (rank, entry.is_candidate(), turn, address.due);
                due.push((order, &entry.id, address.key));
            }
        }
        due.sort_unstable();
        // Of a flood that is due, only the few that have a place are worth a copy of their id.
        let taken = due.into_iter().filter(|((rank, ..), ..)| places.take(*rank));
        let taken: Vec<_> = taken.map(|((rank, ..), id, key)| (rank, id.clone(), key)).collect();
        let mut probes = Vec::with_capacity(taken.len());
        for (rank, id, key) in taken {
            let entry = entries.get_mut(&id).expect("listed a moment ago");
            probes.extend(self.put(entry, key, rank, limits, now, rng));
        }
        probes
    }

    fn put(
        &mut self,
        entry: &mut Entry,
        key: u64,
        rank: Rank,
        limits: &Thresholds,
        now: Duration,
        rng: &mut fastrand::Rng,
    ) -> Option<Probe> {
        let (id, foreign) = (entry.id.clone(), entry.foreign);
        let timeout = if foreign { limits.timeout_foreign } else { limits.timeout };
        let address = entry.address_mut(key)?;
        address.started(now, 0.9 + 0.2 * rng.f64());
        self.tickets += 1;
        let ticket = ProbeTicket(self.tickets);
        let allowed = timeout + SLACK;
        let give_up = now + allowed;
        self.asked.insert(ticket, Asked { id, address: key, at: now, allowed, give_up, rank });
        Some(Probe {
            ticket,
            endpoint: address.target.asked(),
            also: address.target.elsewhere().filter(|_| address.health() != Health::Up),
            path: address.target.path.clone(),
            foreign,
            timeout,
            fresh_connection: foreign || address.answer.is_none() || address.record.failed() > 0,
        })
    }

    /// When a question is due that has a place, or one under way is given up.
    pub(super) fn next_wake(
        &self,
        entries: &BTreeMap<NodeId, Entry>,
        now: Duration,
    ) -> Option<Duration> {
        let places = self.places();
        let mut soonest = self.asked.values().map(|asked| asked.give_up).min();
        for entry in entries.values() {
            for address in entry.addresses.iter().filter(|address| !address.in_flight) {
                let sooner = soonest.is_none_or(|soonest| address.due < soonest);
                if sooner && places.has(Rank::of(entry, address)) {
                    soonest = Some(address.due);
                }
            }
        }
        soonest.map(|at| at.max(now))
    }
}
