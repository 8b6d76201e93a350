//! The time that a node is expected to need until the head of its answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// An observation of this age counts for about a third (1/e).
const DECAY: Duration = Duration::from_secs(10);

/// An exponentially weighted mean of latencies that rises at once and falls by time ("peak EWMA").
/// So one slow answer is enough to spare a node, and a node without answers is asked again after a
/// while.
///
/// It is kept only where a policy reads it: before the first read, [`Self::add`] is one look at it.
///
/// One atomic holds two halves, so that they agree without a lock: the time of the last answer in
/// milliseconds since the process started, made odd, so that the value is never 0; and the seconds,
/// as the bits of a `f32`. When two answers come at the same moment, one may be lost; the next
/// answer brings the same news.
#[derive(Debug, Default)]
pub struct PeakEwma(AtomicU64);

impl PeakEwma {
    /// The expected latency in seconds as of `now` (time since the process started); 0 when nothing
    /// is known.
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

    /// Takes in the latency of one answer, as of `now` (time since the process started).
    pub(super) fn add(&self, now: Duration, latency: Duration) {
        let seen = self.0.load(Ordering::Relaxed);
        if seen == 0 {
            return;
        }
        let (seconds, left) = unpacked(seen, now);
        let latency = latency.as_secs_f32();
        let mean = seconds * left + latency * (1.0 - left);
        self.0.store(packed(mean.max(latency), now), Ordering::Relaxed);
    }
}

fn packed(seconds: f32, now: Duration) -> u64 {
    u64::from(now.as_millis() as u32 | 1) << 32 | u64::from(seconds.to_bits())
}

/// The stored seconds, and the part of them that is left at `now`, 0 to 1.
fn unpacked(seen: u64, now: Duration) -> (f32, f32) {
    // All workers read one clock, but may store what they read in another order.
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
    fn nothing_is_kept_before_the_first_read() {
        let ewma = PeakEwma::default();
        ewma.add(START, MS);
        assert_eq!(ewma.read(START), 0.0);
        ewma.add(START, MS);
        assert_eq!(ewma.read(START), 0.001);
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_fades() {
        let ewma = PeakEwma::default();
        ewma.read(START);
        ewma.add(START, MS);
        ewma.add(after(0), 50 * MS);
        assert_eq!(ewma.read(after(0)), 0.050);
        let third = ewma.read(after(10));
        assert!((0.0183..0.0185).contains(&third), "{third}");
        assert!(ewma.read(after(60)) < 0.001);
    }

    #[test]
    fn many_quick_answers_in_a_short_time_do_not_keep_it_high() {
        let ewma = PeakEwma::default();
        ewma.read(START);
        ewma.add(START, 50 * MS);
        for ms in 0..30_000 {
            ewma.add(START + ms * MS, MS);
        }
        let seconds = ewma.read(after(30));
        assert!((0.001..0.004).contains(&seconds), "{seconds}");
    }
}
