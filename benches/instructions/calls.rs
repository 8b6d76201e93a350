//! The system calls of the balancer's worker, as strace counts them.

use std::collections::{BTreeMap, BTreeSet};

use crate::asker::Asker;
use crate::course::Course;
use crate::lab::{Balancer, Lab};
use crate::spread::Spread;

/// The number of repetitions of the two counts. Chance decides how often a read finds nothing yet.
const ROUNDS: usize = 5;

/// System calls by name.
type Counts = BTreeMap<String, f64>;

/// A line of text for the count.
pub(crate) fn count(lab: &Lab, binary: &str, course: &Course) -> String {
    let lb = course.start(lab, binary, "");
    let asker = Asker::new(lab, &lb, course);
    asker.ask(1);
    let rounds: Vec<Counts> = (0..ROUNDS)
        .map(|_| {
            let [once, often] = [1, 5].map(|times| of_burst(&lb, &asker, times));
            let quotient = |(name, count): (String, f64)| {
                let fewer = once.get(&name).copied().unwrap_or_default();
                (name, (count - fewer) / (4 * course.requests) as f64)
            };
            often.into_iter().map(quotient).collect()
        })
        .collect();
    let names: BTreeSet<_> = rounds.iter().flat_map(Counts::keys).collect();
    let each = |name: &&String| {
        let counts = rounds.iter().map(|round| round.get(*name).copied().unwrap_or_default());
        (Spread::of(counts).median(), (*name).clone())
    };
    let each = names.iter().map(each).filter(|(count, _)| *count >= 0.005);
    let each: Vec<_> = each.map(|(count, name)| format!("{name} {count:.2}")).collect();
    let all = Spread::of(rounds.iter().map(|round| round.values().sum()));
    format!("    system calls, worker         {} : {}\n", all.show("", 2), each.join(", "))
}

/// The worker's calls during this many requests.
fn of_burst(lb: &Balancer, asker: &Asker, times: u64) -> Counts {
    let find = "grep -l worker-0 /proc/[0-9]*/task/*/comm | cut -d / -f 5";
    let thread = lb.pi().run(&["sh", "-c", find]);
    let strace = lb.pi().start(&["strace", "-c", "-p", thread.trim()]);
    strace.wait_for_log("attached");
    asker.ask(times);
    strace.signal("INT");
    strace.output().lines().filter_map(read).collect()
}

/// ```text
/// % time     seconds  usecs/call     calls    errors syscall
/// ------ ----------- ----------- --------- --------- ----------------
///  43.42    0.054321           5     10000           sendto
///  12.00    0.014000           3      4000        12 recvfrom
/// 100.00    0.125000           4     26000        12 total
/// ```
fn read(line: &str) -> Option<(String, f64)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let name = words.last().filter(|name| **name != "total")?;
    words.first()?.parse::<f64>().ok()?;
    Some(((*name).to_owned(), words.get(3)?.parse().ok()?))
}
