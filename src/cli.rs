//! The command line: raw flags first, then checked ones.
//!
//! [`parse`] turns the arguments and the environment into a [`Command`] whose every value is
//! checked, or into a [`Stop`] that says what to print and how to exit. It reads nothing but what
//! it is given and prints nothing, so all of it is tested without a process. This module and its
//! parts (`flags`: names and help, `values`: text to value, `check`: flags to configurations) are
//! the only ones that know clap.
//!
//! For each setting the flag wins over the environment, and that over the default. clap could read
//! the environment itself, but its complaint would name the flag that nobody typed, and an empty
//! variable would count as a value.

mod check;
mod flags;
mod values;

#[cfg(test)]
mod tests;

use std::ffi::OsString;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use tracing::level_filters::LevelFilter;

use self::flags::{Line, Raw, SHORT};
use self::values::{Env, Given, Refusal};
use crate::cluster::config::{LbConfig, WebConfig};
use crate::commands::demo::DemoConfig;
use crate::commands::drain::DrainConfig;
use crate::commands::nodes::NodesConfig;
use crate::commands::status::StatusConfig;

/// What was asked for, all of it checked.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What to run.
    pub command: Command,
    /// How to log.
    pub logging: Logging,
    /// End gracefully when stdin does: how `demo` makes sure that its children never outlive it.
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

/// How to log. Always to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    /// `--log`. Default text.
    pub format: LogFormat,
    /// `--log-level`: events less serious than this are dropped. Default info.
    pub level: LevelFilter,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: one line an event.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Why nothing is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help or the version was asked for: print this to stdout, exit 0.
    Asked(String),
    /// The command line or the environment is wrong: print this to stderr, exit 64.
    Refused(String),
}

/// Reads the command line, program name first, and the environment through `env`.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Invocation, Stop> {
    let args = with_role_as_command(args.into_iter().collect(), env)?;
    let line = Line::try_parse_from(&args).map_err(|error| stop(&error, &args))?;
    let checked = match line.command {
        Raw::Web(mut web) => {
            // An empty variable behind `--` is to be told from no `--`, which clap does not do.
            if args.iter().position(|arg| arg == "--") == Some(args.len() - 1) {
                web.serves.command.push(String::new());
            }
            check::web(*web, env)
        }
        Raw::Lb(lb) => check::lb(*lb, env),
        Raw::Demo(demo) => check::demo(demo),
        Raw::Nodes(nodes) => check::nodes(&nodes, env),
        Raw::Status(status) => check::status(&status, env),
        Raw::Drain(drain) => check::drain(drain, true, env),
        Raw::Undrain(drain) => check::drain(drain, false, env),
    };
    Ok(checked?)
}

/// `picluster --role web ...` and `PICLUSTER_ROLE=web picluster ...` become `picluster web ...`: a
/// role is one more spelling of the command, so that everything after it is read in one way.
fn with_role_as_command(mut args: Vec<OsString>, env: Env<'_>) -> Result<Vec<OsString>, Stop> {
    // What follows `--` belongs to another program.
    let role_at = args.iter().take_while(|arg| *arg != "--").position(|arg| {
        arg == "--role" || arg.to_str().is_some_and(|arg| arg.starts_with("--role="))
    });
    match (args.get(1).and_then(|arg| arg.to_str()), role_at) {
        (Some("-h" | "--help" | "-V" | "--version"), _) => return Ok(args),
        (Some(command), None) if !command.starts_with('-') => return Ok(args),
        (Some(command), Some(_)) if !command.starts_with('-') => {
            let both = format!("`picluster {command}` already says what to run; leave out --role");
            return Err(Refusal(both).into());
        }
        _ => {}
    }
    let role = match role_at {
        Some(at) => Some(take_role(&mut args, at)?),
        None => values::variable(env, "PICLUSTER_ROLE")?,
    };
    match role {
        Some(role) if matches!(role.text(), "web" | "lb") => {
            args.insert(1, role.text().into());
            Ok(args)
        }
        Some(role) => {
            let fix = format!("write {} or {}", role.example("web"), role.example("lb"));
            Err(role.refuse("is no role", &fix).into())
        }
        None if args.len() < 2 => Err(Stop::Refused(SHORT.to_owned())),
        None => {
            let first = "the command comes first: `picluster web ...` or `picluster lb ...`, and \
                         then its flags";
            Err(Refusal(first.to_owned()).into())
        }
    }
}

