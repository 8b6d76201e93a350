//! An application of this machine, whose health is checked here. Its state holds the reason if it does not
//! work.
//!
//! It is started and ended by `command`, or not at all by this program.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::address;
use super::state::{Ended, State};
use crate::cluster::config::{AppConfig, AppHealth};
use crate::cluster::node::NodeId;
use crate::discovery::{Unwell, ask_neighbour};
use crate::os::listen;
use crate::web::unusable::Unusable;

/// The pause between two health checks: an application that has ended is out of rotation within a second.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// The most time for an answer. It is as much as a foreign device gets: the application does not know that
/// it is checked, and one that is busy with something else is not down.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The pause between two looks at whether a client is still connected.
const QUIET_EVERY: Duration = Duration::from_millis(50);

/// An application. Its state is written by the health check, by the command and by the requests that pass
/// through the node; every health answer reads it.
#[derive(Debug)]
pub(in crate::web) struct App {
    /// The one address it listens on, if it is configured.
    pub(in crate::web) ip: Option<IpAddr>,
    /// The port where it takes requests.
    pub(in crate::web) port: u16,
    health: AppHealth,
    /// It is a command of this node, which gets its port in a variable.
    is_command: bool,
    /// Only this machine connects to it.
    stays_here: bool,
    state: watch::Sender<State>,
    /// The address where it was found, as long as checks go well there.
    known_address: Mutex<Option<SocketAddr>>,
}

impl App {
    /// The application at this port. `stays_here`: only this machine connects to it.
    ///
    /// # Errors
    /// Its address belongs to another machine.
    pub(in crate::web) fn new(
        config: &AppConfig,
        port: u16,
        stays_here: bool,
    ) -> Result<Self, Unusable> {
        if let Some(ip) = config.ip
            && TcpListener::bind((ip, 0)).is_err()
        {
            return Err(Unusable(format!(
                "--app {ip}:{port} is on another machine; run picluster web there, with --app :{port}"
            )));
        }
        let unwell = silent(format!("nothing answered on port {port} yet"));
        Ok(Self {
            ip: config.ip,
            port,
            health: config.health.clone(),
            is_command: !config.command.is_empty(),
            stays_here,
            state: watch::Sender::new(State::new(unwell, Instant::now())),
            known_address: Mutex::default(),
        })
    }

    /// The reason why it takes no requests; `None` if it does.
    pub(in crate::web) fn down(&self) -> Option<String> {
        self.state.borrow().down(Instant::now())
    }

    /// Returns whether it answers requests, perhaps with errors.
    pub(in crate::web) fn answers(&self) -> bool {
        self.state.borrow().answers()
    }

    /// Waits until it answers requests, perhaps with errors, or listens where no other machine reaches it.
    /// From then on it is worth advertising: a balancer that finds it also gets the reason of a failure.
    ///
    /// ## Cancel safety
    /// A dropped wait loses nothing.
    pub(in crate::web) async fn there(&self) {
        // The sender is part of this value, so that the wait cannot fail.
        let _ = self.state.subscribe().wait_for(State::is_there).await;
    }

    /// Waits until it works, or until its process has ended.
    pub(in crate::web) async fn settled(&self) {
        let settled = |state: &State| state.is_up() || state.ended.is_some();
        let _ = self.state.subscribe().wait_for(settled).await;
    }

    /// Waits until no client is connected to it: what ran has been answered, and kept connections have
    /// been closed.
    pub(in crate::web) async fn quiet(&self) {
        while listen::connections(self.port) > 0 {
            sleep(QUIET_EVERY).await;
        }
    }

    /// Notes that its process has ended, or could not be started.
    pub(super) fn ended(&self, why: String, next_start: Option<Instant>) {
        self.change(|state| state.ended = Some(Ended { why, next_start }));
    }

    /// Notes that it took no connection just now.
    pub(super) fn lost(&self, why: String) {
        self.change(|state| state.unwell = Some(silent(why)));
    }

    /// Notes that its process was started. It does not count as working until a check goes well.
    pub(super) fn started(&self) {
        let why = format!("started, but nothing answers on port {} yet", self.port);
        self.change(|state| {
            state.ended = None;
            state.unwell = Some(silent(why));
            state.is_alone = false;
            state.started = Instant::now();
        });
    }

    /// Checks it until the future is dropped. `node` is the id of this node, which the check names.
    pub(in crate::web) async fn watch(&self, node: &NodeId) {
        loop {
            let known = *self.known_address();
            let address = known.map_or_else(|| self.find_address(), Ok);
            let is_alone = address.is_err();
            let checked = match &address {
                Ok(address) => self.check(node, *address).await,
                Err(alone) => Err(silent(alone.clone())),
            };
            *self.known_address() = address.ok().filter(|_| checked.is_ok());
            self.change(|state| (state.unwell, state.is_alone) = (checked.err(), is_alone));
            self.complain();
            sleep(CHECK_EVERY).await;
        }
    }

