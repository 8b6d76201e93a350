//! What requests have shown of a node, laid over what probes say of its address: ejections that a
//! good probe does not end, the trial of a node that is back, the share that grows after it, and the
//! smaller one of a board that is throttled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::event::Ejection;
use crate::cluster::health::{ERRORS_IN_A_ROW, Health};
use crate::cluster::pool::Share;

/// A trial for which no request came ends after this long, if probes are good.
const TRIAL_FOR: Duration = Duration::from_secs(5);

/// A trial that cannot end yet is looked at again after this long.
const TRIAL_AGAIN: Duration = Duration::from_secs(1);

/// From a quarter of its share to the whole, in quarters.
const SLOW_START: Duration = Duration::from_secs(10);

/// Growing shares change at the beats of this clock, so that nodes that came back together are
/// published together.
const BEAT: Duration = Duration::from_millis(500);

/// How long a node is out for its errors: this long for the first time, twice as long for the
/// second, and so on.
const ERRORS_OUT: Duration = Duration::from_secs(30);
const ERRORS_OUT_MAX: Duration = Duration::from_secs(300);

/// After each such time in which a node was not ejected for its errors, one ejection is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);

/// Requests that break off say nothing together with those before this.
const BREAKING_FOR: Duration = Duration::from_secs(10);

/// How long a node is out after a trial that failed, by the same rule.
const TRIAL_OUT: Duration = Duration::from_secs(1);
const TRIAL_OUT_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Outlier {
    /// It has been up, and did not take leave since: coming back is not joining.
    served: bool,
    ramp: Ramp,
    ejected: Option<Ejected>,
    /// Ejections for errors that are not forgiven yet, and when the last one ended.
    ejections: u32,
    ejected_until: Duration,
    /// Trials in a row that failed.
    failed_trials: u32,
    /// Since when requests break off in a row, as far as that was told.
    breaking: Option<Duration>,
    /// The quarters of its full speed that its board lacks, 0 to 3.
    lacking: u8,
}

/// How it gets its share.
#[derive(Debug, Default)]
enum Ramp {
    #[default]
    Whole,
    /// One request at a time. Left for `Slow` by an answered request, for an ejection by one that
    /// died, for `Untried` after [`TRIAL_FOR`] without any.
    Trial { taken: Arc<AtomicBool>, until: Duration },
    /// Some quarters. One more at `next`.
    Slow { quarters: u8, next: Duration },
    /// The whole share, without a trial.
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
    /// The node's health where its address has this one.
    pub(super) fn over(&self, address: Health) -> Health {
        match (address, &self.ejected) {
            (Health::Up | Health::Suspect, Some(_)) => Health::Ejected,
            _ => address,
        }
    }

    /// Whether it is out although its address answers.
    pub(super) fn is_out(&self, shown: Health) -> bool {
        shown == Health::Ejected && self.ejected.is_some()
    }

    /// Why it is ejected, where its address has this health: that refuses, unless it answers.
    pub(super) fn ejection(&self, address: Health) -> Ejection {
        match (address, &self.ejected) {
            (Health::Up | Health::Suspect, Some(out)) => out.cause,
            _ => Ejection::Refused,
        }
    }

    pub(super) fn share(&self, shown: Health) -> Share {
        match &self.ramp {
            Ramp::Trial { taken, .. } if shown == Health::Up => Share::Trial(Arc::clone(taken)),
            Ramp::Slow { quarters, .. } if shown == Health::Up => {
                Share::Quarters((*quarters).min(4 - self.lacking))
            }
            _ => Share::Quarters(4 - self.lacking),
        }
    }

    /// Its board runs at so many quarters of its full speed. True if that changes what is shown.
    pub(super) fn runs_at(&mut self, quarters: u8) -> bool {
        let lacking = 4 - quarters.clamp(1, 4);
        std::mem::replace(&mut self.lacking, lacking) != lacking
    }

    /// A sentence for people, if there is more to say than what probes say.
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

    /// The health that is shown changes. `usable`: how many nodes had a share.
    pub(super) fn turned(&mut self, from: Health, to: Health, usable: usize, now: Duration) {
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
    pub(super) fn passed(&mut self, shown: Health, usable: usize, now: Duration) -> bool {
        let on_trial = self.share(shown).is_trial();
        if on_trial {
            self.failed_trials = 0;
            self.start_slowly(usable, now);
        }
        on_trial
    }

    /// A request died. True if it was a trial's: the node is out for a moment.
    pub(super) fn broke(&mut self, shown: Health, usable: usize, now: Duration) -> bool {
        let fails = self.share(shown).is_trial() && usable > 0;
        if fails {
            self.failed_trials += 1;
            let span = (TRIAL_OUT * self.failed_trials.min(60)).min(TRIAL_OUT_MAX);
            let why = format!("its trial request died; out for {} s", span.as_secs());
            self.ejected = Some(Ejected { cause: Ejection::Trial, until: now + span, why });
        }
        fails
    }

    /// So many requests in a row broke off. A process that ends breaks off all that it has, however
    /// soon it is back: only if that goes on after it has answered a probe, asked at `well`, it says
    /// something of the node. True if the node is out for it.
    pub(super) fn breaks_off(&mut self, well: Option<Duration>, now: Duration) -> bool {
        self.breaking.take_if(|at| now >= *at + BREAKING_FOR);
        let began = *self.breaking.get_or_insert(now);
        let goes_on = well.is_some_and(|asked| asked >= began);
        if goes_on {
            self.breaking = None;
            self.erred(Ejection::BrokeOff, now);
        }
        goes_on
    }

    /// Requests go wrong at this node alone: it is out.
    pub(super) fn erred(&mut self, cause: Ejection, now: Duration) {
        let quiet = now.saturating_sub(self.ejected_until).as_secs() / FORGIVEN_AFTER.as_secs();
        let forgiven = u32::try_from(quiet).unwrap_or(u32::MAX);
        self.ejections = self.ejections.saturating_sub(forgiven) + 1;
        let span = (ERRORS_OUT * self.ejections.min(60)).min(ERRORS_OUT_MAX);
        let secs = span.as_secs();
        let what = if cause == Ejection::Errors { "were answered with a 5xx" } else { "broke off" };
        let why = format!("the last {ERRORS_IN_A_ROW} requests {what}; out for {secs} s");
        self.ejected_until = now + span;
        self.ejected = Some(Ejected { cause, until: self.ejected_until, why });
    }

    /// Whether it gets its share of the requests, or a growing one.
    pub(super) fn has_share(&self, shown: Health) -> bool {
        shown == Health::Up && !self.share(shown).is_trial()
    }

    /// When time alone changes something.
    pub(super) fn next_step(&self, shown: Health) -> Option<Duration> {
        let ramp = match &self.ramp {
            Ramp::Trial { until, .. } => Some(*until),
            Ramp::Slow { next, .. } => Some(*next),
            Ramp::Whole | Ramp::Untried => None,
        };
        let ramp = ramp.filter(|_| shown == Health::Up);
        [ramp, self.ejected.as_ref().map(|out| out.until)].into_iter().flatten().min()
    }

    /// Time has passed. `proved`: probes have been good for long enough. True if that changes what is
    /// shown; an ejection that ends changes it through [`Self::over`].
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
                // It is counted itself.
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
