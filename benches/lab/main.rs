//! The figures that picluster is held to, measured on one machine and printed as one table.
//!
//! ```text
//! cargo bench --bench lab                    all, under 8 minutes
//! cargo bench --bench lab -- join loss       the groups whose name holds one of the words
//! cargo bench --bench lab -- --quick         fewer and shorter rounds, to see that it works
//! cargo bench --bench lab -- --long          also what the clones are after 260 s
//! cargo bench --bench lab -- spread --binary PATH   also how another build spreads its clients
//! ```
//!
//! Each figure stands beside its bar and beside the requests that failed during the measurement,
//! because a fast answer that is an error is no answer. A figure of several rounds is the median,
//! with the least and the greatest in brackets.
//!
//! The benchmark measures real processes of the release binary, in the network namespaces of the
//! integration tests' lab (`tests/it/lab.rs`). It needs no privileges. `cargo bench --bench versus`
//! compares the speed with that of other balancers.
//!
//! Run it on a machine that does nothing else. The load average at the start is printed, and above
//! 0.5 no figure means much.

#[path = "../../tests/it"]
mod it {
    #[expect(
        dead_code,
        unused_imports,
        reason = "the lab is made for the tests, which use all of it"
    )]
    pub(crate) mod lab;
}

#[path = "../common/asks.rs"]
mod asks;
mod balance;
#[path = "../common/client.rs"]
mod client;
mod clones;
#[path = "../common/cpu.rs"]
#[expect(dead_code, reason = "each program is looked at alone")]
mod cpu;
mod crowd;
#[path = "../common/files.rs"]
mod files;
#[path = "../common/load.rs"]
mod load;
mod losses;
#[path = "../common/release.rs"]
mod release;
#[path = "../common/report.rs"]
#[expect(dead_code, reason = "the table goes into no document")]
mod report;
mod rest;
#[path = "../common/spread.rs"]
mod spread;
mod starts;
mod storm;
mod table;
mod workers;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use it::lab;
use lab::Lab;
use table::Table;

/// The extent of this run.
struct Effort {
    quick: bool,
    long: bool,
    /// Another build of the program, for comparison.
    binary: Option<String>,
}

impl Effort {
    /// A count or a span for this run: the second one in a quick run.
    fn of<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// One scenario. It adds its rows to the table.
struct Group {
    name: &'static str,
    run: fn(&Effort, &Lab, &mut Table),
}

const GROUPS: [Group; 11] = [
    Group { name: "join", run: starts::run },
    Group { name: "start", run: starts::balancer },
    Group { name: "clones", run: clones::run },
    Group { name: "loss-kill", run: losses::kill },
    Group { name: "loss-term", run: losses::term },
    Group { name: "loss-cable", run: losses::cable },
    Group { name: "loss-frozen", run: losses::frozen },
    Group { name: "balance", run: balance::run },
    Group { name: "storm", run: storm::run },
    Group { name: "spread", run: workers::run },
    Group { name: "rest", run: rest::run },
];

fn main() -> ExitCode {
    if lab::run_program() || client::run_if_asked() || crowd::run_if_asked() {
        return ExitCode::SUCCESS;
    }
    if !release::build() {
        return ExitCode::FAILURE;
    }
    files::raise_limit();
    let (mut effort, mut words) = (Effort { quick: false, long: false, binary: None }, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => effort.quick = true,
            "--long" => effort.long = true,
            "--binary" => effort.binary = args.next(),
            // Cargo adds this argument itself.
            flag if flag.starts_with("--") => {}
            _ => words.push(arg),
        }
    }
    let wanted = |group: &&Group| {
        words.is_empty() || words.iter().any(|word| group.name.contains(word.as_str()))
    };

    let began = Instant::now();
    let mut table = Table::new(report::machine());
    let mut complete = true;
    for group in GROUPS.iter().filter(wanted) {
        lab::say(&format!("{:4} s: {}", began.elapsed().as_secs(), group.name));
        complete &= measure(group, &effort, &mut table);
    }
    let took = format!("took {} s", began.elapsed().as_secs());
    // If the other end is closed, nobody wants the table.
    let _ = write!(std::io::stdout(), "\n{table}\n{took}\n");
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one group. If it fails, a line replaces its rows, and the others are still measured.
fn measure(group: &Group, effort: &Effort, table: &mut Table) -> bool {
    let Some(lab) = Lab::new(group.name) else {
        table.note(&format!("{}: not measured, no network namespaces here", group.name));
        return true;
    };
    // The lab ends inside, so that it sees the panic and prints the programs' logs.
    let run = || {
        let lab = lab;
        (group.run)(effort, &lab, table);
    };
    let done = catch_unwind(AssertUnwindSafe(run));
    if let Err(panic) = &done {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words =
            words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        let line = words.lines().next().unwrap_or_default();
        table.note(&format!("{}: NOT MEASURED in full: {line}", group.name));
    }
    done.is_ok()
}
