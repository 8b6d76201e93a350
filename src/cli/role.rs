//! The role as one more spelling of the command: `picluster --role web ...` and
//! `PICLUSTER_ROLE=web picluster ...` become `picluster web ...`, so that everything after it is read
//! in one way.

use std::ffi::OsString;

use super::flags::SHORT;
use super::invocation::Stop;
use super::values::{self, Env, Given, Refusal};

/// The arguments with the command in its place.
pub(super) fn with_role_as_command(
    mut args: Vec<OsString>,
    env: Env<'_>,
) -> Result<Vec<OsString>, Stop> {
    // Behind `--` stand the arguments of another program.
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
