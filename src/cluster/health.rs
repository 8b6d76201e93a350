//! The health of one endpoint: the states, the outcomes that move them, and the thresholds.
//!
//! Time is an argument. Conclusions from many requests, such as ejections for errors and trials,
//! are not drawn here: the table lays them over this health.

use std::time::Duration;

use crate::http1::Refusal;

/// The state of a node: it decides whether the next request may go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Proposed, not yet proved. Not picked. Left for `Up` by the first good probe, for `Draining`
    /// or `Down` by a first answer with that state; silence does not move it.
    Starting,
    /// Answers. Picked. Left for `Ejected` by one refused connection, for `Draining` by a draining
    /// answer, for `Suspect` by `fall` unanswered probes in a row while a request waits, for `Down`
    /// by `fall` failed probes in a row, or by the node's own word.
    Up,
    /// Answers neither a request nor the quick probes that this request caused. Picked only when no
    /// other node answers. Left for `Up` by one good probe, for `Down` once twice `fall` probes in
    /// a row have failed, else like `Up`.
    Suspect,
    /// Taken out at once, for one of two causes. Either a connection was refused because nobody
    /// listens there: left for `Up` by one good probe, for `Down` once `fall` probes in a row have
    /// failed, the refusal included. Or requests failed there although its probes are good: left
    /// when the time of the ejection is over.
    Ejected,
    /// Failed `fall` probes in a row. Not picked. Left for `Up` by `rise` good probes in a row, for
    /// `Draining` by a draining answer.
    Down,
    /// The node itself reports that it is about to stop. Not picked while others can serve. Left
    /// for `Up` by one good probe, for `Down` by a refused connection or `fall` failed probes.
    Draining,
}

impl Health {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Up, Self::Suspect, Self::Ejected, Self::Down, Self::Draining];

    /// The word of the API for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Ejected => "ejected",
            Self::Down => "down",
            Self::Draining => "draining",
        }
    }

    /// Reads the word of the API; `None` if it is another, for example one of a later version.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|health| health.as_str() == word)
    }

    /// Returns whether the node answers: it would be missed if it were dropped.
    pub fn answers(self) -> bool {
        matches!(self, Self::Up | Self::Suspect | Self::Draining)
    }
}

/// The result of one probe, or of one request, as evidence of the health of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A probe was answered as a healthy node answers.
    Healthy,
    /// A request was answered. That ends a doubt and a trial, but does not bring a node back: only
    /// a probe does.
    Answered,
    /// [`ERRORS_IN_A_ROW`] requests in a row, or a multiple of that, went wrong, and the last of
    /// them was answered with a 5xx.
    Erring,
    /// The same, but the last of them was not answered at all, or not to its end.
    Breaking,
    /// The node reports that it is about to stop.
    Draining,
    /// The node reports that the application behind it is down. It has looked itself, so one report
    /// is enough.
    AppDown,
    /// A probe was answered with a 5xx.
    Failing,
    /// The connection was refused, or another node answered: this one is not there.
    Refused,
    /// The connection was reset or closed before an answer.
    Broken,
    /// The answer was not HTTP, or could be read in two ways.
    Invalid(Refusal),
    /// No answer in time, or no route.
    Silent,
}

/// The number of requests in a row that have to go wrong before they count as evidence about the
/// node.
pub const ERRORS_IN_A_ROW: u32 = 5;

/// The number of results in a row that change a node's health, and the times of its probes.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// Failed probes in a row that take a node down. Default 2.
    pub fall: u32,
    /// Good probes in a row that bring a node back (a fresh node needs one). Default 2.
    pub rise: u32,
    /// The time between two probes of a settled node, jittered by a tenth. Default 1 s.
    pub interval: Duration,
    /// The time between two probes while the last one failed or the node is coming back. Default
    /// 500 ms.
    pub interval_in_doubt: Duration,
    /// The time that a picluster node has to answer a probe. Default 250 ms.
    pub timeout: Duration,
    /// The time that a foreign device has to answer a probe. Default 2 s.
    pub timeout_foreign: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            fall: 2,
            rise: 2,
            interval: Duration::from_secs(1),
            interval_in_doubt: Duration::from_millis(500),
            timeout: Duration::from_millis(250),
            timeout_foreign: Duration::from_secs(2),
        }
    }
}

/// A change of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The health before.
    pub from: Health,
    /// The health from now on.
    pub to: Health,
}

/// The health of one endpoint and the results in a row that led to it.
#[derive(Clone, Debug)]
pub struct Record {
    health: Health,
    since: Duration,
    good: u32,
    failed: u32,
    failing_since: Option<Duration>,
    /// A request waits for its answer longer than usual.
    doubted: bool,
}

