//! The command whose application this node serves: started, started again when it ends, and ended with
//! this node.
//!
//! The command does not run directly under this process but under a guard, [`guard`]: this program once more, which
//! notices when this process has died, for whatever reason, and leaves nothing of the command behind.

pub(super) mod guard;
mod output;
mod process;
mod program;
mod restarts;

use std::ffi::OsStr;
use std::future::pending;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use self::output::Output;
use self::process::Process;
use self::restarts::Restarts;
use super::application::App;
use crate::cluster::config::any;
use crate::os::listen::{self, ListenError};
use crate::web::identity::Identity;

/// The first port that is tried for the command: one that many applications take by themselves.
const FIRST_PORT: u16 = 3000;

/// A command whose program exists and may be executed.
#[derive(Debug)]
pub(in crate::web) struct Command {
    app: Arc<App>,
    argv: Vec<String>,
    /// The variables that are set for it, in this order.
    vars: [(&'static str, String); 3],
    output: Output,
}

/// The port for a command: the one that was given, if it is free, or the first free one from
/// [`FIRST_PORT`].
///
/// # Errors
/// The one that was given is taken.
pub(in crate::web) fn free_port(given: Option<u16>) -> Result<u16, ListenError> {
    let listener = match given {
        Some(port) => listen::bind(any(port), "--app")?,
        None => listen::bind_from(any(FIRST_PORT), None, "--app")?,
    };
    // A socket that was bound just now has an address.
    Ok(listener.local_addr().map_or(FIRST_PORT, |addr| addr.port()))
}

impl Command {
    /// The command of an application, with its arguments.
    ///
    /// # Errors
    /// There is no such program, or it may not be executed.
    pub(in crate::web) fn new(
        argv: &[String],
        app: Arc<App>,
        identity: &Identity,
        cluster: &str,
    ) -> anyhow::Result<Self> {
        let program = argv.first().map(String::as_str).unwrap_or_default();
        program::find(program)?;
        let vars = [
            ("PORT", app.port.to_string()),
            ("PICLUSTER_NODE", identity.name.clone()),
            ("PICLUSTER_CLUSTER", cluster.to_owned()),
        ];
        let name = Path::new(program).file_name().unwrap_or(OsStr::new(program));
        let output = Output::start(&name.to_string_lossy())?;
        Ok(Self { app, argv: argv.to_vec(), vars, output })
    }

    /// The application that it is.
    pub(in crate::web) fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Starts it, and starts it again when it ends, until [`RunningCommand::end`].
    pub(in crate::web) fn start(self) -> RunningCommand {
        let (order, end) = watch::channel(None);
        let app = Arc::clone(&self.app);
        RunningCommand { app, order, task: tokio::spawn(self.run(end)) }
    }

    /// `end` gets the time by which it must be gone.
    async fn run(self, mut end: watch::Receiver<Option<Instant>>) {
        let vars: Vec<_> =
            self.vars.iter().map(|(name, value)| format!("{name}={value}")).collect();
        tracing::info!(command = self.argv.join(" "), "starting with {}", vars.join(" "));
        let mut restarts = Restarts::default();
        loop {
            let began = Instant::now();
            let why = match self.spawn() {
                Ok(mut process) => {
                    self.app.started();
                    tokio::select! {
                        why = process.ended() => why,
                        deadline = ordered(&mut end) => return process.end(deadline).await,
                    }
                }
                Err(why) => format!("cannot be started: {why}"),
            };
            let pause = restarts.ended(began.elapsed());
            let why = restarts.describe(&why);
            tracing::warn!(again_in = ?pause, "the command {why}");
            self.app.ended(why, Some(Instant::now() + pause));
            tokio::select! {
                () = sleep(pause) => {}
                _ = ordered(&mut end) => return,
            }
        }
    }

    /// Starts its process, unless another program has its port by now: that one's answers would pass for
    /// its own.
    fn spawn(&self) -> Result<Process, String> {
        let port = self.app.port;
        match listen::owner(port) {
            Some(owner) => Err(format!("port {port} is taken by {owner}")),
            None => Process::spawn(&self.argv, &self.vars, &self.output)
                .map_err(|error| error.to_string()),
        }
    }
}

/// Waits for the order to end; returns the time by which the command must be gone.
async fn ordered(end: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match end.wait_for(Option::is_some).await.map(|deadline| *deadline) {
        Ok(Some(deadline)) => deadline,
        // The node has dropped its side, so that no order can come any more.
        Ok(None) | Err(_) => pending().await,
    }
}

/// A command that was started. If it is dropped, the command goes on until this process ends.
pub(in crate::web) struct RunningCommand {
    app: Arc<App>,
    order: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

impl RunningCommand {
    /// Waits until no client is connected to the application, because most applications break off what
    /// they do when they are asked to end, and then ends the command. The wait lasts until the deadline
    /// at most; then the command is killed.
    pub(in crate::web) async fn end(self, deadline: Instant) {
        let _ = timeout_at(deadline, self.app.quiet()).await;
        self.order.send_replace(Some(deadline));
        let _ = self.task.await;
    }
}
