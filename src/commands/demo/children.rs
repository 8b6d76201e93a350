//! The processes of a demo: started, listened to, ended.

use std::collections::VecDeque;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, future, io};

use anyhow::Context;
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::task::JoinSet;

use crate::os::terminal::say;
use crate::telemetry::writer::each_line;

/// The time for which a request or a tunnel may hold up the end of a demo.
const DRAIN: &str = "1s";

/// The most log lines kept of a child, for the case that it fails.
const LINES_MAX: usize = 8;

/// The longest line; the rest of a longer one counts as the next line.
const LINE_BYTES_MAX: u64 = 1024;

/// All children of one demo. Dropping it kills them.
pub(super) struct Children {
    program: PathBuf,
    cluster: String,
    verbose: bool,
    all: Vec<Known>,
    /// One task for each child, which owns it and ends with it.
    ends: JoinSet<(String, io::Result<ExitStatus>)>,
}

/// The part of a child that stays known when it is gone.
struct Known {
    name: String,
    pid: u32,
    /// The child ends when this is dropped.
    stdin: Option<ChildStdin>,
    lines: Lines,
}

/// The last lines of a child's log. Written by its task, read for an error.
type Lines = Arc<Mutex<VecDeque<String>>>;

impl Children {
    /// Has no child yet. The cluster's name is random, so that other demos and real nodes stay out.
    pub(super) fn new(verbose: bool) -> anyhow::Result<Self> {
        let program = env::current_exe().context("failed to find this program's own file")?;
        let letter = || char::from(b"abcdefghijklmnopqrstuvwxyz234567"[fastrand::usize(..32)]);
        let cluster = "demo-".chars().chain(std::iter::repeat_with(letter).take(6)).collect();
        Ok(Self { program, cluster, verbose, all: Vec::new(), ends: JoinSet::new() })
    }

    /// Starts a child. One of the same name that ended is forgotten.
    pub(super) fn start(&mut self, name: &str, args: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .args(["--cluster", &self.cluster, "--drain", DRAIN, "--loopback", "--exit-with-stdin"])
            // In a group of its own: Ctrl-C in the terminal is for the demo, which ends the rest.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // The settings of this machine's real node (its id, its interface) are not for a demo.
        for (variable, _) in env::vars_os() {
            let ours = variable.to_str().is_some_and(|v| v.starts_with("PICLUSTER_"));
            if ours || variable == "NOTIFY_SOCKET" {
                command.env_remove(variable);
            }
        }
        let mut child = command.spawn().with_context(|| format!("failed to start {name}"))?;
        let known = Known {
            name: name.to_owned(),
            pid: child.id().unwrap_or(0),
            stdin: child.stdin.take(),
            lines: Lines::default(),
        };
        self.ends.spawn(run_to_end(name.to_owned(), child, Arc::clone(&known.lines), self.verbose));
        self.all.retain(|other| other.name != name);
        self.all.push(known);
        Ok(())
    }

    /// Waits for the next child to end. Never resolves when none is left.
    ///
    /// ## Cancel safety
    /// Each end is returned once, and none is lost when this is dropped before.
    pub(super) async fn ended(&mut self) -> (String, ExitStatus) {
        loop {
            match self.ends.join_next().await {
                Some(Ok((name, Ok(status)))) => return (name, status),
                // Waiting for a child of our own fails for no reason that we could mend.
                Some(Ok((_, Err(_))) | Err(_)) => {}
                None => future::pending().await,
            }
        }
    }

    /// The number of children that run, the balancer included.
    pub(super) fn running(&self) -> usize {
        self.ends.len()
    }

    /// The process id that the child of this name has or had.
    pub(super) fn pid(&self, name: &str) -> u32 {
        self.all.iter().find(|child| child.name == name).map_or(0, |child| child.pid)
    }

    /// The last lines of these children (of all, if none is named), as the end of an error.
    pub(super) fn last_lines(&self, names: &[&str]) -> String {
        let mut text = String::new();
        for child in &self.all {
            if names.is_empty() || names.contains(&child.name.as_str()) {
                let lines = child.lines.lock().unwrap_or_else(PoisonError::into_inner);
                let what = if lines.is_empty() { "nothing" } else { "last:" };
                let _ = write!(text, "\n{} said {what}", child.name);
                for line in lines.iter() {
                    let _ = write!(text, "\n    {line}");
                }
            }
        }
        text
    }

    /// Asks all to end, gracefully; kills those that still run after `patience`.
    pub(super) async fn stop(mut self, patience: Duration) {
        for child in &mut self.all {
            child.stdin = None;
        }
        let gone = async { while self.ends.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, gone).await.is_err() {
            self.ends.shutdown().await;
        }
    }
}

/// Keeps the last lines of a child until it is gone; returns its name and its end.
async fn run_to_end(
    name: String,
    mut child: Child,
    lines: Lines,
    verbose: bool,
) -> (String, io::Result<ExitStatus>) {
    if let Some(stderr) = child.stderr.take() {
        keep_lines(&name, stderr, &lines, verbose).await;
    }
    let status = child.wait().await;
    (name, status)
}

async fn keep_lines(name: &str, stderr: ChildStderr, lines: &Lines, verbose: bool) {
    each_line(stderr, LINE_BYTES_MAX, |text| {
        if verbose {
            say(&format!("{name:>9} | {text}"));
        }
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(text.to_owned());
    })
    .await;
}