impl Record {
    /// An endpoint of which nothing is known yet. `now` is the time since the process started.
    pub fn new(now: Duration) -> Self {
        Self {
            health: Health::Starting,
            since: now,
            good: 0,
            failed: 0,
            failing_since: None,
            doubted: false,
        }
    }

    /// The health.
    pub fn health(&self) -> Health {
        self.health
    }

    /// When this health began, as time since the process started.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// The number of good probes in a row.
    pub fn good(&self) -> u32 {
        self.good
    }

    /// The number of failed results in a row.
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// When the first of the failed results in a row came, as time since the process started;
    /// `None` if the last one was good.
    pub fn failing_since(&self) -> Option<Duration> {
        self.failing_since
    }

    /// A request waits for its answer longer than usual: quick probes find out whether the node is
    /// there. Any answer ends the doubt.
    pub fn doubt(&mut self) {
        self.doubted = self.health == Health::Up;
    }

    /// Returns whether the next probe is due at once: one has failed while a request waits.
    pub fn is_urgent(&self) -> bool {
        self.doubted && self.failed > 0 && self.health == Health::Up
    }

    /// Returns whether the next result may change the health, so that an earlier probe is worth its
    /// cost.
    pub fn in_doubt(&self) -> bool {
        match self.health {
            Health::Starting | Health::Up => self.failed > 0,
            Health::Suspect | Health::Ejected | Health::Draining => true,
            Health::Down => self.good > 0,
        }
    }

    /// The time to the next probe, before jitter.
    pub fn interval(&self, limits: &Thresholds) -> Duration {
        if self.in_doubt() { limits.interval_in_doubt } else { limits.interval }
    }

    /// Takes in one result. Returns the change of health that it makes, if any. `now` is the time
    /// since the process started.
    pub fn record(
        &mut self,
        outcome: Outcome,
        limits: &Thresholds,
        now: Duration,
    ) -> Option<Transition> {
        let from = self.health;
        let to = match outcome {
            // An error is an answer, so it ends the doubt whether the node is there. It is no
            // answer to a probe, so the count of failed ones stays.
            Outcome::Erring => {
                self.doubted = false;
                from
            }
            Outcome::Breaking => from,
            Outcome::Answered | Outcome::Healthy | Outcome::Draining => {
                self.failed = 0;
                self.doubted = false;
                self.failing_since = None;
                self.after_answer(outcome, limits.rise)
            }
            Outcome::AppDown
            | Outcome::Failing
            | Outcome::Refused
            | Outcome::Broken
            | Outcome::Invalid(_)
            | Outcome::Silent => {
                self.good = 0;
                self.failed = self.failed.saturating_add(1);
                self.failing_since.get_or_insert(now);
                self.after_failure(outcome, limits.fall)
            }
        };
        if from == to {
            return None;
        }
        self.health = to;
        self.since = now;
        Some(Transition { from, to })
    }

    fn after_answer(&mut self, outcome: Outcome, rise: u32) -> Health {
        match outcome {
            Outcome::Healthy => {
                self.good = self.good.saturating_add(1);
                let back = self.health != Health::Down || self.good >= rise;
                if back { Health::Up } else { Health::Down }
            }
            Outcome::Draining => {
                self.good = 0;
                Health::Draining
            }
            _ => self.health,
        }
    }

