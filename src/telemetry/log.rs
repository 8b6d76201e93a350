//! The program's own log: one event a line on standard error, panics included. Never in colour, so that
//! there is nothing to switch off for NO_COLOR.
//!
//! Each event goes through a queue and a thread, because a pipe that nobody reads must hold up neither
//! discovery nor the end of the program. What does not fit the queue is counted, and reported once
//! there is room again.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::writer::{Batch, NonBlockingWriter, unbuffered};

/// The most events that wait to be written.
const EVENTS_MAX: usize = 1024;

/// The form and the amount of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    /// `--log`. Default text.
    pub format: LogFormat,
    /// `--log-level`: less serious events are dropped. Default info.
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

/// Starts the log of this process, to be called once. The caller ends it with
/// [`NonBlockingWriter::finish_blocking`], or the last events are lost.
///
/// # Errors
/// When standard error is closed, or the thread cannot be started.
///
/// # Panics
/// When the process has a log already.
pub fn start(logging: Logging) -> io::Result<NonBlockingWriter> {
    let dropped = Arc::new(AtomicU64::new(0));
    let lost = Arc::clone(&dropped);
    let writer =
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
    let events = writer.clone();
    let make_writer = move || Event { writer: events.clone(), dropped: Arc::clone(&dropped) };
    let in_detail = logging.level >= LevelFilter::DEBUG;
    // Without internal errors: they are printed to the same stderr and panic where that is closed.
    let layer = fmt::layer().with_writer(make_writer).log_internal_errors(false);
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
    tracing_subscriber::registry().with(logging.level).with(layer).init();
    log_panics();
    Ok(writer)
}

fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let text = panic.payload().downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.payload().downcast_ref::<&str>().copied());
        let at = panic.location().map(ToString::to_string);
        tracing::error!(at, "panicked, this is a bug: {}", text.unwrap_or("no message"));
    }));
}

/// The writer of one event.
struct Event {
    writer: NonBlockingWriter,
    dropped: Arc<AtomicU64>,
}

impl Write for Event {
    /// The subscriber writes each event at once, as one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let batch = Batch { bytes: line.to_vec(), lines: 1 };
        if self.writer.try_write(batch).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compares the device and inode of stderr with those of the journal's stream (systemd.exec(5),
/// `$JOURNAL_STREAM`). That the variable is set proves nothing: children inherit it, and their stderr
/// may be another.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fs::metadata("/proc/self/fd/2").is_ok_and(|s| stream == format!("{}:{}", s.dev(), s.ino()))
}
