//! The limit on how many labs run at once. A scenario mostly waits: for a probe, a goodbye, a
//! program that starts. So several run side by side. But a scenario also measures times, so all of
//! them together must not need more of the machine than it has.

use std::sync::{Condvar, LazyLock, Mutex, PoisonError};

use super::lock;

/// The parts into which a core is divided. Measured: a lab without clients needs a tenth to a
/// quarter of a core, one with four clients a third to a half, one with a crowd a whole core and
/// more.
const PARTS_OF_A_CORE: u32 = 4;

/// The labs of the slow tier that run at once. They wait for minutes and do little else.
const SLOW_LABS_MAX: u32 = 6;

/// The part of the machine that a lab, or a test that computes, needs.
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

/// The part of the machine for one tier, handed out in the order of the requests. Without this
/// order, a lab that needs much would wait until all that need little are over.
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
        // The next test in the queue may fit in beside this one.
        self.changed.notify_all();
    }
}
