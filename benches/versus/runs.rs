//! Runs that are kept as data: a line of JSON for the run, one for each balancer's memory, and one for
//! each turn. Several runs of one day follow each other in one file.

use std::fs::OpenOptions;
use std::io::{Result, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::report;
use crate::rest::Kept;
use crate::results::Results;

pub(crate) fn keep(notes: &str, results: &[Results], kept: &[Kept]) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/versus/runs");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}.jsonl", report::today()));
    let mut text = line(&serde_json::json!({ "run": notes }))?;
    for kept in kept {
        text += &line(kept)?;
    }
    for turn in results.iter().flat_map(|result| &result.turns) {
        text += &line(turn)?;
    }
    OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())
}

fn line(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}
