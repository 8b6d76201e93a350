//! How many labs run at once. A scenario mostly waits (for a probe, a goodbye, a program that
//! starts), so several run side by side. But it also measures times, so all of them together must
//! not need more of the machine than it has.

use std::sync::{Condvar, LazyLock, Mutex, PoisonError};

use super::lock;

/// Parts into which a core is divided. Measured: a lab in which nobody asks needs a tenth to a quarter
/// of a core, one with four clients a third to a half, one with a crowd a whole one and more.
const PARTS_OF_A_CORE: u32 = 4;

/// Labs of the slow tier at once: they wait for minutes and do little else.
const SLOW_LABS_MAX: u32 = 6;

/// What a lab, or a test that computes, needs of the machine.
#[derive(Clone, Copy)]
pub(crate) enum Need {
    /// It mostly waits.
    Little,
    /// A few clients ask all the time.
    HalfACore,
    /// It keeps a core busy: a crowd of clients, a crowd of nodes, or a computation.
    Core,
    /// It waits for minutes. Only the slow tier has such tests, and they take nothing from the
    /// others, which are over when these still run.
    Minutes,
}

/// A tier's share of the machine, handed out in the order in which it was asked for: without the
/// order, a lab that needs much would wait until those that need little are all over.
struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    free: u32,
    /// The number that the next test in the queue gets.
    next: u64,
    /// The number that is at the head of the queue.
    called: u64,
}

static FAST: LazyLock<Turns> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Turns::new(PARTS_OF_A_CORE * u32::try_from(cores).unwrap_or(u32::MAX / PARTS_OF_A_CORE))
});

static SLOW: LazyLock<Turns> = LazyLock::new(|| Turns::new(SLOW_LABS_MAX));

/// The right to use a part of the machine, until it is dropped.
pub(crate) struct Turn {
    turns: &'static Turns,
    parts: u32,
}

impl Turn {
    /// Waits until the machine has time for this.
    pub(crate) fn wait(need: Need) -> Self {
        let (turns, parts): (&'static Turns, _) = match need {
            Need::Little => (&FAST, 1),
            Need::HalfACore => (&FAST, PARTS_OF_A_CORE / 2),
            Need::Core => (&FAST, PARTS_OF_A_CORE),
            Need::Minutes => (&SLOW, 1),
        };
        turns.take(parts);
        Self { turns, parts }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.turns.state).free += self.parts;
        self.turns.changed.notify_all();
    }
}

impl Turns {
    fn new(free: u32) -> Self {
        Self { state: Mutex::new(State { free, next: 0, called: 0 }), changed: Condvar::new() }
    }

    fn take(&self, parts: u32) {
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        let not_yet = |state: &mut State| state.called != number || state.free < parts;
        let waited = self.changed.wait_while(state, not_yet);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.free -= parts;
        state.called += 1;
        // The next in the queue may fit in beside this one.
        self.changed.notify_all();
    }
}
