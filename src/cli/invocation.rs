//! The result of a command line: what to run, or what to print and how to exit.

use super::values::Refusal;
use crate::cluster::config::{LbConfig, WebConfig};
use crate::commands::demo::DemoConfig;
use crate::commands::drain::DrainConfig;
use crate::commands::nodes::NodesConfig;
use crate::commands::status::StatusConfig;
use crate::telemetry::log::Logging;

/// A program to run, with every value checked.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The program.
    pub command: Command,
    /// Its log.
    pub logging: Logging,
    /// End gracefully when stdin ends: `demo` makes sure in this way that its children never outlive
    /// it.
    pub exit_with_stdin: bool,
}

/// The program to run.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process, moved twice")]
pub enum Command {
    /// `picluster web`.
    Web(WebConfig),
    /// `picluster lb`.
    Lb(LbConfig),
    /// `picluster demo`.
    Demo(DemoConfig),
    /// `picluster nodes`.
    Nodes(NodesConfig),
    /// `picluster status`.
    Status(StatusConfig),
    /// `picluster drain` and `picluster undrain`.
    Drain(DrainConfig),
}

/// Why nothing is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help or the version was asked for: print this to stdout, exit 0.
    Asked(String),
    /// The command line or the environment is wrong: print this to stderr, exit 64.
    Refused(String),
}

impl From<Refusal> for Stop {
    fn from(Refusal(sentence): Refusal) -> Self {
        Self::Refused(format!("picluster: {sentence}\n"))
    }
}
