//! The number of files that a program may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit. The programs inherit it: a balancer has two files open for each client.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // If this fails, the errors are counted beside the rates.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