/// Takes `--role web` or `--role=web` out of the arguments.
fn take_role(args: &mut Vec<OsString>, at: usize) -> Result<Given, Refusal> {
    let flag = args.remove(at);
    let value = match flag.to_str().and_then(|flag| flag.strip_prefix("--role=")) {
        Some(value) => value.to_owned(),
        None if at < args.len() => args.remove(at).to_string_lossy().into_owned(),
        None => {
            return Err(Refusal("--role needs a value: write --role web or --role lb".to_owned()));
        }
    };
    Ok(Given::flag("role", value))
}

impl From<Refusal> for Stop {
    fn from(Refusal(sentence): Refusal) -> Self {
        Self::Refused(format!("picluster: {sentence}\n"))
    }
}

/// What clap would have printed, in one sentence and with our exit codes.
fn stop(error: &clap::Error, args: &[OsString]) -> Stop {
    let command = args.get(1).and_then(|arg| arg.to_str()).filter(|arg| !arg.starts_with('-'));
    let see = match command {
        Some(command) if flags::is_command(command) => format!("see `picluster {command} --help`"),
        _ => "see `picluster --help`".to_owned(),
    };
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let sentence = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return Stop::Asked(error.render().to_string());
        }
        ErrorKind::UnknownArgument => {
            let what = context(ContextKind::InvalidArg).unwrap_or("this argument");
            let guess = match (what.starts_with('-'), command) {
                (true, _) => other_flag(what, context(ContextKind::SuggestedArg)),
                (false, Some("web")) => behind_dashes(what, args),
                (false, _) => None,
            };
            let command = command.map(|c| format!(" {c}")).unwrap_or_default();
            format!("`picluster{command}` takes no {what}; {}", guess.unwrap_or(see))
        }
        ErrorKind::InvalidSubcommand => {
            let what = context(ContextKind::InvalidSubcommand).unwrap_or("this");
            let guess = context(ContextKind::SuggestedSubcommand);
            let guess = guess.map_or_else(
                || format!("there are {}", flags::commands()),
                |guess| format!("did you mean `picluster {guess}`?"),
            );
            format!("there is no command {what}; {guess}")
        }
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("{}; {see}", first.trim_start_matches("error: "))
        }
    };
    Refusal(sentence).into()
}

/// The flag that was meant, perhaps: one of which a letter or two are missing or too many, or else
/// the one of this name that other commands have, or else the nearest that clap knows of.
fn other_flag(typed: &str, near: Option<&str>) -> Option<String> {
    let others = flags::commands_with(typed.trim_start_matches('-'));
    match near {
        Some(near) if others.is_empty() || near.starts_with(typed) || typed.starts_with(near) => {
            Some(format!("did you mean {near}?"))
        }
        _ if others.is_empty() => None,
        _ => Some(format!("`picluster {}` has it", others.join("` and `picluster "))),
    }
}

/// The line with the command that was forgotten to be set apart.
fn behind_dashes(first: &str, args: &[OsString]) -> Option<String> {
    let args: Vec<_> = args.iter().skip(1).map(|arg| arg.to_string_lossy()).collect();
    let at = args.iter().position(|arg| arg == first)?;
    let (ours, theirs) = (shell_words::join(&args[..at]), shell_words::join(&args[at..]));
    (!args.iter().any(|arg| arg == "--"))
        .then(|| format!("a command comes behind --: picluster {ours} -- {theirs}"))
}
