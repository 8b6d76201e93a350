//! The command line: raw flags first, then checked ones.
//!
//! [`parse`] turns the arguments and the environment into an [`Invocation`] whose every value is
//! checked, or into a [`Stop`] with the text to print. It reads nothing but its arguments and prints
//! nothing, so all of it is tested without a process. This module and its parts (`role` and `complaint`:
//! before and after the parser, `flags`: names and help, `values`: text to value, `check`: flags to
//! configurations) are the only ones that know clap.
//!
//! For each setting the flag wins over the environment, and that over the default. clap could read
//! the environment itself, but its complaint would name the flag that nobody typed, and an empty
//! variable would count as a value.

mod check;
mod complaint;
mod flags;
mod invocation;
mod role;
mod values;

#[cfg(test)]
mod tests;

use std::ffi::OsString;

use clap::Parser;

use self::complaint::stop;
use self::flags::{CommandLine, Raw};
pub use self::invocation::{Command, Invocation, Stop};
use self::role::with_role_as_command;

/// Reads the command line, program name first, and the environment through `env`.
///
/// # Errors
/// Help or the version was asked for, or something is wrong: see [`Stop`].
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Invocation, Stop> {
    let args = with_role_as_command(args.into_iter().collect(), env)?;
    let line = CommandLine::try_parse_from(&args).map_err(|error| stop(&error, &args))?;
    let checked = match line.command {
        Raw::Web(mut web) => {
            // clap cannot tell `--` with nothing behind it from no `--`; with it, the command is an
            // empty one, which the check refuses.
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
