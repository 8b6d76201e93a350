//! How long a node is expected to take until the head of its answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// After this long, what was seen counts for about a third.
const DECAY: Duration = Duration::from_secs(10);

/// The peak of what was seen, which fades: an exponentially weighted mean that rises at once and
/// falls by time ("peak EWMA"). So one slow answer is enough to be spared, and a node of which nothing
/// is heard is asked again after a while.
///
/// It is kept only where somebody reads it: until then an answer pays one look at it.
///
/// One atomic of two halves, so that no lock is needed for them to agree: the time in milliseconds
/// since the process started, made odd, so that a value is never 0; and the seconds, as the bits of
/// a `f32`. Two answers at once may lose one of them; the next brings the same news.
#[derive(Debug, Default)]
pub struct PeakEwma(AtomicU64);

impl PeakEwma {
    /// The expectation in seconds as of `now` (since the process started); 0 when nothing is known.
    pub(crate) fn read(&self, now: Duration) -> f32 {
        match self.0.load(Ordering::Relaxed) {
            0 => {
                self.0.store(packed(0.0, now), Ordering::Relaxed);
                0.0
            }
            seen => {
                let (seconds, left) = unpacked(seen, now);
                seconds * left
            }
        }
    }

    /// An answer took so long.
    pub(super) fn add(&self, now: Duration, took: Duration) {
        let seen = self.0.load(Ordering::Relaxed);
        if seen == 0 {
            return;
        }
        let (seconds, left) = unpacked(seen, now);
        let took = took.as_secs_f32();
        let mean = seconds * left + took * (1.0 - left);
        self.0.store(packed(mean.max(took), now), Ordering::Relaxed);
    }
}

fn packed(seconds: f32, now: Duration) -> u64 {
    u64::from(now.as_millis() as u32 | 1) << 32 | u64::from(seconds.to_bits())
}

/// The seconds as they were, and what part of them is left.
fn unpacked(seen: u64, now: Duration) -> (f32, f32) {
    // Workers' clocks are one, but what they read may be stored in another order.
    let elapsed_ms = (now.as_millis() as u32 | 1).wrapping_sub((seen >> 32) as u32) as i32;
    let left = libm::expf(-elapsed_ms.max(0) as f32 / DECAY.as_millis() as f32);
    (f32::from_bits(seen as u32), left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);
    const MS: Duration = Duration::from_millis(1);

    fn after(seconds: u64) -> Duration {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_is_kept_until_somebody_reads() {
        let expected = PeakEwma::default();
        expected.add(START, MS);
        assert_eq!(expected.read(START), 0.0);
        expected.add(START, MS);
        assert_eq!(expected.read(START), 0.001);
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_fades() {
        let expected = PeakEwma::default();
        expected.read(START);
        expected.add(START, MS);
        expected.add(after(0), 50 * MS);
        assert_eq!(expected.read(after(0)), 0.050);
        let third = expected.read(after(10));
        assert!((0.0183..0.0185).contains(&third), "{third}");
        assert!(expected.read(after(60)) < 0.001);
    }

    #[test]
    fn many_quick_answers_in_a_short_time_do_not_hold_it_up() {
        let expected = PeakEwma::default();
        expected.read(START);
        expected.add(START, 50 * MS);
        for ms in 0..30_000 {
            expected.add(START + ms * MS, MS);
        }
        let seconds = expected.read(after(30));
        assert!((0.001..0.004).contains(&seconds), "{seconds}");
    }
}
