//! What a proxied request costs in processor time, beside HAProxy.
//!
//! The two take turns, and who goes first alternates from round to round, so that whatever else the
//! machine does meets both. The ratio that is held against the bar is that of the two medians.

use crate::Effort;
use crate::cpu::Cpu;
use crate::lab::{Lab, is_installed};
use crate::rivals::{Ground, Rival};
use crate::spread::Spread;
use crate::table::{Table, failed};
use crate::wrk::Run;

/// CPU time of ours over theirs.
const BAR: &str = "0.85";

/// Resident memory of ours over theirs.
const MEMORY_BAR: &str = "a third";

/// What is asked, and by how many.
struct Course {
    title: &'static str,
    path: &'static str,
    clients: usize,
}

/// One turn of one balancer; processor time in microseconds a request.
struct Turn {
    run: Run,
    user: f64,
    sys: f64,
    /// Connections to the nodes that were made in it: a balancer that does not keep them pays for
    /// that, and the comparison would be one of settings.
    connects: f64,
}

/// All turns of one balancer.
struct Result {
    name: &'static str,
    turns: Vec<Turn>,
    resident_mib: f64,
}

pub(crate) fn clients_64(effort: &Effort, lab: &Lab, table: &mut Table) {
    run(effort, lab, table, &Course { title: "64 clients", path: "/", clients: 64 });
}

pub(crate) fn clients_512(effort: &Effort, lab: &Lab, table: &mut Table) {
    run(effort, lab, table, &Course { title: "512 clients", path: "/", clients: 512 });
}

pub(crate) fn large_answers(effort: &Effort, lab: &Lab, table: &mut Table) {
    run(effort, lab, table, &Course { title: "1 MiB", path: "/1mib", clients: 16 });
}

fn run(effort: &Effort, lab: &Lab, table: &mut Table, course: &Course) {
    let missing: Vec<_> =
        ["haproxy", "nginx", "wrk"].into_iter().filter(|tool| !is_installed(tool)).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return table.note(&format!("{}: not measured, not installed: {missing}", course.title));
    }
    let ground = Ground::start(lab);
    let (rounds, seconds) = effort.of((5, 4), (3, 1));
    for rival in ground.rivals() {
        // The first requests open the connections to the nodes and fill the caches.
        Turn::take(lab, &ground, rival, course, 1);
    }
    let mut results = ground.rivals().map(|rival| Result::new(rival.name));
    for round in 0..rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let turn = Turn::take(lab, &ground, ground.rivals()[which], course, seconds);
            results[which].turns.push(turn);
        }
    }
    for (result, rival) in results.iter_mut().zip(ground.rivals()) {
        result.resident_mib = rival.process.resident_kib() as f64 / 1024.0;
    }
    tell(course, &results, table);
}

impl Turn {
    fn take(lab: &Lab, ground: &Ground, rival: &Rival, course: &Course, seconds: u64) -> Self {
        let url = format!("{}{}", rival.url, course.path);
        let accepted = ground.accepted(lab);
        let before = Cpu::of(&rival.process);
        let run = Run::new(&ground.pi, &url, course.clients, seconds);
        let used = Cpu::of(&rival.process).since(before);
        assert!(run.answers > 0, "{} gave no answer in {seconds} s", rival.name);
        let connects = (ground.accepted(lab) - accepted) as f64;
        let each = 1e6 / run.answers as f64;
        Self { run, user: used.user * each, sys: used.sys * each, connects }
    }

    fn total(&self) -> f64 {
        self.user + self.sys
    }
}

impl Result {
    fn new(name: &'static str) -> Self {
        Self { name, turns: Vec::new(), resident_mib: 0.0 }
    }

    fn spread(&self, figure: fn(&Turn) -> f64) -> Spread {
        Spread::of(self.turns.iter().map(figure))
    }

    fn median(&self, figure: fn(&Turn) -> f64) -> f64 {
        self.spread(figure).median()
    }

    fn failed(&self) -> String {
        let sum = |count: fn(&Turn) -> u64| self.turns.iter().map(count).sum::<u64>();
        failed(sum(|turn| turn.run.errors), sum(|turn| turn.run.answers))
    }
}

fn tell(course: &Course, results: &[Result; 2], table: &mut Table) {
    for result in results {
        let name = result.name;
        table.row(
            &format!("{}, {name}: CPU/request", course.title),
            "",
            result.spread(Turn::total).show(" us", 1),
            result.failed(),
        );
        let (user, sys) = (result.median(|turn| turn.user), result.median(|turn| turn.sys));
        table.row("  user + sys", "", format!("{user:.1} + {sys:.1} us"), String::new());
        let rate = result.median(|turn| turn.run.per_second);
        let p99 = result.spread(|turn| turn.run.p99_ms).show(" ms", 1);
        table.row("  requests/s, p99", "", format!("{rate:.0}, {p99}"), String::new());
        let connects = result.spread(|turn| turn.connects).show("", 0);
        table.row("  connections to nodes, a round", "", connects, String::new());
        let resident = result.resident_mib;
        table.row("  resident", "", format!("{resident:.1} MiB"), String::new());
    }
    let [theirs, ours] = results;
    let rounds = ours.turns.iter().zip(&theirs.turns).map(|(a, b)| a.total() / b.total());
    let rounds = Spread::of(rounds);
    let ratio = ours.median(Turn::total) / theirs.median(Turn::total);
    table.row(
        &format!("{}: CPU, ours to HAProxy's", course.title),
        BAR,
        format!("{ratio:.2} ({:.2} to {:.2})", rounds.least(), rounds.greatest()),
        String::new(),
    );
    let p99 = |result: &Result| result.median(|turn| turn.run.p99_ms);
    let seen = format!("{:.2}", p99(ours) / p99(theirs));
    table.row("  p99, ours to HAProxy's", "1.0", seen, String::new());
    let seen = format!("{:.2}", ours.resident_mib / theirs.resident_mib);
    table.row("  resident, ours to HAProxy's", MEMORY_BAR, seen, String::new());
}
