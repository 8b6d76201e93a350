//! One address that leads to a node, with its health and the time of its next probe.
//!
//! The health is that of this address alone; `ownership` decides which machine uses it.

use std::net::SocketAddr;
use std::time::Duration;

use super::verdict::Verdict;
use crate::cluster::health::{Health, Outcome, Record, Thresholds};
use crate::cluster::node::Boot;

/// The least time between the starts of two probes of one address, whatever asks for them. So forged
/// goodbyes cannot cause more probes.
const GAP: Duration = Duration::from_millis(100);

/// The time between two probes of a stand-by while all is well. It is asked at once when the active
/// address fails, so this only has to find out that it is of no use.
const STAND_BY_INTERVAL: Duration = Duration::from_secs(10);

/// Probes of nodes about which there is no doubt start at the beats of this clock, so that several
/// share one wake of the process: with 20 nodes 28 wakes a second in place of 49, and a fifth less CPU.
const BEAT: Duration = Duration::from_millis(100);

/// An address that never answered is asked less and less often: the longest interval is this many
/// times the interval in doubt.
const SLOWEST: u32 = 16;

/// The destination of requests and of probes.
///
/// All of it comes from the advertisement, so two addresses differ if any part of it does: a forged port
/// or path makes one more candidate to probe, and never changes the probe of a proven address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The endpoint of requests.
    pub(super) endpoint: SocketAddr,
    /// The port that answers probes.
    pub(super) health_port: u16,
    /// The path of a probe.
    pub(super) path: String,
}

impl Target {
    /// The endpoint that probes ask.
    pub(super) fn health_endpoint(&self) -> SocketAddr {
        // Changed and not made anew: a link-local address would lose its interface.
        let mut asked = self.endpoint;
        asked.set_port(self.health_port);
        asked
    }

    /// The endpoint of requests, if another program answers them than the one that answers probes.
    pub(super) fn application(&self) -> Option<SocketAddr> {
        Some(self.endpoint).filter(|endpoint| self.health_port != endpoint.port())
    }
}

/// The last answer that proved which machine is there. Times count from the start of this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastProof {
    /// `None` for a foreign device.
    pub(super) boot: Option<Boot>,
    /// When the probe began.
    pub(super) asked: Duration,
    /// When the answer came.
    pub(super) received: Duration,
}

/// The value of an address to a machine that chooses one, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Merit {
    /// Requests get no answer.
    None,
    /// Requests get an HTTP answer at least.
    LastResort,
    Drains,
    Serves,
}

/// One address of an id.
#[derive(Debug)]
pub(super) struct Address {
    /// A number never used again.
    pub(super) key: u64,
    pub(super) target: Target,
    pub(super) hostname: String,
    /// The instance that advertises it now; `None` once that was withdrawn.
    pub(super) instance: Option<String>,
    pub(super) record: Record,
    /// The reason for its health, as a sentence for people.
    pub(super) why: String,
    /// The last probe got an answer that means "not now", and requests would get one too.
    pub(super) last_resort: bool,
    /// The last probe was answered by nothing at all, not even a refusal.
    pub(super) silent: bool,
    /// `None` as long as no answer has proved a machine here.
    pub(super) proof: Option<LastProof>,
    /// Since when it has answered as a boot that none of the machines of its id has, while all of them
    /// go on to answer.
    pub(super) disputed: Option<Duration>,
    /// When to ask next.
    pub(super) due: Duration,
    /// When the last probe began.
    asked: Option<Duration>,
    pub(super) in_flight: bool,
    /// A probe was asked for while one was under way: one more follows it.
    again: bool,
    /// The jitter drawn with the last probe: the factor of the next interval.
    pace: f64,
}

impl Address {
    pub(super) fn new(key: u64, target: Target, now: Duration) -> Self {
        Self {
            key,
            target,
            hostname: String::new(),
            instance: None,
            record: Record::new(now),
            why: "just seen, has not answered a probe yet".to_owned(),
            last_resort: false,
            silent: false,
            proof: None,
            disputed: None,
            due: now,
            asked: None,
            in_flight: false,
            again: false,
            pace: 1.0,
        }
    }

    pub(super) fn health(&self) -> Health {
        self.record.health()
    }

    pub(super) fn merit(&self) -> Merit {
        match self.health() {
            Health::Up | Health::Suspect => Merit::Serves,
            Health::Draining => Merit::Drains,
            _ if self.last_resort => Merit::LastResort,
            Health::Starting | Health::Ejected | Health::Down => Merit::None,
        }
    }

    /// True if it has proved this boot. `None` stands for a foreign device, which has no boot and proves
    /// itself by any answer.
    pub(super) fn is_of(&self, boot: Option<Boot>) -> bool {
        self.proof.is_some_and(|proof| proof.boot == boot)
    }

    /// True if another address may take its place: it was probed, and does not answer.
    pub(super) fn may_be_replaced(&self) -> bool {
        !self.health().answers() && self.record.failed() > 0
    }

