//! The parser's complaint in one sentence, with our exit codes and with the fix.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::flags;
use super::invocation::Stop;
use super::values::Refusal;

/// The stop for an error of the parser. Help and the version are errors to it as well.
pub(super) fn stop(error: &clap::Error, args: &[OsString]) -> Stop {
    let command = args.get(1).and_then(|arg| arg.to_str()).filter(|arg| !arg.starts_with('-'));
    let see = match command {
        Some(command) if flags::is_command(command) => format!("see `picluster {command} --help`"),
        _ => "see `picluster --help`".to_owned(),
    };
    let sentence = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return Stop::Asked(error.render().to_string());
        }
        ErrorKind::UnknownArgument => unknown_argument(error, command, args, see),
        ErrorKind::InvalidSubcommand => unknown_command(error),
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("{}; {see}", first.trim_start_matches("error: "))
        }
    };
    Refusal(sentence).into()
}

fn unknown_argument(
    error: &clap::Error,
    command: Option<&str>,
    args: &[OsString],
    see: String,
) -> String {
    let argument = context(error, ContextKind::InvalidArg).unwrap_or("this argument");
    let guess = match (argument.starts_with('-'), command) {
        (true, _) => other_flag(argument, context(error, ContextKind::SuggestedArg)),
        (false, Some("web")) => behind_dashes(argument, args),
        (false, _) => None,
    };
    let command = command.map(|command| format!(" {command}")).unwrap_or_default();
    format!("`picluster{command}` takes no {argument}; {}", guess.unwrap_or(see))
}

fn unknown_command(error: &clap::Error) -> String {
    let command = context(error, ContextKind::InvalidSubcommand).unwrap_or("this");
    let guess = context(error, ContextKind::SuggestedSubcommand);
    let guess = guess.map_or_else(
        || format!("there are {}", flags::commands()),
        |guess| format!("did you mean `picluster {guess}`?"),
    );
    format!("there is no command {command}; {guess}")
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    }
}

/// The flag that was meant, perhaps: one of which a letter or two are missing or too many, or else
/// the one of this name that other commands have, or else the nearest that the parser knows of.
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

/// The same command line with `--` before the command that it forgot to set apart.
fn behind_dashes(first: &str, args: &[OsString]) -> Option<String> {
    let args: Vec<_> = args.iter().skip(1).map(|arg| arg.to_string_lossy()).collect();
    let at = args.iter().position(|arg| arg == first)?;
    let (ours, theirs) = (shell_words::join(&args[..at]), shell_words::join(&args[at..]));
    (!args.iter().any(|arg| arg == "--"))
        .then(|| format!("a command comes behind --: picluster {ours} -- {theirs}"))
}
