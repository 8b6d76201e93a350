//! The error of a node whose configuration names something that cannot be served.

use std::fmt;

/// Why a folder, a command or an application cannot be served: one sentence for the user, with the fix.
/// To start again does not help, so the program ends with the exit code of a wrong command line.
#[derive(Debug)]
pub struct Unusable(pub(super) String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}
