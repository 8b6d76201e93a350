//! The part of a node's state that requests decide. It is laid over the health of its address, which
//! probes decide.
//!
//! These are ejections that a good probe does not end, the trial of a node that is back, the share
//! that grows after it, and the smaller share of a board that is throttled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::event::Ejection;
use crate::cluster::health::{ERRORS_IN_A_ROW, Health};
use crate::cluster::pool::Share;
use crate::http1::Refusal;

/// A trial to which no request came ends after this long, if probes are good.
const TRIAL_FOR: Duration = Duration::from_secs(5);

/// The time after which a trial that could not end is looked at again.
const TRIAL_AGAIN: Duration = Duration::from_secs(1);

/// The time in which a share grows from a quarter to the whole, in quarters.
const SLOW_START: Duration = Duration::from_secs(10);

/// Growing shares change at the beats of this clock, so that nodes that came back together are
/// published together.
const BEAT: Duration = Duration::from_millis(500);

/// The time a node is out for its errors: this long at the first ejection, twice as long at the
/// second, and so on.
const ERRORS_OUT: Duration = Duration::from_secs(30);

/// The longest time a node is out for its errors.
const ERRORS_OUT_MAX: Duration = Duration::from_secs(300);

/// For each such time in which a node was not ejected for its errors, one ejection is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);

/// Requests that break off count together with those of this time before, and with no older ones.
const BREAKING_FOR: Duration = Duration::from_secs(10);

/// The time a node is out after a trial that failed, by the same rule.
const TRIAL_OUT: Duration = Duration::from_secs(1);

/// The longest time a node is out after a trial that failed.
const TRIAL_OUT_MAX: Duration = Duration::from_secs(30);

/// The state of one node as requests have shown it.
#[derive(Debug, Default)]
pub(super) struct Outlier {
    /// It has been up, and did not take leave since: then it comes back, and does not join.
    served: bool,
    ramp: Ramp,
    ejected: Option<Ejected>,
    /// Ejections for errors that are not forgiven yet.
    ejections: u32,
    /// When the last ejection for errors ends.
    ejected_until: Duration,
    /// Trials in a row that failed.
    failed_trials: u32,
    /// Since when requests break off in a row, as far as that was reported.
    breaking_since: Option<Duration>,
    /// The reason for which its last answer that failed was refused; `None` if it did not come at all.
    refusal: Option<Refusal>,
    /// The quarters of its full speed that its board lacks, 0 to 3.
    lacking: u8,
}

/// The share that a node has while it is up.
#[derive(Debug, Default)]
enum Ramp {
    /// The whole share.
    #[default]
    Whole,
    /// One request at a time. Left for `Slow` by an answered request, for an ejection by one that
    /// died, for `Untried` after [`TRIAL_FOR`] without any.
    Trial { taken: Arc<AtomicBool>, until: Duration },
    /// Some quarters of its share, and one more at `next`. Left for `Whole` with the fourth.
    Slow { quarters: u8, next: Duration },
    /// The whole share, although no request came for the trial.
    Untried,
}

/// An ejection that no probe ends.
#[derive(Debug)]
struct Ejected {
    cause: Ejection,
    until: Duration,
    why: String,
}

impl Outlier {
    /// The health of a node whose address has this health.
    pub(super) fn over(&self, address: Health) -> Health {
        match (address, &self.ejected) {
            (Health::Up | Health::Suspect, Some(_)) => Health::Ejected,
            _ => address,
        }
    }

    /// True if the node is out although its address answers.
    pub(super) fn is_out(&self, shown: Health) -> bool {
        shown == Health::Ejected && self.ejected.is_some()
    }

    /// The cause for which a node is ejected whose address has this health. Without an ejection of its
    /// own the address has refused a connection.
    pub(super) fn ejection(&self, address: Health) -> Ejection {
        match (address, &self.ejected) {
            (Health::Up | Health::Suspect, Some(out)) => out.cause,
            _ => Ejection::Refused,
        }
    }

