//! A table of rows, as text for the terminal and as Markdown for the report.

use std::io;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::crew::{self, Job};
use crate::options::Options;
use crate::rows::{Row, TITLES};

/// Between these lines of the report stand the tables; the rest of it is written by hand.
const BEGIN: &str = "<!-- what follows is written by the benchmark -->";
const END: &str = "<!-- what precedes was written by the benchmark -->";

pub(crate) struct Sheet {
    title: &'static str,
    jobs: Vec<Job>,
    rows: Vec<Row>,
    /// What could not be measured.
    gaps: Vec<String>,
}

impl Sheet {
    pub(crate) fn new(title: &'static str, jobs: Vec<Job>) -> Self {
        Self { title, jobs, rows: Vec::new(), gaps: Vec::new() }
    }

    /// Runs the jobs that are wanted.
    pub(crate) fn fill(&mut self, options: &Options, began: Instant) {
        let jobs = std::mem::take(&mut self.jobs);
        let jobs = jobs.into_iter().filter(|job| options.want(&job.title)).collect();
        for done in crew::run_all(jobs, options.labs, began) {
            match done {
                Ok(rows) => rows.into_iter().for_each(|row| self.add(row)),
                Err(line) => self.gaps.push(line),
            }
        }
    }

    fn add(&mut self, row: Row) {
        let same = |known: &&mut Row| known.fault == row.fault && known.clients == row.clients;
        match self.rows.iter_mut().find(same) {
            Some(known) => known.merge(row),
            None => self.rows.push(row),
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let titles = TITLES.map(str::to_owned).into_iter().chain(["missed".to_owned()]);
        let rows = self.rows.iter().map(|row| {
            let cells = row.cells().into_iter().chain([row.words()]);
            cells.collect()
        });
        std::iter::once(titles.collect()).chain(rows).collect()
    }

    /// Nothing when there are no rows.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines();
        let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max();
        let widths: Vec<_> = (0..=TITLES.len()).filter_map(width).collect();
        let mut text = self.gaps.iter().map(|gap| format!("NOT MEASURED: {gap}\n")).collect();
        if self.rows.is_empty() {
            return text;
        }
        text += &format!("\n{}\n", self.title);
        for line in &lines {
            let cells = line.iter().zip(&widths);
            let cells = cells.map(|(cell, width)| format!("{cell:width$}"));
            text += cells.collect::<Vec<_>>().join("  ").trim_end();
            text += "\n";
        }
        text
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        if self.rows.is_empty() && self.gaps.is_empty() {
            return text;
        }
        text += &format!("\n## {}\n\n", self.title);
        for (number, line) in self.lines().iter().enumerate() {
            text += &format!("| {} |\n", line.join(" | "));
            if number == 0 {
                text += &format!("|{}\n", "---|".repeat(line.len()));
            }
        }
        let gaps = self.gaps.iter().map(|gap| format!("\nNot measured: {gap}\n"));
        text + &gaps.collect::<String>()
    }
}

/// When, on what and how long.
pub(crate) fn notes(minutes: u64, missing: &str) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "{}: picluster {} ({build} build), {cores} cores, Linux {}, load average at the end {load}, \
         took {minutes} min. {missing}",
        today(),
        env!("CARGO_PKG_VERSION"),
        kernel.trim()
    )
}

/// The date in UTC, by the civil calendar (Howard Hinnant, "chrono-compatible low-level date
/// algorithms").
fn today() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let days = since_epoch.as_secs() / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// Replaces what an earlier run wrote into the report.
pub(crate) fn put_into(path: &Path, tables: &str) -> io::Result<()> {
    let report = std::fs::read_to_string(path)?;
    let parts = report.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| io::Error::other("its two marks are missing"))?;
    std::fs::write(path, format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"))
}
