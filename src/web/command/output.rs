//! What the command says, passed on line by line: to the stream it came from, with its name before it.

use std::io;

use tokio::io::AsyncRead;
use tokio::process::{ChildStderr, ChildStdout};

use crate::telemetry::writer::{Batch, NonBlockingWriter, each_line, unbuffered};

/// Lines that wait to be written; more are dropped, and said to be.
const LINES_MAX: usize = 256;

/// The longest line; more of it counts as the next one. With the name before it a pipe takes it whole.
const LINE_BYTES_MAX: u64 = 3 * 1024;

/// The longest name.
const NAME_CHARS_MAX: usize = 32;

/// Where it goes.
#[derive(Debug)]
pub(super) struct Output {
    name: String,
    stdout: NonBlockingWriter,
    stderr: NonBlockingWriter,
}

impl Output {
    /// For a command of this name.
    pub(super) fn start(name: &str) -> io::Result<Self> {
        Ok(Self {
            name: name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect(),
            stdout: outlet("app stdout", unbuffered(io::stdout())?)?,
            stderr: outlet("app stderr", unbuffered(io::stderr())?)?,
        })
    }

    /// Passes on what a run of it says.
    pub(super) fn follow(&self, stdout: Option<ChildStdout>, stderr: Option<ChildStderr>) {
        if let Some(stdout) = stdout {
            tokio::spawn(pass_on(self.name.clone(), stdout, self.stdout.clone()));
        }
        if let Some(stderr) = stderr {
            tokio::spawn(pass_on(self.name.clone(), stderr, self.stderr.clone()));
        }
    }
}

fn outlet(name: &str, to: impl io::Write + Send + 'static) -> io::Result<NonBlockingWriter> {
    NonBlockingWriter::start(name, LINES_MAX, to, |lines| {
        if lines > 0 {
            tracing::warn!(lines, "lines of the command could not be written");
        }
    })
}

async fn pass_on(name: String, from: impl AsyncRead + Unpin, to: NonBlockingWriter) {
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
