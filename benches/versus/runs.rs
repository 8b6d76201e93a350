//! Runs that are kept as data: a line of JSON for the run, one for each balancer's memory, and one
//! for each turn. Several runs of one day follow each other in one file.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{Result, Write as _};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::options::Options;
use crate::product::{PRODUCTS, Product};
use crate::report;
use crate::rest::Kept;
use crate::results::Results;

/// The settings, the machine and the time of a run.
#[derive(Serialize)]
pub(crate) struct Run {
    date: String,
    /// The machine, with its load at the start.
    machine: String,
    versions: Vec<String>,
    rounds: usize,
    seconds: u64,
    minutes: u64,
}

impl Run {
    /// A run that begins now.
    pub(crate) fn new(options: &Options) -> Self {
        let compared = PRODUCTS.into_iter().filter(|product| *product != Product::Control);
        Self {
            date: report::today(),
            machine: report::machine(),
            versions: compared.map(Product::version).collect(),
            rounds: options.rounds,
            seconds: options.seconds,
            minutes: 0,
        }
    }

    pub(crate) fn end(&mut self, began: Instant) {
        self.minutes = began.elapsed().as_secs().div_ceil(60);
    }

    /// Adds the run to the file of its day.
    pub(crate) fn keep(&self, results: &[Results], kept: &[Kept]) -> Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/versus/runs");
        std::fs::create_dir_all(&folder)?;
        let mut text = line(self)?;
        for kept in kept {
            text += &line(kept)?;
        }
        for turn in results.iter().flat_map(|result| &result.turns) {
            text += &line(turn)?;
        }
        let file = folder.join(format!("{}.jsonl", self.date));
        OpenOptions::new().create(true).append(true).open(file)?.write_all(text.as_bytes())
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, machine, rounds, seconds, minutes, .. } = self;
        let versions = self.versions.join(", ");
        write!(f, "{date}: {machine} at the start; {versions}; ")?;
        write!(f, "{rounds} rounds of {seconds} s, {minutes} min in all.")
    }
}

fn line(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}
