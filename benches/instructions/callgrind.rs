//! The balancer under callgrind: how many instructions each of its threads has executed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::asker::Asker;
use crate::course::Course;
use crate::lab::{Balancer, Lab, pause};
use crate::spread::Spread;

/// All its files lie in the Pi's own `/run`. `set` makes the balancer callgrind's argument.
const SCRIPT: &str = "set -- valgrind --tool=callgrind --separate-threads=yes \
    --callgrind-out-file=/run/callgrind.out --vgdb-prefix=/run/vgdb \"$@\"";

/// So often the two counts are taken.
const ROUNDS: usize = 3;

/// How long the discovery is watched alone.
const IDLE: Duration = Duration::from_secs(5);

/// Functions that are shown.
const FUNCTIONS_MAX: usize = 25;

/// A thread is in its outermost functions from its start to its end, and callgrind counts all as theirs.
const WHOLE: f64 = 99.0;

/// True if what a function calls counts as its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Callees {
    With,
    Without,
}

/// Instructions by thread, since the count before.
type Counts = BTreeMap<String, u64>;

/// Instructions a request.
struct Round {
    worker: f64,
    /// Of all other threads.
    others: f64,
    /// What they would have done meanwhile if nobody had asked.
    idle: f64,
}

/// A balancer, and how often its counts were taken.
struct Watched {
    lb: Balancer,
    dumps: u32,
}

/// Lines of text that tell the count.
pub(crate) fn count(lab: &Lab, binary: &str, course: &Course, profile: bool) -> String {
    let mut lb = Watched { lb: course.start(lab, binary, SCRIPT), dumps: 0 };
    let asker = Asker::new(lab, &lb.lb, course);
    // What is done once only, at the first requests, is done here.
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
    /// The difference quotient.
    fn more_than(&self, fewer: &Self, requests: f64) -> Self {
        Self {
            worker: (self.worker - fewer.worker) / requests,
            others: (self.others - fewer.others) / requests,
            idle: (self.idle - fewer.idle) / requests,
        }
    }
}

impl Watched {
    /// Takes the counts; they begin at zero again.
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
            // A line is a function in one file; what was inlined from others has lines of its own.
            *known = if callees == Callees::With { known.max(share) } else { *known + share };
        }
        let mut shares: Vec<_> = shares.into_iter().filter(|(_, share)| *share < WHOLE).collect();
        shares.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let line = |(function, share): &(&str, f64)| format!("      {share:5.2} %  {function}\n");
        shares.iter().take(FUNCTIONS_MAX).map(line).collect()
    }
}

/// `5,810,000 ( 5.63%)  file.rs:a::function [object]` as its share and its name.
fn share_of(line: &str) -> Option<(f64, &str)> {
    let (share, rest) = line.split_once('(')?.1.split_once("%)")?;
    let function = rest.split_once(':')?.1;
    let function = function.split_once(" [").map_or(function, |(function, _)| function);
    Some((share.trim().parse().ok()?, function))
}
