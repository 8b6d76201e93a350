//! An application behind this node: where it listens, whether it works, and if not, why. It is looked at
//! from here, over loopback where it can be; requests go to it directly.
//!
//! What starts and ends it is `command`'s business, if anybody's here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::Unusable;
use crate::config::{AppConfig, AppHealth};
use crate::discovery::{Unwell, ask_neighbour};
use crate::listen;
use crate::node::NodeId;

/// Between two looks: one that has ended is out of rotation within a second.
const EVERY: Duration = Duration::from_millis(500);

/// How long an answer may take. As much as a foreign device has: the application knows nothing of
/// being asked, and one that works on something else is not down.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Between two looks at whether somebody is still connected.
const QUIET_EVERY: Duration = Duration::from_millis(50);

/// An application. Its state is written by the look and by the command, and read by every health answer.
#[derive(Debug)]
pub(super) struct App {
    /// The one address it listens on, if it has to be one.
    ip: Option<IpAddr>,
    /// Where requests go.
    pub(super) port: u16,
    health: AppHealth,
    /// Nobody but this machine has to reach it.
    stays_here: bool,
    state: watch::Sender<State>,
    /// Where it was found, as long as looks go well there.
    found: Mutex<Option<SocketAddr>>,
}

/// What is in its way; nothing at all when it works.
#[derive(Debug)]
struct State {
    /// Its process does not run: why, and when it is started again.
    ended: Option<(String, Option<Instant>)>,
    /// The last look failed.
    unwell: Option<Unwell>,
}

impl State {
    fn is_up(&self) -> bool {
        self.ended.is_none() && self.unwell.is_none()
    }
}

impl App {
    /// The application at this port. `stays_here`: only this machine connects to it.
    ///
    /// # Errors
    /// Its address is another machine's.
    pub(super) fn new(config: &AppConfig, port: u16, stays_here: bool) -> Result<Self, Unusable> {
        if let Some(ip) = config.ip
            && TcpListener::bind((ip, 0)).is_err()
        {
            return Err(Unusable(format!(
                "--app {ip}:{port} is on another machine; run picluster web there, with --app :{port}"
            )));
        }
        let unwell = Some(silent(format!("nothing answered on port {port} yet")));
        let state = watch::Sender::new(State { ended: None, unwell });
        Ok(Self {
            ip: config.ip,
            port,
            health: config.health.clone(),
            stays_here,
            state,
            found: Mutex::default(),
        })
    }

    /// Why it takes no requests; `None` if it does.
    pub(super) fn down(&self) -> Option<String> {
        let state = self.state.borrow();
        match &state.ended {
            Some((why, None)) => Some(why.clone()),
            Some((why, Some(next))) => {
                let left = next.saturating_duration_since(Instant::now());
                Some(format!("{why}; next start in {} s", left.as_secs_f32().ceil()))
            }
            None => state.unwell.as_ref().map(|unwell| unwell.why.clone()),
        }
    }

    /// Whether it answers requests, if with errors.
    pub(super) fn answers(&self) -> bool {
        let state = self.state.borrow();
        state.ended.is_none() && state.unwell.as_ref().is_none_or(|unwell| unwell.answers)
    }

    /// Waits until it works.
    ///
    /// ## Cancel safety
    /// Keeps nothing.
    pub(super) async fn up(&self) {
        // The sender is here, so that it cannot fail.
        let _ = self.state.subscribe().wait_for(State::is_up).await;
    }

    /// Waits until it works, or its process has ended.
    pub(super) async fn settled(&self) {
        let settled = |state: &State| state.is_up() || state.ended.is_some();
        let _ = self.state.subscribe().wait_for(settled).await;
    }

    /// Its process has ended, or was not started yet.
    pub(super) fn ended(&self, why: String, next_start: Option<Instant>) {
        self.change(|state| state.ended = Some((why, next_start)));
    }

    /// It took no connection just now.
    pub(super) fn lost(&self, why: String) {
        self.change(|state| state.unwell = Some(silent(why)));
    }

