//! The table: Markdown that is readable as it is, in 100 columns.

use std::fmt;

/// The rows so far, and the figures that could not be measured.
pub(crate) struct Table {
    title: String,
    rows: Vec<[String; 4]>,
    notes: Vec<String>,
}

/// The widths of the columns: 100 characters with their frames.
const WIDTHS: [usize; 4] = [36, 9, 34, 12];

const HEADS: [&str; 4] = ["figure", "bar", "seen", "failed"];

impl Table {
    pub(crate) fn new(title: String) -> Self {
        Self { title, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a figure: its name, its bar, its value, and the requests that failed.
    pub(crate) fn row(&mut self, figure: &str, bar: &str, seen: String, failed: String) {
        self.rows.push([figure.to_owned(), bar.to_owned(), seen, failed]);
    }

    /// Adds a line below the table about a missing figure.
    pub(crate) fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.title)?;
        line(f, HEADS)?;
        line(f, WIDTHS.map(|width| "-".repeat(width)).each_ref().map(String::as_str))?;
        for row in &self.rows {
            line(f, row.each_ref().map(String::as_str))?;
        }
        for note in &self.notes {
            write!(f, "\n{note}\n")?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, cells: [&str; 4]) -> fmt::Result {
    for (cell, width) in cells.iter().zip(WIDTHS) {
        write!(f, "| {cell:width$} ")?;
    }
    f.write_str("|\n")
}

/// The failed requests among all, as the last column shows them.
pub(crate) fn failed(failed: u64, all: u64) -> String {
    let all = if all < 100_000 { all.to_string() } else { format!("{} k", all / 1000) };
    format!("{failed} of {all}")
}
