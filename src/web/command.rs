//! The command whose application this node serves: started, listened to, started again when it ends,
//! and ended with this node.
//!
//! It does not run directly under this process but under a guard, [`guard`]: this program once more, which
//! knows when this process has died, however it did, and leaves nothing of the command behind.

pub(super) mod guard;
mod output;

use std::env;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use self::output::Output;
use super::app::App;
use super::{Identity, Unusable};
use crate::os::listen::{self, ListenError};

/// The first port that is tried for the command: one that many applications take by themselves.
const FIRST_PORT: u16 = 3000;

/// The waits before it is started again grow from the one to the other, doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Who ran for this long has forgiven ends before.
const RAN_WELL: Duration = Duration::from_secs(60);

/// What it has at least, between SIGTERM and SIGKILL.
const GRACE_MIN: Duration = Duration::from_secs(2);

/// A command that is there and may be executed.
#[derive(Debug)]
pub(super) struct Command {
    argv: Vec<String>,
    /// What is set for it, in this order.
    vars: [(&'static str, String); 3],
    output: Output,
}

/// The port for the command: the one that was given, if it is free, or the first that is.
///
/// # Errors
/// The one that was given is taken.
pub(super) fn port(given: Option<u16>) -> Result<u16, ListenError> {
    let any = crate::cluster::config::any;
    let listener = match given {
        Some(port) => listen::bind(any(port), "--app")?,
        None => listen::bind_from(any(FIRST_PORT), None, "--app")?,
    };
    // Bound just now, so that it has one.
    Ok(listener.local_addr().map_or(FIRST_PORT, |addr| addr.port()))
}

impl Command {
    /// # Errors
    /// There is no such program, or it may not be executed.
    pub(super) fn new(
        argv: &[String],
        port: u16,
        identity: &Identity,
        cluster: &str,
    ) -> anyhow::Result<Self> {
        let program = argv.first().map(String::as_str).unwrap_or_default();
        find(program)?;
        let vars = [
            ("PORT", port.to_string()),
            ("PICLUSTER_NODE", identity.name.clone()),
            ("PICLUSTER_CLUSTER", cluster.to_owned()),
        ];
        let name = Path::new(program).file_name().unwrap_or(OsStr::new(program));
        let output = Output::start(&name.to_string_lossy())?;
        Ok(Self { argv: argv.to_vec(), vars, output })
    }

    /// Runs it, and runs it again, until `end` says until when it has to be gone.
    pub(super) async fn run(self, app: Arc<App>, mut end: watch::Receiver<Option<Instant>>) {
        let vars: Vec<_> =
            self.vars.iter().map(|(name, value)| format!("{name}={value}")).collect();
        tracing::info!(command = self.argv.join(" "), "starting with {}", vars.join(" "));
        let mut ends = Ends::default();
        loop {
            let began = Instant::now();
            let why = match self.start(app.port) {
                Ok(mut running) => {
                    app.started();
                    tokio::select! {
                        why = running.ended() => why,
                        deadline = asked(&mut end) => return running.end(deadline).await,
                    }
                }
                Err(why) => format!("cannot be started: {why}"),
            };
            let pause = ends.another(began.elapsed());
            let why = ends.told(&why);
            tracing::warn!(again_in = ?pause, "the command {why}");
            app.ended(why, Some(Instant::now() + pause));
            tokio::select! {
                () = sleep(pause) => {}
                _ = asked(&mut end) => return,
            }
        }
    }

    /// Starts it, unless somebody else has its port by now, whose answers would pass for its own.
    fn start(&self, port: u16) -> Result<Running, String> {
        match listen::owner(port) {
            Some(owner) => Err(format!("port {port} is taken by {owner}")),
            None => self.spawn().map_err(|error| error.to_string()),
        }
    }

    fn spawn(&self) -> io::Result<Running> {
        // Whatever is at our own path by now, an update perhaps: this is the program that runs.
        let mut guard = tokio::process::Command::new("/proc/self/exe")
            .arg0("picluster")
            .arg(guard::COMMAND)
            .args(&self.argv)
            .envs(self.vars.iter().map(|(name, value)| (name, value)))
            // It would speak to systemd in our name.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            // Ctrl-C in the terminal is for us; what becomes of the command is then our business.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        self.output.follow(guard.stdout.take(), guard.stderr.take());
        Ok(Running { orders: guard.stdin.take(), guard })
    }
}

/// When it has to be gone, once somebody says so.
async fn asked(end: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match end.wait_for(Option::is_some).await.map(|deadline| *deadline) {
        Ok(Some(deadline)) => deadline,
        // Nobody can say so any more.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

/// The command while it runs. Dropping it kills all of it: the guard sees the end of its orders.
struct Running {
    guard: Child,
    orders: Option<ChildStdin>,
}

impl Running {
    /// Waits for its end, and says how that was.
    async fn ended(&mut self) -> String {
        match self.guard.wait().await {
            Ok(status) => how(status),
            Err(error) => format!("is lost: {error}"),
        }
    }

    /// Asks it to end, and kills it after the deadline.
    async fn end(mut self, deadline: Instant) {
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

/// The guard ends as the command did, with 128 and the signal where it was killed.
fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code @ 129..=192), _) => format!("was killed by signal {}", code - 128),
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => {
            format!("was left by its guard, which was killed by signal {signal}")
        }
        (None, None) => "ended".to_owned(),
    }
}

/// How often it ended in a row.
#[derive(Default)]
struct Ends(u32);

impl Ends {
    /// Another one, after it ran for so long; gives the wait before the next start.
    fn another(&mut self, ran: Duration) -> Duration {
        self.0 = if ran >= RAN_WELL { 1 } else { self.0.saturating_add(1) };
        let doubled = 1u32.checked_shl(self.0 - 1).unwrap_or(u32::MAX);
        PAUSE_MIN.saturating_mul(doubled).min(PAUSE_MAX)
    }

    fn told(&self, how: &str) -> String {
        if self.0 == 1 { how.to_owned() } else { format!("{how}, {} times", self.0) }
    }
}

/// Looks for the file of a program as execvp(3) does.
///
/// # Errors
/// There is none that may be executed.
fn find(program: &str) -> Result<(), Unusable> {
    let path = env::var_os("PATH").unwrap_or_default();
    let files: Vec<_> = match program {
        "" => Vec::new(),
        path if path.contains('/') => vec![PathBuf::from(path)],
        name => env::split_paths(&path).map(|folder| folder.join(name)).collect(),
    };
    let found: Vec<_> =
        files.iter().filter_map(|file| Some((file, file.metadata().ok()?))).collect();
    let is_program = |file: &Metadata| file.is_file() && file.permissions().mode() & 0o111 != 0;
    if found.iter().any(|(_, file)| is_program(file)) {
        return Ok(());
    }
    let is_file = |(_, file): &&(&PathBuf, Metadata)| file.is_file();
    Err(Unusable(match (found.iter().find(is_file), found.first()) {
        (Some((file, _)), _) => format!(
            "{file:?} may not be executed: allow it with `chmod +x {}`, or write what runs it before it, \
             for example -- sh {program}",
            file.display()
        ),
        (None, Some((folder, _))) => {
            format!("{folder:?} is a folder, no program: write the whole path of the program in it")
        }
        (None, None) => format!(
            "there is no program {program:?} that could be run: check the spelling, install it, or \
             write its whole path"
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_double_and_begin_anew_after_it_ran_well() {
        let mut ends = Ends::default();
        let soon = Duration::from_secs(1);
        let waits: Vec<_> = (0..7).map(|_| ends.another(soon).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(ends.told("exited with code 1"), "exited with code 1, 7 times");
        assert_eq!(ends.another(RAN_WELL).as_secs(), 1);
        assert_eq!(ends.told("exited with code 1"), "exited with code 1");
        ends.0 = u32::MAX;
        assert_eq!(ends.another(soon), PAUSE_MAX);
    }

    #[test]
    fn a_program_is_found_as_a_shell_finds_it_or_said_why_it_is_none() {
        assert!(find("sh").is_ok() && find("/bin/sh").is_ok());
        for (program, words) in [
            ("no-such-program", "there is no program \"no-such-program\""),
            ("", "there is no program"),
            ("/no/such/program", "there is no program"),
            ("/", "is a folder"),
            ("/etc/passwd", "may not be executed: allow it with `chmod +x /etc/passwd`"),
        ] {
            let said = find(program).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