    /// Its process was started. Until a look at it goes well it does not work.
    pub(super) fn started(&self) {
        self.change(|state| {
            state.ended = None;
            let why = format!("started, but nothing answers on port {} yet", self.port);
            state.unwell = Some(silent(why));
        });
    }

    /// Looks at it for as long as it is polled.
    pub(super) async fn watch(&self, node: &NodeId) {
        loop {
            let seen = self.look(node).await;
            if seen.is_err() {
                *self.found() = None;
            }
            self.change(|state| state.unwell = seen.err());
            sleep(EVERY).await;
        }
    }

    /// Where it is reached from here.
    pub(super) fn at(&self) -> SocketAddr {
        let found = *self.found();
        let place = || self.place().unwrap_or((Ipv4Addr::LOCALHOST, self.port).into());
        found.unwrap_or_else(place)
    }

    fn found(&self) -> MutexGuard<'_, Option<SocketAddr>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody is connected to it: what ran has been answered, and who kept a connection has
    /// let go of it.
    pub(super) async fn quiet(&self) {
        while listen::connections(self.port) > 0 {
            sleep(QUIET_EVERY).await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            let was_up = state.is_up();
            let had_ended = state.ended.is_some();
            change(state);
            match (was_up, state.is_up()) {
                (false, true) => tracing::info!(port = self.port, "the application answers"),
                (true, false) => {
                    let why = state.ended.as_ref().map(|(why, _)| why);
                    let why = why.or(state.unwell.as_ref().map(|unwell| &unwell.why));
                    tracing::warn!(port = self.port, why, "the application is down");
                }
                _ => {}
            }
            was_up != state.is_up() || had_ended != state.ended.is_some()
        });
    }

    async fn look(&self, node: &NodeId) -> Result<(), Unwell> {
        let known = *self.found();
        let place = match known {
            Some(known) => known,
            None => self.place().map_err(silent)?,
        };
        *self.found() = Some(place);
        match &self.health {
            AppHealth::Path(path) => ask_neighbour(node, place, path, ANSWER_MAX).await,
            AppHealth::Tcp => match timeout(ANSWER_MAX, TcpStream::connect(place)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(silent(format!("no connection to {place}: {error}"))),
                Err(_) => Err(silent(format!("no connection to {place} in time"))),
            },
        }
    }

    /// Where to ask it.
    fn place(&self) -> Result<SocketAddr, String> {
        let port = self.port;
        let place = |ip: IpAddr| Ok(SocketAddr::new(ip, port));
        if let Some(ip) = self.ip {
            return place(ip);
        }
        let listeners = listen::listeners(port);
        let hears = |ip: &dyn Fn(&IpAddr) -> bool| listeners.iter().copied().find(|at| ip(at));
        if hears(&|at| *at == Ipv4Addr::UNSPECIFIED).is_some() || listeners.is_empty() {
            // None is seen of an application that a packet filter leads to, as those in containers are.
            return place(Ipv4Addr::LOCALHOST.into());
        }
        if hears(&IpAddr::is_unspecified).is_some() {
            return place(Ipv6Addr::LOCALHOST.into());
        }
        match (hears(&|at| !at.is_loopback()), hears(&IpAddr::is_loopback)) {
            (_, Some(ip)) if self.stays_here => place(ip),
            (Some(ip), _) => place(ip),
            (None, Some(ip)) => Err(format!(
                "listens on {} alone, where no other machine reaches it: have it listen on 0.0.0.0, \
                 or add --front",
                SocketAddr::new(ip, port)
            )),
            (None, None) => place(Ipv4Addr::LOCALHOST.into()),
        }
    }
}

/// It answers nothing.
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

    #[test]
    fn an_application_is_asked_where_it_listens() {
        for (bound, asked) in [("0.0.0.0:0", "127.0.0.1"), ("127.0.0.1:0", "127.0.0.1")] {
            let listener = TcpListener::bind(bound).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert_eq!(app(port, true).place().unwrap().ip().to_string(), asked);
        }
    }

    #[test]
    fn one_that_no_other_machine_reaches_is_told_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let why = app(listener.local_addr().unwrap().port(), false).place().unwrap_err();
        assert!(why.contains("0.0.0.0, or add --front") && why.len() <= 160, "{why}");
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
}
