//! The processor time that a program has used, by the kernel's own account.

use std::time::Duration;

use crate::lab::Process;

/// Linux reports user and system time to every program in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// The processor time that a program has used since its start.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    user: Duration,
    sys: Duration,
    /// The time of all its threads to the nanosecond, where the kernel keeps that account.
    exact: Option<Duration>,
}

/// The processor time between two looks, in seconds.
pub(crate) struct Used {
    pub(crate) user: f64,
    pub(crate) sys: f64,
}

impl Cpu {
    pub(crate) fn of(program: &Process) -> Self {
        let stat = program.proc("stat");
        // The name in brackets may contain anything; the numbers begin behind it with the third
        // field.
        let numbers = stat.rsplit(')').next().unwrap_or_default();
        let ticks = |field: usize| {
            let number = numbers.split_whitespace().nth(field - 3);
            TICK * number.and_then(|number| number.parse().ok()).expect("proc_pid_stat(5)")
        };
        let exact = || {
            let lines = program.proc("task/*/schedstat");
            let lines = lines.lines().filter(|line| !line.trim().is_empty());
            lines.map(|line| line.split(' ').next()?.parse::<u64>().ok()).sum::<Option<u64>>()
        };
        Self { user: ticks(14), sys: ticks(15), exact: exact().map(Duration::from_nanos) }
    }

    /// The processor time that several programs have used together.
    pub(crate) fn of_all(programs: &[Process]) -> Self {
        let add = |sum: Self, more: Self| Self {
            user: sum.user + more.user,
            sys: sum.sys + more.sys,
            exact: sum.exact.zip(more.exact).map(|(sum, more)| sum + more),
        };
        programs.iter().map(Self::of).reduce(add).expect("there is at least one program")
    }

    /// The time that was used since `before`. The exact sum is divided in the proportion of the
    /// ticks.
    pub(crate) fn since(self, before: Self) -> Used {
        let (user, sys) = (
            (self.user.saturating_sub(before.user)).as_secs_f64(),
            (self.sys.saturating_sub(before.sys)).as_secs_f64(),
        );
        match (self.exact, before.exact) {
            // The account of a thread that has ended meanwhile is lost; then the ticks are right.
            (Some(now), Some(then)) if now > then => {
                let share = if user + sys > 0.0 { user / (user + sys) } else { 0.5 };
                let all = (now - then).as_secs_f64();
                Used { user: all * share, sys: all * (1.0 - share) }
            }
            _ => Used { user, sys },
        }
    }
}

impl Used {
    pub(crate) fn total(&self) -> f64 {
        self.user + self.sys
    }
}