    /// The share of the requests that the node gets.
    pub(super) fn share(&self, shown: Health) -> Share {
        match &self.ramp {
            Ramp::Trial { taken, .. } if shown == Health::Up => Share::Trial(Arc::clone(taken)),
            Ramp::Slow { quarters, .. } if shown == Health::Up => {
                Share::Quarters((*quarters).min(4 - self.lacking))
            }
            _ => Share::Quarters(4 - self.lacking),
        }
    }

    /// Takes in the speed of its board, in quarters of the full one. True if that changes what is shown.
    pub(super) fn set_speed(&mut self, quarters: u8) -> bool {
        let lacking = 4 - quarters.clamp(1, 4);
        std::mem::replace(&mut self.lacking, lacking) != lacking
    }

    /// The reason for this health, as a sentence for people; `None` if the result of the last probe is
    /// reason enough.
    pub(super) fn why(&self, shown: Health) -> Option<String> {
        let why = match (shown, &self.ramp, &self.ejected) {
            (Health::Ejected, _, Some(out)) => out.why.clone(),
            (Health::Up, Ramp::Trial { .. }, _) => {
                "answers again; gets one request at a time until one is answered".to_owned()
            }
            (Health::Up, Ramp::Slow { quarters, .. }, _) if *quarters <= 4 - self.lacking => {
                format!("answers again; gets {} % of its share for now", u32::from(*quarters) * 25)
            }
            (Health::Up, ..) if self.lacking > 0 => {
                let part = ["three quarters", "half", "a quarter"][usize::from(self.lacking) - 1];
                format!("up; throttled, so it gets {part} of a share")
            }
            (Health::Up, Ramp::Untried, _) => {
                "answers probes again; no request came to try it with".to_owned()
            }
            _ => return None,
        };
        Some(why)
    }

    /// The health that is shown changes. `usable` is the number of nodes that had a share.
    pub(super) fn health_changed(
        &mut self,
        from: Health,
        to: Health,
        usable: usize,
        now: Duration,
    ) {
        match (from, to) {
            (Health::Suspect, Health::Up) if self.share(to).is_trial() => {}
            (Health::Suspect, Health::Up) => self.start_slowly(usable, now),
            (Health::Ejected | Health::Down, Health::Up) if self.served => {
                self.ramp = Ramp::Trial { taken: Arc::default(), until: now + TRIAL_FOR };
            }
            (_, Health::Suspect) => {}
            _ => self.ramp = Ramp::Whole,
        }
        self.served |= to == Health::Up;
    }

    /// A node that carried all requests alone a moment ago, or does so now, needs no slow start.
    fn start_slowly(&mut self, usable: usize, now: Duration) {
        self.ramp = if usable == 0 {
            Ramp::Whole
        } else {
            Ramp::Slow { quarters: 1, next: beat(now + SLOW_START / 3) }
        };
    }

    /// It was started again. After a goodbye that counts as joining for the first time.
    pub(super) fn restarted(&mut self, after_goodbye: bool) {
        *self = Self { served: self.served && !after_goodbye, ..Self::default() };
    }

    /// A request was answered. True if that ends a trial.
    pub(super) fn pass_trial(&mut self, shown: Health, usable: usize, now: Duration) -> bool {
        let on_trial = self.share(shown).is_trial();
        if on_trial {
            self.failed_trials = 0;
            self.start_slowly(usable, now);
        }
        on_trial
    }

    /// A request died, or got an answer that was refused for this reason. True if it was a trial's: the
    /// node is out for a moment.
    pub(super) fn fail_trial(
        &mut self,
        shown: Health,
        refusal: Option<Refusal>,
        usable: usize,
        now: Duration,
    ) -> bool {
        self.refusal = refusal;
        let fails = self.share(shown).is_trial() && usable > 0;
        if fails {
            self.failed_trials += 1;
            let span = (TRIAL_OUT * self.failed_trials.min(60)).min(TRIAL_OUT_MAX);
            let end = match refusal {
                Some(refusal) => format!("got an answer that is not valid HTTP ({refusal})"),
                None => "died".to_owned(),
            };
            let why = format!("its trial request {end}; out for {} s", span.as_secs());
            self.ejected = Some(Ejected { cause: Ejection::Trial, until: now + span, why });
        }
        fails
    }

