//! The system's figures of this process, and its version: as metrics, under the names that every
//! Prometheus client library uses. A figure that cannot be read is absent.

use std::fmt;
use std::fs;

use crate::os::listen;
use crate::telemetry::exposition::Families;

/// Ticks a second in `/proc/self/stat`: part of the kernel's interface on all our platforms.
const TICKS: f64 = 100.0;

/// Reads the figures of this process and writes them as metrics.
///
/// # Errors
/// Those of the writer.
pub fn write(families: &mut Families<'_>) -> fmt::Result {
    families
        .gauges("picluster_build_info", "Which picluster this is.")?
        .add(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64)?;
    let (status, stat) = (read("/proc/self/status"), read("/proc/self/stat"));
    if let Some(seconds) = cpu_seconds(&stat) {
        let help = "Time spent by the processor on this process.";
        families.counters("process_cpu_seconds", help)?.add(&[], seconds)?;
    }
    if let Some(bytes) = resident_bytes(&status) {
        families.gauge("process_resident_memory_bytes", "Memory in use.", bytes)?;
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // The folder that is being read is one of them.
        let count = files.count().saturating_sub(1) as u64;
        families.gauge("process_open_fds", "Files that are open, connections included.", count)?;
    }
    if let Some(limit) = listen::files_max() {
        families.gauge("process_max_fds", "Files that may be open.", limit)?;
    }
    if let Some(seconds) = start_seconds(&read("/proc/stat"), &stat) {
        let help = "When this process started, in seconds since 1970.";
        families.gauge("process_start_time_seconds", help, seconds)?;
    }
    Ok(())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn resident_bytes(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// A field of `/proc/self/stat`, by its number in proc(5). The second is the program's name, which may
/// hold spaces and parentheses.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}

/// The processor time in the program and in the kernel on its behalf.
fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS)
}

/// Counted from the start of the machine, which moves when its clock is set: a Pi has no clock of its own.
fn start_seconds(machine: &str, stat: &str) -> Option<f64> {
    let booted = machine.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(booted.trim().parse::<f64>().ok()? + field(stat, 22)? / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::exposition::{Format, render};

    #[test]
    fn figures_are_read_from_the_kernels_text() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 4 0 1234 9 9";
        assert_eq!(cpu_seconds(stat), Some(1.75));
        assert_eq!(start_seconds("cpu 1 2\nbtime 1700000000\n", stat), Some(1_700_000_012.34));
        assert_eq!(resident_bytes("VmHWM:\t 9 kB\nVmRSS:\t    5660 kB\n"), Some(5_795_840));
    }

    #[test]
    fn an_unreadable_figure_is_absent() {
        assert_eq!((cpu_seconds(""), resident_bytes("VmRSS: ?")), (None, None));
        assert_eq!(start_seconds("btime 5", "1 (x) S"), None);
    }

    #[test]
    fn this_process_has_all_figures() {
        let text = render(Format::Text, write);
        for name in [
            "picluster_build_info{version=\"0",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
            "process_start_time_seconds ",
        ] {
            assert!(text.contains(&format!("\n{name}")), "{name} in {text}");
        }
    }
}