    fn after_failure(&self, outcome: Outcome, fall: u32) -> Health {
        match (self.health, outcome) {
            (_, Outcome::AppDown) | (Health::Starting, Outcome::Failing) => Health::Down,
            (Health::Starting | Health::Down, _) => self.health,
            (Health::Up | Health::Suspect, Outcome::Refused) => Health::Ejected,
            (Health::Draining, Outcome::Refused) => Health::Down,
            (Health::Up, Outcome::Silent) if self.doubted && self.failed >= fall => Health::Suspect,
            (Health::Suspect, Outcome::Silent) if self.failed < 2 * fall => Health::Suspect,
            _ if self.failed >= fall => Health::Down,
            _ => self.health,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The health after these outcomes, one a second.
    fn after(outcomes: &[Outcome]) -> Health {
        let mut record = Record::new(Duration::ZERO);
        for (second, outcome) in outcomes.iter().enumerate() {
            let now = Duration::from_secs(second as u64);
            record.record(*outcome, &Thresholds::default(), now);
        }
        record.health()
    }

    #[test]
    fn each_row_of_outcomes_leads_to_its_health() {
        use Outcome::{
            Answered, AppDown, Breaking, Broken, Draining, Erring, Failing, Healthy, Refused,
            Silent,
        };
        let table: &[(&[Outcome], Health)] = &[
            (&[], Health::Starting),
            (&[Healthy, Silent, Breaking, Breaking], Health::Up),
            (&[Healthy, Failing, Erring, Failing], Health::Down),
            (&[Silent, Refused, Broken], Health::Starting),
            (&[Answered], Health::Starting),
            (&[Failing], Health::Down),
            (&[Draining], Health::Draining),
            (&[Silent, Healthy], Health::Up),
            (&[Healthy, Silent], Health::Up),
            (&[Healthy, Silent, Broken], Health::Down),
            (&[Healthy, Silent, Healthy, Silent], Health::Up),
            (&[Healthy, Silent, Answered, Silent], Health::Up),
            (&[Healthy, Failing, Failing], Health::Down),
            (&[Healthy, AppDown], Health::Down),
            (&[Healthy, Draining, AppDown], Health::Down),
            (&[Healthy, AppDown, Healthy, Healthy], Health::Up),
            (&[Healthy, Refused], Health::Ejected),
            (&[Healthy, Refused, Answered], Health::Ejected),
            (&[Healthy, Refused, Healthy], Health::Up),
            (&[Healthy, Refused, Silent], Health::Down),
            (&[Healthy, Silent, Silent, Healthy], Health::Down),
            (&[Healthy, Silent, Silent, Answered, Answered], Health::Down),
            (&[Healthy, Silent, Silent, Healthy, Silent, Healthy], Health::Down),
            (&[Healthy, Silent, Silent, Healthy, Healthy], Health::Up),
            (&[Healthy, Draining], Health::Draining),
            (&[Healthy, Draining, Silent], Health::Draining),
            (&[Healthy, Draining, Silent, Silent], Health::Down),
            (&[Healthy, Draining, Refused], Health::Down),
            (&[Healthy, Draining, Healthy], Health::Up),
            (&[Healthy, Silent, Silent, Draining], Health::Draining),
        ];
        for (outcomes, health) in table {
            assert_eq!(after(outcomes), *health, "{outcomes:?}");
        }
    }

    #[test]
    fn a_node_silent_to_a_request_and_two_probes_is_suspect_before_it_is_down() {
        use Outcome::{Answered, Broken, Healthy, Refused, Silent};
        let table: &[(&[Outcome], Health)] = &[
            (&[Silent], Health::Up),
            (&[Silent, Silent], Health::Suspect),
            (&[Silent, Silent, Answered], Health::Suspect),
            (&[Silent, Silent, Healthy], Health::Up),
            (&[Silent, Silent, Refused], Health::Ejected),
            (&[Silent, Silent, Broken], Health::Down),
            (&[Silent, Silent, Silent], Health::Suspect),
            (&[Silent, Silent, Silent, Silent], Health::Down),
            (&[Silent, Broken], Health::Down),
            (&[Silent, Answered, Silent, Silent], Health::Down),
        ];
        for (outcomes, health) in table {
            let limits = Thresholds::default();
            let mut record = Record::new(Duration::ZERO);
            record.record(Healthy, &limits, Duration::ZERO);
            record.doubt();
            for outcome in *outcomes {
                record.record(*outcome, &limits, Duration::ZERO);
            }
            assert_eq!(record.health(), *health, "{outcomes:?}");
        }
    }

    #[test]
    fn a_transition_names_both_states_and_the_health_keeps_its_beginning() {
        let limits = Thresholds::default();
        let at = Duration::from_secs;
        let mut record = Record::new(at(1));
        let joined = record.record(Outcome::Healthy, &limits, at(2));
        assert_eq!(joined, Some(Transition { from: Health::Starting, to: Health::Up }));
        assert_eq!(record.record(Outcome::Healthy, &limits, at(3)), None);
        assert_eq!(record.record(Outcome::Silent, &limits, at(4)), None);
        assert_eq!((record.since(), record.failing_since()), (at(2), Some(at(4))));
    }

    #[test]
    fn a_node_in_doubt_is_asked_twice_as_often() {
        let limits = Thresholds::default();
        let mut record = Record::new(Duration::ZERO);
        record.record(Outcome::Healthy, &limits, Duration::ZERO);
        assert_eq!(record.interval(&limits), limits.interval);
        record.record(Outcome::Silent, &limits, Duration::ZERO);
        assert_eq!(record.interval(&limits), limits.interval_in_doubt);
        record.record(Outcome::Silent, &limits, Duration::ZERO);
        assert_eq!(
            record.interval(&limits),
            limits.interval,
            "a node that stays down is settled too"
        );
        record.record(Outcome::Healthy, &limits, Duration::ZERO);
        assert_eq!(record.interval(&limits), limits.interval_in_doubt, "it is coming back");
    }
}
