//! The limit of open files of this process: each connection is one, and one to a node another.

use std::fs;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Files that are open besides connections: listeners, mDNS, probes.
const RESERVED: usize = 40;

/// Files that each worker has open besides them: its listener, and its runtime's.
const RESERVED_PER_WORKER: usize = 4;

/// Raises the soft limit of open files to the hard one and returns the number left for connections, less
/// the files that the program and its workers need; `None` where the limit cannot be read.
///
/// A login shell starts with 1,024, a relic of `select`; a program that does not use it may have all.
pub fn room(workers: usize) -> Option<usize> {
    let (soft, hard) = limits(&table()?)?;
    let raised = soft < hard
        && setrlimit(Resource::Nofile, Rlimit { current: Some(hard), maximum: Some(hard) }).is_ok();
    let limit = if raised { hard } else { soft };
    let reserved = RESERVED + RESERVED_PER_WORKER * workers;
    Some(usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(reserved))
}

/// The number of files that this process may have open now, all in all.
pub fn files_max() -> Option<u64> {
    limits(&table()?).map(|(soft, _)| soft)
}

/// Not getrlimit(2): a system call filter may refuse it, and rustix takes it for infallible.
fn table() -> Option<String> {
    fs::read_to_string("/proc/self/limits").ok()
}

/// The line `Max open files  1024  524288  files` of `/proc/PID/limits`, see proc_pid_limits(5).
fn limits(table: &str) -> Option<(u64, u64)> {
    let line = table.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_ascii_whitespace();
    let mut next = || match words.next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_read_from_their_line() {
        let table = "Limit    Soft Limit   Hard Limit  Units\n\
            Max processes             127234               unlimited            processes\n\
            Max open files            1024                 524288               files\n";
        assert_eq!(limits(table), Some((1024, 524_288)));
        assert_eq!(limits("Max open files  64 unlimited files"), Some((64, u64::MAX)));
        assert_eq!(limits("Max open files  few many files"), None);
        assert_eq!(limits(""), None);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let room = room(3).unwrap();
        let (soft, hard) = limits(&table().unwrap()).unwrap();
        assert_eq!((soft, files_max()), (hard, Some(hard)));
        assert_eq!(room, usize::try_from(hard).unwrap_or(usize::MAX) - RESERVED - 12);
    }
}
