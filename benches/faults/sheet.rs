//! A table of rows, as text for the terminal and as Markdown for the report.

use std::time::Instant;

use crate::crew::{self, Job};
use crate::options::Options;
use crate::report;
use crate::rows::{Row, TITLES};

pub(crate) struct Sheet {
    title: &'static str,
    jobs: Vec<Job>,
    rows: Vec<Row>,
    /// The rows that could not be measured.
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

    /// The table; empty without rows.
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

/// The date, the machine and the duration.
pub(crate) fn notes(minutes: u64, missing: &str) -> String {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "{}: picluster {} ({build} build), {} at the end, took {minutes} min. {missing}",
        report::today(),
        env!("CARGO_PKG_VERSION"),
        report::machine()
    )
}
