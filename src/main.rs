//! The thin binary: flags in, exit code out.
//!
//! | exit code | means | systemd |
//! |---|---|---|
//! | 0 | ended as asked; `status`: all is well | starts it again (`Restart=always`) |
//! | 2 | `status`: nothing serves | is not for systemd |
//! | 64 | the command line or the environment is wrong, or names something that is not there | does not try again |
//! | 69 | an address cannot be listened on; the balancer or the node does not answer | tries again |
//! | 1 | anything else, a second signal included; `status`: there are warnings | tries again |

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use picluster::cli::{self, Command, Invocation, Stop};
use picluster::cluster::api::ClusterStatus;
use picluster::commands::survey::Unavailable;
use picluster::commands::{demo, drain, nodes, status};
use picluster::os::listen::ListenError;
use picluster::os::shutdown;
use picluster::telemetry::log;
use picluster::web::Unusable;
use picluster::{lb, web};

const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const FAILURE: u8 = 1;

/// The time in which the last events of the log have to be written.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The most threads that wait for a disk. Clients choose how many reads there are, but a card reads no
/// faster for more threads, and each takes memory.
const READERS_MAX: usize = 8;

fn main() -> ExitCode {
    if let Some(code) = web::guard(env::args_os()) {
        return ExitCode::from(code);
    }
    // A reader that went away (`picluster --help | head -1`) is no failure.
    match cli::parse(env::args_os(), &|name| env::var_os(name)) {
        Ok(invocation) => run(invocation),
        Err(Stop::Asked(text)) => {
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(Stop::Refused(text)) => {
            let _ = io::stderr().write_all(text.as_bytes());
            ExitCode::from(USAGE)
        }
    }
}

fn run(invocation: Invocation) -> ExitCode {
    // The commands that are typed print for people and do not log.
    let is_typed = !matches!(invocation.command, Command::Web(_) | Command::Lb(_));
    let log = match log::start(invocation.logging) {
        Ok(log) => log,
        Err(error) => {
            let _ = writeln!(io::stderr(), "picluster: failed to start the log: {error}");
            return ExitCode::from(FAILURE);
        }
    };
    // One thread is enough for all of them: a balancer's workers bring their own threads and
    // runtimes, and what stays here is control.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(READERS_MAX)
        .enable_all()
        .build();
    let ended = runtime.context("failed to start the runtime").and_then(|runtime| {
        let ended = runtime.block_on(program(invocation));
        // Dropping the runtime would wait for blocking tasks, but the program has ended.
        runtime.shutdown_background();
        ended
    });
    let code = match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if is_typed || error.is::<Unusable>() {
                let _ = writeln!(io::stderr(), "picluster: {error:#}");
            } else {
                tracing::error!("{error:#}");
            }
            ExitCode::from(exit_code(&error))
        }
    };
    log.finish_blocking(LAST_WORDS);
    code
}

/// Runs the program until it ends by itself, by a signal, or at once by a second signal.
async fn program(invocation: Invocation) -> anyhow::Result<u8> {
    let (trigger, shutdown) = shutdown::channel();
    trigger.on_signals().context("failed to listen for signals")?;
    if invocation.exit_with_stdin {
        trigger.on_stdin_eof().context("failed to watch standard input")?;
    }
    let mut aborted = shutdown.clone();
    let program = async {
        match invocation.command {
            Command::Web(config) => web::run(config, shutdown).await?,
            Command::Lb(config) => lb::run(config, shutdown).await?,
            Command::Demo(config) => demo::run(config, shutdown).await?,
            Command::Nodes(config) => nodes::run(config, shutdown).await?,
            Command::Drain(config) => drain::run(config).await?,
            Command::Status(config) => {
                return Ok(match status::run(config, shutdown).await? {
                    ClusterStatus::Well => 0,
                    ClusterStatus::Warnings => 1,
                    ClusterStatus::Down => 2,
                });
            }
        }
        Ok(0)
    };
    tokio::select! {
        ended = program => ended,
        () = aborted.aborted() => Err(anyhow!("ended at once, as the second signal asks")),
    }
}

/// See the table at the top.
fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ListenError>() || error.is::<Unavailable>() {
        UNAVAILABLE
    } else if error.is::<Unusable>() {
        USAGE
    } else {
        FAILURE
    }
}
