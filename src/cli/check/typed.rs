//! The flags of the commands that are typed, checked.

use std::net::{Ipv4Addr, SocketAddr};

use tracing::level_filters::LevelFilter;

use super::sources::Sources;
use crate::cli::flags;
use crate::cli::invocation::{Command, Invocation};
use crate::cli::values::{Env, Given, Refusal};
use crate::commands::demo::{self, DemoConfig};
use crate::commands::drain::{DrainConfig, DrainTarget};
use crate::commands::nodes::{Form, NodesConfig};
use crate::commands::status::StatusConfig;
use crate::commands::survey::SurveyConfig;
use crate::telemetry::log::{LogFormat, Logging};

/// Checks `picluster demo`. Its flags have no twins in the environment: it is typed, not installed.
pub(crate) fn demo(raw: flags::Demo) -> Result<Invocation, Refusal> {
    let nodes = raw.nodes.map(|text| Given::flag("nodes", text).count(&(1..=demo::NODES_MAX)));
    // The log flags are none of `demo`: its children have logs of their own.
    Ok(typed(Command::Demo(DemoConfig {
        nodes: nodes.transpose()?.unwrap_or(3),
        verbose: raw.verbose,
    })))
}

/// Checks `picluster nodes`.
pub(crate) fn nodes(raw: &flags::Nodes, env: Env<'_>) -> Result<Invocation, Refusal> {
    let form = match (raw.watch, raw.json, raw.names) {
        (false, false, false) => Form::Table,
        (true, false, false) => Form::Watch,
        (false, true, false) => Form::Json,
        (false, false, true) => Form::Names,
        _ => {
            let one = "--watch, --json and --names exclude each other; choose one";
            return Err(Refusal(one.to_owned()));
        }
    };
    Ok(typed(Command::Nodes(NodesConfig { survey: look(&raw.look, env)?, form })))
}

/// Checks `picluster status`.
pub(crate) fn status(raw: &flags::Status, env: Env<'_>) -> Result<Invocation, Refusal> {
    let survey = look(&raw.look, env)?;
    Ok(typed(Command::Status(StatusConfig { survey, json: raw.json })))
}

fn look(raw: &flags::Look, env: Env<'_>) -> Result<SurveyConfig, Refusal> {
    let sources = Sources { role: "LB", env };
    let admin = raw.admin.clone().map(|text| Given::flag("admin", text).address()).transpose()?;
    Ok(SurveyConfig {
        discovery: sources.hearing(raw.cluster.clone(), &raw.interface, false, raw.loopback)?,
        admin: admin.map(from_here),
    })
}

/// Checks `picluster drain` and `picluster undrain`.
pub(crate) fn drain(raw: flags::Drain, drain: bool, env: Env<'_>) -> Result<Invocation, Refusal> {
    let verb = if drain { "drain" } else { "undrain" };
    let target = match (raw.node, raw.port, raw.admin) {
        (Some(_), Some(_), _) => {
            let own = format!("--port is for this machine's own node: `picluster {verb} --port N`");
            return Err(Refusal(own));
        }
        (None, _, Some(_)) => {
            let which =
                format!("--admin needs to know which node: `picluster {verb} NODE --admin ..`");
            return Err(Refusal(which));
        }
        (None, Some(port), None) => {
            DrainTarget::OwnNode(from_here(Given::flag("port", port).address()?))
        }
        (None, None, None) => {
            let sources = Sources { role: "WEB", env };
            DrainTarget::OwnNode(from_here(sources.address("listen", None, 8080)?))
        }
        (Some(node), None, admin) => {
            let sources = Sources { role: "LB", env };
            DrainTarget::AtBalancer(from_here(sources.address("admin", admin, 7070)?), node)
        }
    };
    Ok(typed(Command::Drain(DrainConfig { target, drain })))
}

/// The address at which a program of this machine reaches this listener.
fn from_here(listener: SocketAddr) -> SocketAddr {
    let port = listener.port();
    if listener.ip().is_unspecified() { (Ipv4Addr::LOCALHOST, port).into() } else { listener }
}

/// A command that is typed and prints for itself, so that only errors are logged.
fn typed(command: Command) -> Invocation {
    let logging = Logging { format: LogFormat::Text, level: LevelFilter::ERROR };
    Invocation { command, logging, exit_with_stdin: false }
}
