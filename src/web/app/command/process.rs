//! A run of the command: the process of its guard, from its start to its end.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, timeout_at};

use super::guard;
use super::output::Output;

/// The least time between SIGTERM and SIGKILL.
const GRACE_MIN: Duration = Duration::from_secs(2);

/// The command while it runs. Dropping it kills all of it: the guard sees the end of its orders.
pub(super) struct Process {
    guard: Child,
    orders: Option<ChildStdin>,
}

impl Process {
    /// Starts a command with these variables, under a guard. Its lines go to `output`.
    ///
    /// # Errors
    /// The guard cannot be started. A command that cannot be started ends the guard.
    pub(super) fn spawn(
        argv: &[String],
        vars: &[(&str, String)],
        output: &Output,
    ) -> io::Result<Self> {
        // The program that runs, not the file at our path: an update may have replaced that.
        let mut guard = Command::new("/proc/self/exe")
            .arg0("picluster")
            .arg(guard::COMMAND)
            .args(argv)
            .envs(vars.iter().map(|(name, value)| (name, value)))
            // With these the command would speak to systemd in our name.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            // Ctrl-C in the terminal reaches this process only, which then ends the command.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        output.follow(guard.stdout.take(), guard.stderr.take());
        Ok(Self { orders: guard.stdin.take(), guard })
    }

    /// Waits for its end. Returns how it ended, as the rest of a sentence.
    pub(super) async fn ended(&mut self) -> String {
        match self.guard.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("is lost: {error}"),
        }
    }

    /// Asks it to end, and kills it after the deadline.
    pub(super) async fn end(mut self, deadline: Instant) {
        tracing::info!("asking the command to end");
        if let Some(orders) = &mut self.orders {
            // An error means that it has ended by itself.
            let _ = orders.write_all(&[guard::TERMINATE]).await;
        }
        let deadline = deadline.max(Instant::now() + GRACE_MIN);
        if timeout_at(deadline, self.guard.wait()).await.is_err() {
            tracing::warn!("the command still runs, so it is killed");
            self.orders = None;
            let _ = timeout_at(deadline + GRACE_MIN, self.guard.wait()).await;
        }
    }
}

/// The end of the command by the exit status of its guard, which ends as the command did: with its code,
/// or with 128 and the number of the signal that killed it.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code @ 129..=192), _) => format!("was killed by signal {}", code - 128),
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => {
            format!("was left by its guard, which was killed by signal {signal}")
        }
        (None, None) => "ended".to_owned(),
    }
}
