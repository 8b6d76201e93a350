//! Whom to ask next: a bounded number of probes at once, the nodes that serve first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::claim::Claim;
use super::probe::{Probe, ProbeTicket};
use super::way::Way;
use crate::config::PROBES_MAX;
use crate::health::{Health, Thresholds};
use crate::node::NodeId;

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
    fn of(claim: &Claim, way: &Way) -> Self {
        let down = way.health() == Health::Down && !way.record.in_doubt();
        match (claim.is_active(way.key), way.answer) {
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

/// A question under way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: NodeId,
    /// The key of the way that was asked.
    pub(super) way: u64,
    pub(super) at: Duration,
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

    /// The questions whose answer should have come long ago.
    pub(super) fn overdue(&self, now: Duration) -> Vec<ProbeTicket> {
        let overdue = self.asked.iter().filter(|(_, asked)| asked.give_up <= now);
        overdue.map(|(ticket, _)| *ticket).collect()
    }

    fn has_place(&self, rank: Rank) -> bool {
        let behind = self.asked.values().filter(|asked| asked.rank >= rank).count();
        behind < rank.places() && self.asked.len() < PROBES_MAX
    }

    /// Puts the questions that are due and have a place.
    pub(super) fn start(
        &mut self,
        claims: &mut BTreeMap<NodeId, Claim>,
        limits: &Thresholds,
        now: Duration,
        rng: &mut fastrand::Rng,
    ) -> Vec<Probe> {
        let mut due = Vec::new();
        for claim in claims.values() {
            for way in claim.ways.iter().filter(|way| !way.in_flight && way.due <= now) {
                let rank = Rank::of(claim, way);
                // Candidates take turns, or a few that are always due would keep the rest from
                // ever being asked; a known node's new address goes before new nodes.
                let turn = way.asked().filter(|_| rank == Rank::Candidate);
                let order = (rank, claim.is_candidate(), turn, way.due);
                due.push((order, claim.id.clone(), way.key));
            }
        }
        due.sort_unstable();
        let mut probes = Vec::new();
        let mut full = None;
        for ((rank, ..), id, key) in due {
            if full != Some(rank) && !self.has_place(rank) {
                full = Some(rank);
            }
            if full != Some(rank) {
                let claim = claims.get_mut(&id).expect("listed a moment ago");
                probes.extend(self.put(claim, key, rank, limits, now, rng));
            }
        }
        probes
    }

    fn put(
        &mut self,
        claim: &mut Claim,
        key: u64,
        rank: Rank,
        limits: &Thresholds,
        now: Duration,
        rng: &mut fastrand::Rng,
    ) -> Option<Probe> {
        let (id, foreign) = (claim.id.clone(), claim.foreign);
        let timeout = if foreign { limits.timeout_foreign } else { limits.timeout };
        let way = claim.way_mut(key)?;
        way.started(now, 0.9 + 0.2 * rng.f64());
        self.tickets += 1;
        let ticket = ProbeTicket(self.tickets);
        let give_up = now + timeout + SLACK;
        self.asked.insert(ticket, Asked { id, way: key, at: now, give_up, rank });
        Some(Probe {
            ticket,
            endpoint: way.target.asked(),
            path: way.target.path.clone(),
            foreign,
            timeout,
            fresh_connection: foreign || way.answer.is_none() || way.record.failed() > 0,
        })
    }

    /// When a question is due that has a place, or one under way is given up.
    pub(super) fn next_wake(
        &self,
        claims: &BTreeMap<NodeId, Claim>,
        now: Duration,
    ) -> Option<Duration> {
        let places = [Rank::Serving, Rank::Known, Rank::Candidate].map(|rank| self.has_place(rank));
        let mut soonest = self.asked.values().map(|asked| asked.give_up).min();
        for claim in claims.values() {
            for way in claim.ways.iter().filter(|way| !way.in_flight) {
                let sooner = soonest.is_none_or(|soonest| way.due < soonest);
                if sooner && places[Rank::of(claim, way) as usize] {
                    soonest = Some(way.due);
                }
            }
        }
        soonest.map(|at| at.max(now))
    }
}
