//! The cost of each way to fail for the clients of a cluster, counted and printed as one table.
//!
//! ```text
//! cargo bench --bench faults                        all, about 15 minutes
//! cargo bench --bench faults -- kill SIGSTOP        the rows whose name holds one of the words
//! cargo bench --bench faults -- --only 2            the second table
//! cargo bench --bench faults -- --repeat 20         the common faults so often each (default 3)
//! cargo bench --bench faults -- --labs 2            so many small LANs at once (default 3)
//! cargo bench --bench faults -- --multicast 300     seconds without multicast (default 60)
//! cargo bench --bench faults -- --markdown docs/FAULTS.md   puts the tables into that file
//! ```
//!
//! The benchmark runs real processes in the network namespaces of the integration tests' lab
//! (`tests/it/lab.rs`): three nodes, a balancer, and clients that never repeat a request by
//! themselves. The rows for HAProxy and nginx need the Debian packages of these names; the lines
//! below the tables name missing ones.

#[path = "../../tests/it"]
mod it {
    #[expect(
        dead_code,
        unused_imports,
        reason = "the lab is made for the tests, which use all of it"
    )]
    pub(crate) mod lab;

    pub(crate) mod faults {
        pub(crate) mod company;
        pub(crate) mod fault;
        pub(crate) mod ground;
        pub(crate) mod trial;
    }
}

mod bars;
mod crew;
mod options;
#[path = "../common/report.rs"]
mod report;
mod rivals;
mod rows;
mod scenes;
mod sheet;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use it::{faults, lab};

use crew::Job;
use faults::fault::Fault;
use faults::ground::Ground;
use faults::trial::{self, Clients, Spans};
use options::Options;
use rows::Row;
use sheet::Sheet;

/// A fault strikes in the third second and lasts four, and then comes the time after it.
const SPANS: Spans = Spans {
    before: Duration::from_secs(3),
    sick: Duration::from_secs(4),
    back_max: Duration::from_secs(15),
    after: Duration::from_secs(1),
};

/// All faults, in the order of the report.
const ALL: [Fault; 16] = [
    Fault::Kill,
    Fault::Cable,
    Fault::Drop,
    Fault::Freeze,
    Fault::Term,
    Fault::Restart,
    Fault::Resets,
    Fault::ResetsWholly,
    Fault::ResetsInBody,
    Fault::HalfHead,
    Fault::Mute,
    Fault::Storm,
    Fault::StormOfAll,
    Fault::Slow,
    Fault::Moved,
    Fault::NoMulticast,
];

/// A wait that is worth a line.
const LONG_MS: u64 = 1_000;

/// The faults of every kitchen: a power cut, a cable, a hang, a stop and an update.
pub(crate) const COMMON: [Fault; 5] =
    [Fault::Kill, Fault::Cable, Fault::Freeze, Fault::Term, Fault::Restart];

fn main() -> ExitCode {
    if lab::run_program() {
        return ExitCode::SUCCESS;
    }
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            lab::say(&error);
            return ExitCode::FAILURE;
        }
    };
    let began = Instant::now();
    let mut sheets = [
        Sheet::new("Every fault, every method, both kinds of connection", matrix(&options)),
        Sheet::new("The common faults, again and again", again(&options)),
        Sheet::new("The whole cluster", scenes::jobs()),
        Sheet::new("The same faults under other balancers", rivals::jobs()),
    ];
    let wanted = sheets.iter_mut().zip(1..).filter(|(_, number)| options.want_table(*number));
    for (sheet, _) in wanted {
        sheet.fill(&options, began);
    }
    let minutes = began.elapsed().as_secs().div_ceil(60);
    let notes = sheet::notes(minutes, &rivals::missing());
    let text = sheets.iter().map(Sheet::text).collect::<String>();
    // If the other end is closed, nobody wants the table.
    let _ = write!(std::io::stdout(), "\n{text}\n{notes}\n");
    if let Some(path) = &options.markdown {
        let tables = sheets.iter().map(Sheet::markdown).collect::<String>();
        if let Err(error) = report::put_into(path, &format!("{notes}\n{tables}")) {
            lab::say(&format!("failed to write {}: {error}", path.display()));
            return ExitCode::FAILURE;
        }
    }
    let complete = sheets.iter().all(Sheet::is_complete);
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each cell of the matrix is a LAN. Only faults that take a minute have all clients in one LAN.
fn matrix(options: &Options) -> Vec<Job> {
    let mut jobs = Vec::new();
    for fault in ALL {
        let cells = ["GET", "POST", "PUT"].map(|method| [false, true].map(|a| (method, a)));
        let cells = cells.concat();
        if fault == Fault::NoMulticast {
            let sick = options.multicast;
            // A client's machine has 28,000 ports, and each stays taken for a minute after its use.
            let pause = |anew| Duration::from_millis(if anew { 500 } else { 60 });
            let clients =
                |(method, anew)| Clients { pause: pause(anew), ..Clients::new(method, anew) };
            let clients = cells.into_iter().map(clients).collect();
            jobs.push(of_picluster(fault, clients, Spans { sick, ..SPANS }));
            continue;
        }
        for (method, anew) in cells {
            jobs.push(of_picluster(fault, vec![Clients::new(method, anew)], SPANS));
        }
    }
    jobs
}

fn of_picluster(fault: Fault, clients: Vec<Clients>, spans: Spans) -> Job {
    Job::new(fault.title(), move |lab| {
        let ground = Ground::of_picluster(lab, fault.is_a_mood());
        let met = trial::run(ground, fault, &clients, spans);
        met.iter()
            .map(|met| {
                let missed = bars::of(fault, met);
                if !missed.is_empty() || met.report.worst_ms > LONG_MS {
                    lab::say(&format!("{}: {missed:?}: {}", fault.title(), met.story()));
                }
                Row::of(fault.title(), met, missed)
            })
            .collect()
    })
}

/// One row for all rounds of a fault with one method.
fn again(options: &Options) -> Vec<Job> {
    let pause = Duration::from_millis(20);
    let both = ["GET", "POST"].map(|method| Clients { pause, ..Clients::new(method, false) });
    let rounds = (0..options.repeat).flat_map(|_| COMMON);
    rounds.map(|fault| of_picluster(fault, both.to_vec(), SPANS)).collect()
}