    /// The address at which it is reached from here.
    pub(super) fn address(&self) -> SocketAddr {
        let known = *self.known_address();
        let loopback = (Ipv4Addr::LOCALHOST, self.port).into();
        known.unwrap_or_else(|| self.find_address().unwrap_or(loopback))
    }

    fn known_address(&self) -> MutexGuard<'_, Option<SocketAddr>> {
        self.known_address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`address::find`].
    fn find_address(&self) -> Result<SocketAddr, String> {
        match self.ip {
            Some(ip) => Ok((ip, self.port).into()),
            None => address::find(self.port, self.stays_here),
        }
    }

    async fn check(&self, node: &NodeId, address: SocketAddr) -> Result<(), Unwell> {
        match &self.health {
            AppHealth::Path(path) => ask_neighbour(node, address, path, ANSWER_MAX).await,
            AppHealth::Tcp => match timeout(ANSWER_MAX, TcpStream::connect(address)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(silent(format!("no connection to {address}: {error}"))),
                Err(_) => Err(silent(format!("no connection to {address} in time"))),
            },
        }
    }

    /// Changes the state, logs it if the application goes up or down, and wakes those who wait for that.
    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            let before = state.summary();
            change(state);
            let after = state.summary();
            if before.is_up != after.is_up {
                self.log_change(state);
                state.note_logged(Instant::now());
            }
            before != after
        });
    }

    fn log_change(&self, state: &State) {
        if state.is_up() {
            tracing::info!(port = self.port, "the application answers");
        } else {
            let unwell = state.unwell.as_ref().map(|unwell| &unwell.why);
            let why = state.ended.as_ref().map(|ended| &ended.why).or(unwell);
            tracing::warn!(port = self.port, why, "the application is down");
        }
    }

    /// Logs the reason why it takes no requests, if that has lasted or has changed.
    fn complain(&self) {
        let mut complaint = None;
        self.state.send_if_modified(|state| {
            complaint = state.take_complaint(Instant::now());
            // No one waits for what was logged.
            false
        });
        let Some(why) = complaint else { return };
        let port = self.port;
        if self.is_command && listen::listeners(port).is_empty() {
            tracing::warn!(
                why,
                "the command runs and does not listen on port {port}: have it listen on the port in the \
                 variable PORT, or, where it has a port of its own, give that one with --app"
            );
        } else {
            tracing::warn!(port, why, "the application takes no requests");
        }
    }
}

/// The failure of an application that answers nothing.
fn silent(why: String) -> Unwell {
    Unwell { why, answers: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(port: u16, stays_here: bool) -> App {
        let config = AppConfig {
            ip: None,
            port: Some(port),
            health: AppHealth::Path("/".into()),
            command: Vec::new(),
            front: stays_here,
            any_control_port: true,
        };
        App::new(&config, port, stays_here).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_reason_counts_down_to_the_next_start() {
        let app = app(3000, false);
        app.ended("exited with code 1".into(), Some(Instant::now() + Duration::from_secs(4)));
        assert_eq!(app.down().unwrap(), "exited with code 1; next start in 4 s");
        tokio::time::advance(Duration::from_millis(2500)).await;
        assert_eq!(app.down().unwrap(), "exited with code 1; next start in 2 s");
        app.started();
        assert_eq!(app.down().unwrap(), "started, but nothing answers on port 3000 yet");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_logged_after_5_s_and_a_new_reason_once_a_minute() {
        let app = app(3000, false);
        let unwell = |why: &str| app.change(|state| state.unwell = Some(silent(why.to_owned())));
        let after = async |seconds| {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            let mut logged = None;
            app.state.send_modify(|state| logged = state.take_complaint(Instant::now()));
            logged
        };
        unwell("refused");
        assert_eq!(after(4).await, None, "it may still start");
        assert_eq!(after(1).await.as_deref(), Some("refused"));
        assert_eq!(after(60).await, None, "it was logged");
        unwell("status 500");
        assert_eq!(after(0).await.as_deref(), Some("status 500"));
        unwell("refused");
        assert_eq!(after(59).await, None, "not so often");
        assert_eq!(after(1).await.as_deref(), Some("refused"));
        // The command logs its own end, and the next start has its time again.
        app.change(|state| state.unwell = None);
        app.ended("exited".into(), None);
        assert_eq!(after(60).await, None);
        app.started();
        assert_eq!(after(4).await, None);
        assert!(after(1).await.is_some());
        // The change to down was logged by then.
        app.change(|state| state.unwell = None);
        unwell("refused");
        assert_eq!(after(60).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_is_advertised_only_if_it_answers_or_is_alone() {
        let app = app(3000, false);
        let is_there = async || timeout(Duration::from_secs(9), app.there()).await.is_ok();
        app.started();
        assert!(!is_there().await);
        app.change(|state| state.is_alone = true);
        assert!(is_there().await);
        app.ended("exited".into(), None);
        assert!(!is_there().await);
        app.started();
        assert!(!is_there().await, "where it listens this time is not known yet");
        let unwell = Unwell { why: "status 500".into(), answers: true };
        app.change(|state| state.unwell = Some(unwell));
        assert!(is_there().await);
    }
}
