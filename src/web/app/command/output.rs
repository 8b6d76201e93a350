//! The output of the command, copied line by line: to the stream it came from, with the command's name
//! before it.

use std::io;

use tokio::io::AsyncRead;
use tokio::process::{ChildStderr, ChildStdout};

use crate::telemetry::writer::{Batch, NonBlockingWriter, each_line, unbuffered};

/// Lines that wait to be written. Further ones are dropped, and the log reports that.
const LINES_MAX: usize = 256;

/// The longest line; the rest counts as the next line. With the name before it a pipe still takes it whole.
const LINE_BYTES_MAX: u64 = 3 * 1024;

/// The longest name before a line.
const NAME_CHARS_MAX: usize = 32;

/// The writers to which the lines go.
#[derive(Debug)]
pub(super) struct Output {
    name: String,
    stdout: NonBlockingWriter,
    stderr: NonBlockingWriter,
}

impl Output {
    /// Starts the writers for a command with this name.
    ///
    /// # Errors
    /// Standard output or standard error is closed, or a thread cannot be made.
    pub(super) fn start(name: &str) -> io::Result<Self> {
        Ok(Self {
            name: name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect(),
            stdout: writer("app stdout", unbuffered(io::stdout())?)?,
            stderr: writer("app stderr", unbuffered(io::stderr())?)?,
        })
    }

    /// Copies the lines of one run of the command until they end.
    pub(super) fn follow(&self, stdout: Option<ChildStdout>, stderr: Option<ChildStderr>) {
        if let Some(stdout) = stdout {
            tokio::spawn(copy_lines(self.name.clone(), stdout, self.stdout.clone()));
        }
        if let Some(stderr) = stderr {
            tokio::spawn(copy_lines(self.name.clone(), stderr, self.stderr.clone()));
        }
    }
}

fn writer(name: &str, to: impl io::Write + Send + 'static) -> io::Result<NonBlockingWriter> {
    NonBlockingWriter::start(name, LINES_MAX, to, |lines| {
        if lines > 0 {
            tracing::warn!(lines, "lines of the command could not be written");
        }
    })
}

async fn copy_lines(name: String, from: impl AsyncRead + Unpin, to: NonBlockingWriter) {
    let mut dropped = 0u64;
    each_line(from, LINE_BYTES_MAX, |line| {
        let page = Batch { bytes: format!("{name} | {line}\n").into_bytes(), lines: 1 };
        match to.try_write(page) {
            Err(_) => dropped += 1,
            Ok(()) if dropped > 0 => {
                tracing::warn!(
                    lines = dropped,
                    "lines of the command were dropped: nobody read them"
                );
                dropped = 0;
            }
            Ok(()) => {}
        }
    })
    .await;
}
