//! The raw flags: their names, their help, their grouping. Every value is still text, because the
//! same text may come from the environment and is checked in one place (`values`).
//!
//! The help is broken by hand to fit 80 columns: wrapping to the terminal would cost a dependency
//! and more of the binary than all the text here.

mod common;
mod lb;
mod typed;
mod web;

use clap::{CommandFactory, Parser, Subcommand};

pub(super) use self::common::Common;
use self::lb::LB_EXAMPLES;
pub(super) use self::lb::{Lb, Limits};
use self::typed::{DEMO_EXAMPLES, DRAIN_EXAMPLES, NODES_EXAMPLES};
pub(super) use self::typed::{Demo, Drain, Look, Nodes, Status};
use self::web::WEB_EXAMPLES;
pub(super) use self::web::{Offer, Serves, Web};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "picluster",
    version,
    about = START,
    after_help = MORE
)]
pub(super) struct CommandLine {
    /// The same as the command of that name, so that a
    /// service can choose by a flag [env: PICLUSTER_ROLE]
    #[arg(long, value_name = "web|lb", verbatim_doc_comment)]
    pub(super) role: Option<String>,
    #[command(subcommand)]
    pub(super) command: Raw,
}

/// The commands, as typed.
#[derive(Debug, Subcommand)]
pub(super) enum Raw {
    /// Be a node: serve this machine's name, be found by the balancer
    #[command(after_help = WEB_EXAMPLES)]
    Web(Box<Web>),
    /// Be the balancer: find the nodes, share the requests among them
    #[command(after_help = LB_EXAMPLES)]
    Lb(Box<Lb>),
    /// Try it here: a balancer and three nodes on this one machine
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(Demo),
    /// List the nodes, from any machine of the network
    #[command(after_help = NODES_EXAMPLES)]
    Nodes(Nodes),
    /// Is all well? Exits with 0 if so, 1 if not quite, 2 if not at all
    Status(Status),
    /// Give a node no new requests: this Pi's own, or NODE at this balancer
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(Drain),
    /// End a drain
    Undrain(Drain),
}

/// True if there is a command of this name.
pub(super) fn is_command(name: &str) -> bool {
    CommandLine::command().get_subcommands().any(|command| command.get_name() == name)
}

/// The commands that have a flag of this name: `--hold` belongs to `lb`.
pub(super) fn commands_with(flag: &str) -> Vec<String> {
    let has = |command: &clap::Command| {
        command.get_arguments().any(|arg| arg.get_long() == Some(flag) && !arg.is_hide_set())
    };
    let line = CommandLine::command();
    line.get_subcommands().filter(|c| has(c)).map(|c| c.get_name().to_owned()).collect()
}

/// All commands: `web, lb, demo` and so on.
pub(super) fn commands() -> String {
    let line = CommandLine::command();
    let names: Vec<_> = line.get_subcommands().map(clap::Command::get_name).collect();
    names.join(", ")
}

/// The answer to a command line with nothing but the program's name.
pub(super) const SHORT: &str = "\
picluster makes one web address of a few machines. What shall this one be?

  picluster web     a node: serves its name, and is found by itself
  picluster lb      the balancer: finds the nodes and shares requests among them
  picluster demo    both and more, here and now, to see how it works
  picluster status  is all well? `picluster nodes` lists the nodes

`picluster --help` shows more.
";

const START: &str = "\
A few Raspberry Pis, one web address, nothing to configure.

Getting started:
  1. On each Pi that shall serve:       picluster web
  2. On the Pi that shares the load:    sudo picluster lb
  3. In any browser on the network:     http://picluster.local/
No Pi at hand? `picluster demo` shows it all on this machine.";

const MORE: &str = "\
`picluster web --help` and `picluster lb --help` list their flags. Everything
has a default, and can be set by a flag or in the environment.
";
