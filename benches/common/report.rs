//! The common parts of the benchmarks' reports: their machine and their date, and the two marks
//! between which they stand in a document.

use std::io;
use std::path::Path;
use std::time::SystemTime;

/// The tables stand between these lines of the document; the rest of it is written by hand.
const BEGIN: &str = "<!-- what follows is written by the benchmark -->";
const END: &str = "<!-- what precedes was written by the benchmark -->";

/// The machine of the figures, and its present load.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model =
        cpus.lines().find(|line| line.starts_with("model name") || line.starts_with("Model"));
    let model = model.and_then(|line| line.split_once(':')).map_or("unknown", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!("{cores} cores, {}, Linux {}, load average {load}", model.trim(), kernel.trim())
}

/// The date in UTC.
pub(crate) fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

/// Replaces the tables of an earlier run in the document.
pub(crate) fn put_into(path: &Path, tables: &str) -> io::Result<()> {
    let report = std::fs::read_to_string(path)?;
    let parts = report.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| io::Error::other("its two marks are missing"))?;
    std::fs::write(path, format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"))
}
