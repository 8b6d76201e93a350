//! One timer a connection, for all the limits that follow one another on it.
//!
//! A timeout that is made and dropped at each step would be entered into the runtime's wheel and
//! taken out again several times a request. This one stays where it is: it is moved only when a
//! limit ends before it would ring; when it rings too early, it is set again. It wakes the task that
//! asked it last, so all steps have to be of one task.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The time limit ran out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Elapsed;

/// A timer for the steps of one task. It allocates nothing until a step first has to wait.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When the last step that had to wait began to.
    waiting_since: Option<Instant>,
    /// `waiting_since` was set after the timer was last polled.
    just_began: bool,
}

impl Timer {
    /// Waits for `step`, but not longer than `limit`. The caller pins it: an async function holds twice
    /// what it takes by value, and steps lie within steps.
    ///
    /// ## Cancel safety
    /// As that of `step`.
    pub(super) async fn within<F: Future>(
        &mut self,
        limit: Duration,
        step: Pin<&mut F>,
    ) -> Result<F::Output, Elapsed> {
        (self.waiting_since, self.just_began) = (None, false);
        self.still_within(limit, step).await
    }

    /// Goes on waiting, for `step` now, but not longer than `limit` since the wait began.
    ///
    /// ## Cancel safety
    /// As that of `step`.
    pub(super) async fn still_within<F: Future>(
        &mut self,
        limit: Duration,
        mut step: Pin<&mut F>,
    ) -> Result<F::Output, Elapsed> {
        poll_fn(|context| {
            if let Poll::Ready(output) = step.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            // Most steps do not wait, and then the clock is not asked.
            let since = self.waiting_since.unwrap_or_else(|| self.begin());
            let deadline = since + limit;
            let just_began = std::mem::take(&mut self.just_began);
            let sleep = match &mut self.sleep {
                // It rings within the limit, and this task has asked it before.
                Some(sleep)
                    if just_began && sleep.deadline() > since && sleep.deadline() <= deadline =>
                {
                    return Poll::Pending;
                }
                Some(sleep) => sleep,
                none => none.insert(Box::pin(sleep_until(deadline))),
            };
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            while sleep.as_mut().poll(context).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(Err(Elapsed));
                }
                sleep.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }

    /// Begins a wait now, whose end [`Self::still_within`] decides. Returns the time.
    pub(super) fn begin(&mut self) -> Instant {
        self.just_began = true;
        *self.waiting_since.insert(Instant::now())
    }

    /// The time at which the last step, or the first of those that went on, began to wait; now if none
    /// had to.
    pub(super) fn waiting_since(&self) -> Instant {
        self.waiting_since.unwrap_or_else(Instant::now)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_step_in_time_gives_its_output_and_a_late_one_does_not() {
        let mut timer = Timer::default();
        assert_eq!(timer.within(SECOND, pin!(sleep(SECOND / 2))).await, Ok(()));
        assert_eq!(timer.within(SECOND, pin!(pending::<()>())).await, Err(Elapsed));
    }

    #[tokio::test(start_paused = true)]
    async fn each_limit_counts_from_its_own_step_whichever_came_before() {
        for limits in [[1, 60], [60, 1], [5, 5]] {
            let mut timer = Timer::default();
            for limit in limits.map(|seconds| SECOND * seconds) {
                assert_eq!(timer.within(limit * 2, pin!(sleep(limit))).await, Ok(()));
                let began = Instant::now();
                assert_eq!(timer.within(limit, pin!(pending::<()>())).await, Err(Elapsed));
                assert!(began.elapsed() - limit < SECOND / 10, "{:?}", began.elapsed());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_was_set_for_one_step_rings_for_the_next_ones_too() {
        let mut timer = Timer::default();
        for _ in 0..5 {
            // Set by the first, and not asked again by the others.
            assert_eq!(timer.within(SECOND, pin!(tokio::task::yield_now())).await, Ok(()));
        }
        assert_eq!(timer.within(SECOND * 60, pin!(pending::<()>())).await, Err(Elapsed));
        let began = Instant::now();
        let since = timer.begin();
        assert_eq!(timer.still_within(SECOND, pin!(pending::<()>())).await, Err(Elapsed));
        assert_eq!((since, began.elapsed().as_secs()), (began, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_goes_on_counts_from_its_first_step() {
        let mut timer = Timer::default();
        let began = Instant::now();
        assert_eq!(timer.within(SECOND, pin!(pending::<()>())).await, Err(Elapsed));
        assert_eq!(timer.waiting_since(), began);
        assert_eq!(timer.still_within(3 * SECOND, pin!(pending::<()>())).await, Err(Elapsed));
        assert!(began.elapsed() - 3 * SECOND < SECOND / 10, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_never_waits_arms_nothing() {
        let mut timer = Timer::default();
        assert_eq!(timer.within(SECOND, pin!(async { 7 })).await, Ok(7));
        assert!(timer.sleep.is_none());
    }
}
