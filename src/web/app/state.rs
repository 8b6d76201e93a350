//! The state of an application: the causes that keep it from working, and the time at which the log repeats
//! a reason. It reads no clock; the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::discovery::Unwell;

/// An application that fails longer than this after its start is not merely slow to start.
const STARTS_IN: Duration = Duration::from_secs(5);

/// A reason that changes is logged no more often than this.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The causes that keep an application from working. It is up when there is none.
#[derive(Debug)]
pub(super) struct State {
    /// Its process does not run.
    pub(super) ended: Option<Ended>,
    /// The last check failed.
    pub(super) unwell: Option<Unwell>,
    /// It listens where no other machine reaches it.
    pub(super) is_alone: bool,
    /// The last start, of this node or of its process.
    pub(super) started: Instant,
    /// The last reason that was logged for a failed check, and when; `None` since it worked.
    logged: Option<(String, Instant)>,
}

/// The end of a command's process.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) why: String,
    /// `None`: it is not started again.
    pub(super) next_start: Option<Instant>,
}

/// The part of the state for which other tasks wait. They are woken when it changes.
#[derive(PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) is_up: bool,
    is_there: bool,
    has_ended: bool,
}

impl State {
    /// An application of which nothing is known but this failure.
    pub(super) fn new(unwell: Unwell, now: Instant) -> Self {
        Self { ended: None, unwell: Some(unwell), is_alone: false, started: now, logged: None }
    }

    pub(super) fn is_up(&self) -> bool {
        self.ended.is_none() && self.unwell.is_none()
    }

    /// Returns whether it answers requests, perhaps with errors.
    pub(super) fn answers(&self) -> bool {
        self.ended.is_none() && self.unwell.as_ref().is_none_or(|unwell| unwell.answers)
    }

    /// Returns whether it is worth advertising: it answers, or nothing but its address is wrong. Its health
    /// answer then shows the reason to balancers as well.
    pub(super) fn is_there(&self) -> bool {
        self.answers() || (self.ended.is_none() && self.is_alone)
    }

    pub(super) fn summary(&self) -> Summary {
        let (is_up, is_there) = (self.is_up(), self.is_there());
        Summary { is_up, is_there, has_ended: self.ended.is_some() }
    }

    /// The reason why it takes no requests; `None` if it does.
    pub(super) fn down(&self, now: Instant) -> Option<String> {
        match &self.ended {
            Some(Ended { why, next_start: None }) => Some(why.clone()),
            Some(Ended { why, next_start: Some(next) }) => {
                let left = next.saturating_duration_since(now);
                Some(format!("{why}; next start in {} s", left.as_secs_f32().ceil()))
            }
            None => self.unwell.as_ref().map(|unwell| unwell.why.clone()),
        }
    }

    /// Notes that the log has just reported a change between up and down, with the reason of a check that
    /// failed.
    pub(super) fn note_logged(&mut self, now: Instant) {
        self.logged = self.unwell.as_ref().map(|unwell| (unwell.why.clone(), now));
    }

    /// The reason why the last check failed, if the log should repeat it now. It then counts as logged.
    pub(super) fn take_complaint(&mut self, now: Instant) -> Option<String> {
        let why = &self.unwell.as_ref().filter(|_| self.ended.is_none())?.why;
        let is_due = match &self.logged {
            Some((logged, at)) => logged != why && now.duration_since(*at) >= LOG_EVERY,
            None => now.duration_since(self.started) >= STARTS_IN,
        };
        is_due.then(|| self.logged.insert((why.clone(), now)).0.clone())
    }
}
