//! picluster beside HAProxy, nginx and Caddy: the same nodes, the same added fields, the same
//! number of threads, in turns on one machine.
//!
//! ```text
//! cargo bench --bench versus                          all, under an hour
//! cargo bench --bench versus -- get post              the workloads whose name holds one of the words
//! cargo bench --bench versus -- memory                what they keep while nobody asks
//! cargo bench --bench versus -- --quick get-64        3 rounds of 1 s, to see that it works
//! cargo bench --bench versus -- --rounds 20           more rounds (default 10)
//! cargo bench --bench versus -- --keep                every turn as a line of JSON, in benches/versus/runs
//! cargo bench --bench versus -- --markdown docs/PERFORMANCE.md   puts the tables into that file
//! ```
//!
//! docs/PERFORMANCE.md describes the method. Everything runs in the network namespaces of the
//! integration tests' lab (`tests/it/lab.rs`) and needs no privileges. The Debian packages are
//! `haproxy`, `nginx`, `caddy` and `wrk`. Without `nginx` or `wrk` nothing is measured; the others
//! are left out where they are missing.
//!
//! Run it on a machine that does nothing else. A control shows whether the machine is steady; if it
//! is not, no ratio is printed.

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
#[path = "../common/client.rs"]
#[expect(dead_code, reason = "clients and `wrk` are waited for alike")]
mod client;
#[path = "../common/cpu.rs"]
mod cpu;
#[path = "../common/files.rs"]
mod files;
mod ground;
#[path = "../common/load.rs"]
mod load;
#[path = "../common/node.rs"]
mod node;
mod options;
mod product;
#[path = "../common/release.rs"]
#[expect(dead_code, reason = "only one build is compared with the others")]
mod release;
#[path = "../common/report.rs"]
mod report;
mod rest;
mod results;
mod runs;
#[path = "../common/spread.rs"]
mod spread;
mod tables;
mod turn;
mod workload;
mod wrk;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use it::lab;
use lab::Lab;

use ground::Ground;
use options::Options;
use product::{PRODUCTS, Product};
use rest::Kept;
use results::Results;
use runs::Run;
use workload::{AT_REST, Scene, WORKLOADS, Workload};

fn main() -> ExitCode {
    if lab::run_program() || node::run_if_asked() || client::run_if_asked() {
        return ExitCode::SUCCESS;
    }
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            lab::say(&error);
            return ExitCode::FAILURE;
        }
    };
    if !release::build() {
        return ExitCode::FAILURE;
    }
    let missing: Vec<_> = ["nginx", "wrk"].into_iter().filter(|t| !lab::is_installed(t)).collect();
    if !missing.is_empty() {
        lab::unavailable(&format!("NOT MEASURED: not installed: {}", missing.join(", ")));
        return ExitCode::SUCCESS;
    }
    files::raise_limit();
    All::measure(&options).tell(&options)
}

/// All measurements.
struct All {
    run: Run,
    began: Instant,
    results: Vec<Results>,
    kept: Vec<Kept>,
    /// The measurements that were not possible, one sentence each.
    gaps: Vec<String>,
    is_complete: bool,
}

impl All {
    fn measure(options: &Options) -> Self {
        let gap = |product: &&Product| !product.is_installed() && **product != Product::Control;
        let gaps = PRODUCTS.iter().filter(gap);
        let gaps = gaps.map(|product| format!("{} is not installed.", product.name())).collect();
        let mut all = Self {
            run: Run::new(options),
            began: Instant::now(),
            results: Vec::new(),
            kept: Vec::new(),
            gaps,
            is_complete: true,
        };
        if options.want_name("memory") {
            all.within(AT_REST, "memory", |all, _, ground| all.kept = rest::look(ground));
        }
        let wanted: Vec<_> = WORKLOADS.iter().filter(|workload| options.want(workload)).collect();
        for of_scene in wanted.chunk_by(|one, next| one.scene == next.scene) {
            all.within(of_scene[0].scene, of_scene[0].name, |all, lab, ground| {
                for workload in of_scene {
                    all.say(workload);
                    let turns = turn::take_all(lab, ground, workload, options);
                    all.results.push(Results { workload, turns });
                }
            });
        }
        all.run.end(all.began);
        all
    }

    fn say(&self, workload: &Workload) {
        lab::say(&format!("{:4} s: {}", self.began.elapsed().as_secs(), workload.title));
    }

    /// Runs the measurements of one scene. If that fails, it leaves a line, and the others are
    /// still measured.
    fn within(&mut self, scene: Scene, name: &str, run: impl FnOnce(&mut Self, &Lab, &Ground)) {
        let Some(lab) = Lab::new(name) else { return };
        let mut products: Vec<_> = PRODUCTS.into_iter().filter(|p| p.is_installed()).collect();
        if scene.access_log && !product::can_log_accesses() {
            self.gaps.push("picluster with an access log, which this build has not.".to_owned());
            products.retain(|product| *product != Product::Picluster);
        }
        // The lab ends inside, so that it sees the panic and prints the programs' logs.
        let run = || {
            let lab = lab;
            run(self, &lab, &Ground::start(&lab, scene, &products));
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
            let line = words.and_then(|words| words.lines().next()).unwrap_or("it panicked");
            self.gaps.push(format!("{name}, in full: {line}"));
            self.is_complete = false;
        }
    }

    fn tell(&self, options: &Options) -> ExitCode {
        let tables = tables::all(&self.results, &self.kept, &self.gaps);
        let text = format!("{}\n\n{tables}", self.run);
        // If the other end is closed, nobody wants the table.
        let _ = write!(std::io::stdout(), "\n{text}");
        let written =
            options.markdown.as_ref().map_or(Ok(()), |path| report::put_into(path, &text));
        let kept = options.keep.then(|| self.run.keep(&self.results, &self.kept));
        if let Err(error) = written.and(kept.unwrap_or(Ok(()))) {
            lab::say(&format!("failed to write: {error}"));
            return ExitCode::FAILURE;
        }
        if self.is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