    /// [`ERRORS_IN_A_ROW`] requests in a row broke off. A process that ends breaks off all requests that
    /// it has, however soon it is back. So it counts only if requests go on to break off after the node
    /// has answered a probe that was asked at `well`. True if the node is out for it.
    pub(super) fn break_off(&mut self, well: Option<Duration>, now: Duration) -> bool {
        self.breaking_since.take_if(|at| now >= *at + BREAKING_FOR);
        let began = *self.breaking_since.get_or_insert(now);
        let goes_on = well.is_some_and(|asked| asked >= began);
        if goes_on {
            self.breaking_since = None;
            self.eject(Ejection::BrokeOff, now);
        }
        goes_on
    }

    /// Ejects the node, because requests go wrong at it alone.
    pub(super) fn eject(&mut self, cause: Ejection, now: Duration) {
        let quiet = now.saturating_sub(self.ejected_until).as_secs() / FORGIVEN_AFTER.as_secs();
        let forgiven = u32::try_from(quiet).unwrap_or(u32::MAX);
        self.ejections = self.ejections.saturating_sub(forgiven) + 1;
        let span = (ERRORS_OUT * self.ejections.min(60)).min(ERRORS_OUT_MAX);
        let secs = span.as_secs();
        let end = match (cause, self.refusal) {
            (Ejection::Errors, _) => "were answered with a 5xx".to_owned(),
            (_, Some(refusal)) => format!("got answers that are not valid HTTP ({refusal})"),
            (_, None) => "broke off".to_owned(),
        };
        let why = format!("the last {ERRORS_IN_A_ROW} requests {end}; out for {secs} s");
        self.ejected_until = now + span;
        self.ejected = Some(Ejected { cause, until: self.ejected_until, why });
    }

    /// True if it gets its share of the requests, or a growing one.
    pub(super) fn has_share(&self, shown: Health) -> bool {
        shown == Health::Up && !self.share(shown).is_trial()
    }

    /// When time alone changes something.
    pub(super) fn next_step(&self, shown: Health) -> Option<Duration> {
        let step = match &self.ramp {
            Ramp::Trial { until, .. } => Some(*until),
            Ramp::Slow { next, .. } => Some(*next),
            Ramp::Whole | Ramp::Untried => None,
        };
        let step = step.filter(|_| shown == Health::Up);
        [step, self.ejected.as_ref().map(|out| out.until)].into_iter().flatten().min()
    }

    /// Time has passed. `proved`: probes have been good for long enough. True if a share changes; the
    /// end of an ejection shows through [`Self::over`].
    pub(super) fn advance(
        &mut self,
        shown: Health,
        proved: bool,
        usable: usize,
        now: Duration,
    ) -> bool {
        self.ejected.take_if(|out| out.until <= now);
        if shown != Health::Up {
            return false;
        }
        match &mut self.ramp {
            Ramp::Trial { taken, until } if *until <= now => {
                if !proved || taken.load(Ordering::Relaxed) {
                    *until = now + TRIAL_AGAIN;
                    return false;
                }
                self.ramp = Ramp::Untried;
                true
            }
            Ramp::Slow { quarters, next } if *next <= now => {
                *quarters += 1;
                *next = beat(*next + SLOW_START / 3);
                // This node is one of them.
                if *quarters >= 4 || usable <= 1 {
                    self.ramp = Ramp::Whole;
                }
                true
            }
            _ => false,
        }
    }
}

/// The first beat that is not before this.
fn beat(at: Duration) -> Duration {
    BEAT * u32::try_from(at.as_nanos().div_ceil(BEAT.as_nanos())).unwrap_or(u32::MAX)
}
