//! The probes under way and the next ones: a bounded number at once, nodes that serve first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::address::Address;
use super::entries::Entries;
use super::entry::Entry;
use super::probe::{Probe, ProbeTicket};
use crate::cluster::config::PROBES_MAX;
use crate::cluster::health::{Health, Thresholds};
use crate::cluster::node::NodeId;

/// A probe whose result was lost is given up this long after its own timeout.
const SLACK: Duration = Duration::from_secs(1);

/// The order in which addresses are asked. Each rank has places of its own. An address that does not
/// answer holds a place for as long as a probe may take; so it never delays a node that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The active address of a node that is in use or may be back with the next answer.
    Serving,
    /// The active address of a node that is down, and stand-bys.
    Known,
    /// An address that has never proved a machine.
    Candidate,
}

impl Rank {
    fn of(entry: &Entry, address: &Address) -> Self {
        let down = address.health() == Health::Down && !address.record.in_doubt();
        match (entry.is_active(address.key), address.proof) {
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

    /// Takes a place; false if there is none.
    fn take(&mut self, rank: Rank) -> bool {
        let free = self.has(rank);
        self.taken[rank as usize] += usize::from(free);
        free
    }
}

/// A probe under way.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: NodeId,
    /// The key of the address that is asked.
    pub(super) address: u64,
    /// When the probe began.
    pub(super) asked: Duration,
    /// The time from now, or from the end of a stall, after which it is given up.
    allowed: Duration,
    give_up: Duration,
    rank: Rank,
}

/// The probes under way, at most [`PROBES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Schedule {
    in_flight: BTreeMap<ProbeTicket, InFlight>,
    /// The last ticket that was given out.
    tickets: u64,
}

impl Schedule {
    /// A probe has ended, or is given up. `None` if the ticket was given up before.
    pub(super) fn ended(&mut self, ticket: ProbeTicket) -> Option<InFlight> {
        self.in_flight.remove(&ticket)
    }

    /// This process did not run until now: each probe under way has all of its time again.
    pub(super) fn stalled(&mut self, now: Duration) {
        self.in_flight.values_mut().for_each(|probe| probe.give_up = now + probe.allowed);
    }

    /// The probes whose results should have come long ago.
    pub(super) fn overdue(&self, now: Duration) -> Vec<ProbeTicket> {
        let overdue = self.in_flight.iter().filter(|(_, probe)| probe.give_up <= now);
        overdue.map(|(ticket, _)| *ticket).collect()
    }

    fn places(&self) -> Places {
        let mut taken = [0; 3];
        self.in_flight.values().for_each(|probe| taken[probe.rank as usize] += 1);
        Places { taken }
    }

    /// Starts the probes that are due and have a place.
    pub(super) fn start(
        &mut self,
        entries: &mut Entries,
        limits: &Thresholds,
        now: Duration,
        rng: &mut fastrand::Rng,
    ) -> Vec<Probe> {
        let due = self.due(entries, now);
        let mut probes = Vec::with_capacity(due.len());
        for (rank, id, key) in due {
            let entry = entries.get_mut(&id).expect("listed a moment ago");
            let timeout = if entry.foreign { limits.timeout_foreign } else { limits.timeout };
            let foreign = entry.foreign;
            let Some(address) = entry.address_mut(key) else { continue };
            address.started(now, 0.9 + 0.2 * rng.f64());
            let ticket = self.enter(id, key, rank, timeout, now);
            probes.push(probe(address, ticket, foreign, timeout));
        }
        probes
    }

    /// The addresses that are due and have a place, in the order in which they are asked.
    fn due(&self, entries: &Entries, now: Duration) -> Vec<(Rank, NodeId, u64)> {
        let mut places = self.places();
        let mut due = Vec::new();
        for entry in entries.iter() {
            for address in entry.addresses.iter().filter(|a| !a.in_flight && a.due <= now) {
                let rank = Rank::of(entry, address);
                if !places.has(rank) {
                    continue;
                }
                // Candidates take turns, or a few that are always due would keep the rest from ever
                // being asked. The new address of a known node goes before new nodes.
                let turn = address.asked().filter(|_| rank == Rank::Candidate);
                let order = (rank, entry.is_candidate(), turn, address.due);
                due.push((order, &entry.id, address.key));
            }
        }
        due.sort_unstable();
        // In a flood only the few that have a place are worth a copy of their id.
        let taken = due.into_iter().filter(|((rank, ..), ..)| places.take(*rank));
        taken.map(|((rank, ..), id, key)| (rank, id.clone(), key)).collect()
    }

    /// Enters a probe that begins now.
    fn enter(
        &mut self,
        id: NodeId,
        address: u64,
        rank: Rank,
        timeout: Duration,
        now: Duration,
    ) -> ProbeTicket {
        self.tickets += 1;
        let ticket = ProbeTicket(self.tickets);
        let allowed = timeout + SLACK;
        let give_up = now + allowed;
        self.in_flight.insert(ticket, InFlight { id, address, asked: now, allowed, give_up, rank });
        ticket
    }

    /// When an address is due that has a place, or a probe under way is given up; not before `now`.
    pub(super) fn next_wake(&self, entries: &Entries, now: Duration) -> Option<Duration> {
        let places = self.places();
        let mut soonest = self.in_flight.values().map(|probe| probe.give_up).min();
        for entry in entries.iter() {
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

fn probe(address: &Address, ticket: ProbeTicket, foreign: bool, timeout: Duration) -> Probe {
    Probe {
        ticket,
        endpoint: address.target.health_endpoint(),
        also: address.target.application().filter(|_| address.health() != Health::Up),
        path: address.target.path.clone(),
        foreign,
        timeout,
        fresh_connection: foreign || address.proof.is_none() || address.record.failed() > 0,
    }
}
