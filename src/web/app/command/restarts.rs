//! The pauses before a command is started again: the more often it ended in a row, the longer.

use std::time::Duration;

/// The pause grows from the first of these to the second, doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A command that ran for this long ran well: its earlier ends are forgotten.
const RAN_WELL: Duration = Duration::from_secs(60);

/// The ends of a command in a row.
#[derive(Default)]
pub(super) struct Restarts(u32);

impl Restarts {
    /// Counts an end of the command after it ran for this long. Returns the pause before the next start.
    pub(super) fn ended(&mut self, ran: Duration) -> Duration {
        self.0 = if ran >= RAN_WELL { 1 } else { self.0.saturating_add(1) };
        let doubled = 1u32.checked_shl(self.0 - 1).unwrap_or(u32::MAX);
        PAUSE_MIN.saturating_mul(doubled).min(PAUSE_MAX)
    }

    /// The reason of the last end, with the number of ends if it is not the first.
    pub(super) fn describe(&self, why: &str) -> String {
        if self.0 == 1 { why.to_owned() } else { format!("{why}, {} times", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_double_and_begin_again_after_a_long_run() {
        let mut restarts = Restarts::default();
        let soon = Duration::from_secs(1);
        let pauses: Vec<_> = (0..7).map(|_| restarts.ended(soon).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(restarts.describe("exited with code 1"), "exited with code 1, 7 times");
        assert_eq!(restarts.ended(RAN_WELL).as_secs(), 1);
        assert_eq!(restarts.describe("exited with code 1"), "exited with code 1");
        restarts.0 = u32::MAX;
        assert_eq!(restarts.ended(soon), PAUSE_MAX);
    }
}
