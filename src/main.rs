//! The thin binary: flags in, exit code out.
//!
//! | exit code | means | systemd |
//! |---|---|---|
//! | 0 | ended as asked; `status`: all is well | starts it again (`Restart=always`) |
//! | 2 | `status`: nothing serves | is not for systemd |
//! | 64 | the command line or the environment is wrong, or what they name is not there | does not try again |
//! | 69 | an address cannot be listened on; who was to be asked does not answer | tries again |
//! | 1 | anything else, a second signal included; `status`: there are warnings | tries again |

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use picluster::cli::{self, Command, Invocation, LogFormat, Logging, Stop};
use picluster::cluster::api::ClusterStatus;
use picluster::commands::survey::Unavailable;
use picluster::commands::{demo, drain, nodes, status};
use picluster::os::listen::ListenError;
use picluster::os::shutdown;
use picluster::telemetry::writer::{NonBlockingWriter, Page, unbuffered};
use picluster::web::Unusable;
use picluster::{lb, web};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const FAILURE: u8 = 1;

/// Events that wait to be written.
const EVENTS_MAX: usize = 1024;

/// How long the last of them may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

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

/// Threads that wait for a disk on behalf of clients, whose number is theirs to choose: a card reads no
/// faster for more of them, and each takes memory.
const READERS_MAX: usize = 8;

fn run(invocation: Invocation) -> ExitCode {
    let in_plain_words = !matches!(invocation.command, Command::Web(_) | Command::Lb(_));
    let log = match start_log(invocation.logging) {
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
        // Not by dropping it: that waits for blocking tasks, and the program has ended.
        runtime.shutdown_background();
        ended
    });
    let code = match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if in_plain_words || error.is::<Unusable>() {
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

/// Logs to stderr, panics included. Never in colour: there is nothing to switch off for NO_COLOR.
///
/// Through an outlet, because a pipe that nobody reads must not hold up whoever has a word to say:
/// neither discovery nor the end of the program.
fn start_log(logging: Logging) -> io::Result<NonBlockingWriter> {
    let dropped = Arc::new(AtomicU64::new(0));
    let lost = Arc::clone(&dropped);
    let outlet =
        NonBlockingWriter::start("log", EVENTS_MAX, unbuffered(io::stderr())?, move |lines| {
            if lines > 0 {
                lost.fetch_add(lines, Ordering::Relaxed);
            } else if let lines @ 1.. = lost.swap(0, Ordering::Relaxed) {
                tracing::warn!(
                    lines,
                    "lines of this log were dropped: standard error took no more"
                );
            }
        })?;
    let events = outlet.clone();
    let writer = move || Event { outlet: events.clone(), dropped: Arc::clone(&dropped) };
    let in_detail = logging.level >= LevelFilter::DEBUG;
    let filter = logging.level;
    // Without internal errors: they are printed to the same stderr and panic where that is closed.
    let layer = fmt::layer().with_writer(writer).log_internal_errors(false);
    let layer = match logging.format {
        LogFormat::Json => {
            layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
        // The journal has its own clock.
        LogFormat::Text if stderr_is_the_journal() => {
            layer.compact().with_target(in_detail).without_time().boxed()
        }
        LogFormat::Text => layer.compact().with_target(in_detail).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(layer).init();
    panic::set_hook(Box::new(|panic| {
        let text = panic.payload().downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.payload().downcast_ref::<&str>().copied());
        let at = panic.location().map(ToString::to_string);
        tracing::error!(at, "panicked, this is a bug: {}", text.unwrap_or("no message"));
    }));
    Ok(outlet)
}

/// Where one event is written.
struct Event {
    outlet: NonBlockingWriter,
    dropped: Arc<AtomicU64>,
}

impl Write for Event {
    /// Each event is written at once, as one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let page = Page { bytes: line.to_vec(), lines: 1 };
        if self.outlet.hand(page).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// systemd.exec(5), `$JOURNAL_STREAM`: the device and inode of the stream that is the journal. The
/// variable alone does not tell, since it is inherited by children whose stderr is another.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fs::metadata("/proc/self/fd/2").is_ok_and(|s| stream == format!("{}:{}", s.dev(), s.ino()))
}
