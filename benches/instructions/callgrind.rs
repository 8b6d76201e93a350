//! The balancer under callgrind: the number of instructions that each of its threads has executed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::asker::Asker;
use crate::course::Course;
use crate::lab::{Balancer, Lab, pause};
use crate::spread::Spread;

/// Its files all lie in the Pi's own `/run`. `set` makes the balancer an argument of callgrind.
const SCRIPT: &str = "set -- valgrind --tool=callgrind --separate-threads=yes \
    --callgrind-out-file=/run/callgrind.out --vgdb-prefix=/run/vgdb \"$@\"";

/// The number of repetitions of the two counts.
const ROUNDS: usize = 3;

/// The time in which the discovery runs alone.
const IDLE: Duration = Duration::from_secs(5);

/// The number of functions that are shown.
const FUNCTIONS_MAX: usize = 25;

/// A thread is in its outermost functions from its start to its end, and callgrind adds all
/// instructions to them.
const WHOLE: f64 = 99.0;

/// True if the instructions of called functions count for their caller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Callees {
    With,
    Without,
}

/// Instructions by thread, since the previous count.
type Counts = BTreeMap<String, u64>;

/// Instructions of a request.
struct Round {
    worker: f64,
    /// The instructions of all other threads.
    others: f64,
    /// The instructions that they would have executed meanwhile without any request.
    idle: f64,
}

/// A balancer, and the number of counts so far.
struct Watched {
    lb: Balancer,
    dumps: u32,
}

/// The lines of text for the count.
pub(crate) fn count(lab: &Lab, binary: &str, course: &Course, profile: bool) -> String {
    let mut lb = Watched { lb: course.start(lab, binary, SCRIPT), dumps: 0 };
    let asker = Asker::new(lab, &lb.lb, course);
    // The work of the first requests, which is done only once, is done here.
    asker.ask(1);
    lb.take();
    asker.ask(1);
    let counts = lb.take();
    let busiest = counts.into_iter().max_by_key(|(_, count)| *count);
    let worker = busiest.expect("a program has a thread").0;

    let began = Instant::now();
    pause(IDLE);
    let idle_per_second = others(&lb.take(), &worker) / began.elapsed().as_secs_f64();

    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let mut burst = |times| {
                let took = asker.ask(times).as_secs_f64();
                let counts = lb.take();
                Round {
                    worker: counts[&worker] as f64,
                    others: others(&counts, &worker),
                    idle: idle_per_second * took,
                }
            };
            let (once, often) = (burst(1), burst(5));
            often.more_than(&once, (4 * course.requests) as f64)
        })
        .collect();
    let mut text = tell(&rounds);
    if profile {
        for (title, callees) in [("themselves", Callees::Without), ("with callees", Callees::With)]
        {
            let _ = writeln!(text, "    worker, functions {title}:");
            text += &lb.functions(&worker, callees);
        }
    }
    text
}

fn others(counts: &Counts, worker: &str) -> f64 {
    let others = counts.iter().filter(|(thread, _)| *thread != worker);
    others.map(|(_, count)| *count as f64).sum()
}

fn tell(rounds: &[Round]) -> String {
    let spread = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure)).show("", 0);
    format!(
        "    instructions, worker         {}\n    instructions, other threads  {}, idle in that time {}\n",
        spread(|round| round.worker),
        spread(|round| round.others),
        spread(|round| round.idle),
    )
}

impl Round {
    /// The difference of the two counts, divided by that of the requests.
    fn more_than(&self, fewer: &Self, requests: f64) -> Self {
        Self {
            worker: (self.worker - fewer.worker) / requests,
            others: (self.others - fewer.others) / requests,
            idle: (self.idle - fewer.idle) / requests,
        }
    }
}

impl Watched {
    /// Takes the counts and sets them to zero.
    fn take(&mut self) -> Counts {
        self.dumps += 1;
        let dump = format!(
            "vgdb --vgdb-prefix=/run/vgdb dump 2>/dev/null
            grep -H '^totals: ' /run/callgrind.out.{}-*",
            self.dumps
        );
        let text = self.lb.pi().run(&["sh", "-c", &dump]);
        let count = |line: &str| {
            let (file, count) = line.split_once(":totals: ")?;
            Some((file.rsplit_once('-')?.1.to_owned(), count.trim().parse().ok()?))
        };
        text.lines().filter_map(count).collect()
    }

    /// The functions of the last count in which a thread spent most.
    fn functions(&self, thread: &str, callees: Callees) -> String {
        let with = if callees == Callees::With { "yes" } else { "no" };
        let annotate = format!(
            "callgrind_annotate --threshold=100 --auto=no --inclusive={with} \
             /run/callgrind.out.{}-{thread}",
            self.dumps
        );
        let text = self.lb.pi().run(&["sh", "-c", &annotate]);
        let mut shares: BTreeMap<&str, f64> = BTreeMap::new();
        for (share, function) in text.lines().filter_map(share_of) {
            let known = shares.entry(function).or_default();
            // A line is a function in one file. Code that was inlined from other files has its own
            // lines.
            *known = if callees == Callees::With { known.max(share) } else { *known + share };
        }
        let mut shares: Vec<_> = shares.into_iter().filter(|(_, share)| *share < WHOLE).collect();
        shares.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let line = |(function, share): &(&str, f64)| format!("      {share:5.2} %  {function}\n");
        shares.iter().take(FUNCTIONS_MAX).map(line).collect()
    }
}

/// Splits `5,810,000 ( 5.63%)  file.rs:a::function [object]` into share and name.
fn share_of(line: &str) -> Option<(f64, &str)> {
    let (share, rest) = line.split_once('(')?.1.split_once("%)")?;
    let function = rest.split_once(':')?.1;
    let function = function.split_once(" [").map_or(function, |(function, _)| function);
    Some((share.trim().parse().ok()?, function))
}