    /// Asks for a probe that starts from now on, as soon as [`GAP`] allows.
    pub(super) fn ask(&mut self, now: Duration) {
        if self.in_flight {
            self.again = true;
        }
        self.due = self.due.min(self.asked.map_or(now, |asked| now.max(asked + GAP)));
    }

    /// When the last probe began.
    pub(super) fn asked(&self) -> Option<Duration> {
        self.asked
    }

    /// A probe begins. `pace` is the jitter: the factor of the next interval.
    pub(super) fn started(&mut self, now: Duration, pace: f64) {
        self.asked = Some(now);
        self.in_flight = true;
        self.again = false;
        self.pace = pace;
    }

    /// A probe that began at `asked` has ended with this verdict.
    pub(super) fn ended(
        &mut self,
        verdict: &Verdict,
        asked: Duration,
        limits: &Thresholds,
        now: Duration,
    ) {
        if let Some(proof) = &verdict.proof {
            if self.proof.is_some_and(|last| last.boot != proof.boot) {
                // The failures of the start before do not count for the new one.
                self.record = Record::new(now);
                self.disputed = None;
            }
            self.proof = Some(LastProof { boot: proof.boot, asked, received: now });
        }
        self.record.record(verdict.outcome, limits, now);
        self.last_resort = verdict.last_resort && verdict.outcome != Outcome::Healthy;
        self.silent = verdict.outcome == Outcome::Silent;
        self.why = match self.record.failed() {
            0 => verdict.why.clone(),
            1 => format!("{}, 1 try", verdict.why),
            tries => format!("{}, {tries} tries", verdict.why),
        };
        if self.health() != Health::Up {
            self.disputed = None;
        }
    }

    /// Plans the next probe, once the one under way has ended. Intervals count from start to start, so
    /// that a slow answer does not delay the next probe.
    pub(super) fn plan(&mut self, active: bool, limits: &Thresholds, now: Duration) {
        self.in_flight = false;
        let interval = if self.proof.is_none() && self.health() == Health::Starting {
            let tries = self.record.failed().saturating_sub(1).min(SLOWEST.ilog2());
            limits.interval_in_doubt * (1 << tries)
        } else if active && self.target.application().is_some() {
            // A change of the application is noticed half a second late already.
            limits.interval_in_doubt
        } else if active {
            self.record.interval(limits)
        } else if self.disputed.is_some() {
            limits.interval_in_doubt
        } else {
            STAND_BY_INTERVAL
        };
        let due = self.asked.unwrap_or(now) + interval.mul_f64(self.pace);
        // Never later than planned: a dead node must be out within a bound.
        let due = if self.health() == Health::Up && interval >= limits.interval {
            BEAT * (due.as_millis() / BEAT.as_millis()) as u32
        } else {
            due
        };
        self.due = now.max(due);
        let urgent = active && self.record.is_urgent();
        if std::mem::take(&mut self.again) || urgent {
            self.ask(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn address() -> Address {
        let endpoint = SocketAddr::from(([10, 0, 0, 1], 80));
        Address::new(1, Target { endpoint, health_port: 80, path: "/".into() }, Duration::ZERO)
    }

    #[test]
    fn an_address_that_never_answers_is_asked_less_and_less_often() {
        let limits = Thresholds::default();
        let mut address = address();
        let mut gaps = Vec::new();
        for _ in 0..8 {
            let asked = address.due;
            address.started(asked, 1.0);
            address.record.record(Outcome::Silent, &limits, asked);
            address.plan(true, &limits, asked + 250 * MS);
            gaps.push((address.due - asked).as_millis());
        }
        assert_eq!(gaps, [500, 1000, 2000, 4000, 8000, 8000, 8000, 8000]);
    }

    #[test]
    fn the_probes_of_settled_nodes_share_beats_and_are_never_late() {
        let limits = Thresholds::default();
        let mut address = address();
        address.record.record(Outcome::Healthy, &limits, Duration::ZERO);
        for pace in [0.9, 0.97, 1.0, 1.1] {
            let asked = 5037 * MS;
            address.started(asked, pace);
            address.plan(true, &limits, asked + MS);
            let planned = asked + limits.interval.mul_f64(pace);
            assert_eq!(address.due.as_millis() % BEAT.as_millis(), 0);
            assert!(address.due <= planned && planned - address.due < BEAT, "{:?}", address.due);
        }
    }

    #[test]
    fn a_node_that_answers_for_another_program_is_asked_twice_as_often() {
        let limits = Thresholds::default();
        let mut address = address();
        address.target.health_port = 8080;
        address.record.record(Outcome::Healthy, &limits, Duration::ZERO);
        address.started(5037 * MS, 1.0);
        address.plan(true, &limits, 5038 * MS);
        assert_eq!(address.due, 5537 * MS);
    }

    #[test]
    fn a_wish_for_a_probe_during_a_probe_starts_another_one_after_it() {
        let mut address = address();
        address.started(Duration::ZERO, 1.0);
        address.ask(10 * MS);
        address.plan(true, &Thresholds::default(), 20 * MS);
        assert_eq!(address.due, GAP);
    }
}
