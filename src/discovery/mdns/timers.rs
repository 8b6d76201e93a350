//! The times at which something is done again: after a fault, and as a matter of routine. It does
//! not decide what is done.

use std::time::{Duration, Instant};

use tokio::time::sleep_until;

/// Delays that double, so that a lasting fault neither fills the log nor costs CPU.
pub(super) struct Delays {
    next: Duration,
}

impl Delays {
    const FIRST: Duration = Duration::from_secs(1);
    /// The longest delay. A session that lasted longer than this starts over from the first.
    pub(super) const LONGEST: Duration = Duration::from_secs(60);

    pub(super) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// Returns the next delay; [`Delays::new`] starts over.
    pub(super) fn next(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(Self::LONGEST);
        delay
    }
}

/// A schedule of repetitions: its intervals grow, and the last one repeats for ever.
pub(super) struct Repeats {
    intervals_s: &'static [u64],
    /// The number of repetitions that were due already.
    passed: usize,
    due: Instant,
}

impl Repeats {
    /// Starts a schedule whose first repetition is due one interval from now. `intervals_s` are
    /// seconds from one repetition to the next.
    pub(super) fn new(intervals_s: &'static [u64]) -> Self {
        Self { intervals_s, passed: 0, due: after(intervals_s, 0) }
    }

    /// Waits for the next repetition and sets the time of the one after it.
    ///
    /// ## Cancel safety
    ///
    /// A repetition whose wait was dropped midway is still due.
    pub(super) async fn due(&mut self) {
        sleep_until(self.due.into()).await;
        self.passed += 1;
        self.due = after(self.intervals_s, self.passed);
    }
}

/// Returns the time of the repetition that follows `passed` others.
fn after(intervals_s: &[u64], passed: usize) -> Instant {
    let interval = intervals_s.get(passed).or(intervals_s.last()).copied().unwrap_or_default();
    Instant::now() + jittered(Duration::from_secs(interval))
}

/// Returns `base` and up to an eighth more or less, so that machines that started together do not
/// send together.
pub(super) fn jittered(base: Duration) -> Duration {
    base.mul_f64(0.875 + 0.25 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_minute() {
        let mut delays = Delays::new();
        let seconds: Vec<u64> = (0..8).map(|_| delays.next().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_interval_of_a_schedule_repeats() {
        let mut repeats = Repeats::new(&[3, 60]);
        let mut waits = Vec::new();
        for _ in 0..4 {
            waits.push(repeats.due.duration_since(Instant::now()).as_secs_f64());
            repeats.due = Instant::now();
            repeats.due().await;
        }
        for (wait, interval) in waits.iter().zip([3.0, 60.0, 60.0, 60.0]) {
            assert!((interval / 2.0..interval * 2.0).contains(wait), "{wait} of {interval}");
        }
    }
}
