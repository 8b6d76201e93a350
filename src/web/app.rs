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
use crate::cluster::config::{AppConfig, AppHealth};
use crate::cluster::node::NodeId;
use crate::discovery::{Unwell, ask_neighbour};
use crate::os::listen;

/// Between two looks: one that has ended is out of rotation within a second.
const EVERY: Duration = Duration::from_millis(500);

/// How long an answer may take. As much as a foreign device has: the application knows nothing of
/// being asked, and one that works on something else is not down.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Who does not work for this long after the start does not only take its time.
const STARTS_IN: Duration = Duration::from_secs(5);

/// Why it does not work is not said more often than this.
const SAID_EVERY: Duration = Duration::from_secs(60);

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
    /// Whether it is told its port.
    is_command: bool,
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
    /// It listens where no other machine reaches it.
    is_alone: bool,
    /// The last start, of this node or of its process.
    began: Instant,
    /// What was said last of why a look failed, and when; nothing since it worked.
    said: Option<(String, Instant)>,
}

impl State {
    fn is_up(&self) -> bool {
        self.ended.is_none() && self.unwell.is_none()
    }

    /// Whether it answers requests, if with errors.
    fn answers(&self) -> bool {
        self.ended.is_none() && self.unwell.as_ref().is_none_or(|unwell| unwell.answers)
    }

    /// Whether somebody is there, of whom others may be told.
    fn is_there(&self) -> bool {
        self.answers() || (self.ended.is_none() && self.is_alone)
    }

    /// Why the last look failed, if that is to be said now. It counts as said.
    fn take_complaint(&mut self, now: Instant) -> Option<String> {
        let why = &self.unwell.as_ref().filter(|_| self.ended.is_none())?.why;
        let is_new = match &self.said {
            Some((said, at)) => said != why && now.duration_since(*at) >= SAID_EVERY,
            None => now.duration_since(self.began) >= STARTS_IN,
        };
        is_new.then(|| self.said.insert((why.clone(), now)).0.clone())
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
        let state = watch::Sender::new(State {
            ended: None,
            unwell,
            is_alone: false,
            began: Instant::now(),
            said: None,
        });
        Ok(Self {
            ip: config.ip,
            port,
            health: config.health.clone(),
            is_command: !config.command.is_empty(),
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
        self.state.borrow().answers()
    }

    /// Waits until it answers requests, if with errors, or listens where no other machine reaches it.
    /// Who hears of it then hears what is in its way as well.
    ///
    /// ## Cancel safety
    /// Keeps nothing.
    pub(super) async fn there(&self) {
        // The sender is here, so that it cannot fail.
        let _ = self.state.subscribe().wait_for(State::is_there).await;
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
            state.is_alone = false;
            state.began = Instant::now();
        });
    }

    /// Looks at it for as long as it is polled.
    pub(super) async fn watch(&self, node: &NodeId) {
        loop {
            let known = *self.found();
            let place = known.map_or_else(|| self.place(), Ok);
            let is_alone = place.is_err();
            let seen = match &place {
                Ok(place) => self.look(node, *place).await,
                Err(alone) => Err(silent(alone.clone())),
            };
            *self.found() = place.ok().filter(|_| seen.is_ok());
            self.change(|state| (state.unwell, state.is_alone) = (seen.err(), is_alone));
            self.complain();
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
            let seen = |state: &State| (state.is_up(), state.is_there(), state.ended.is_some());
            let before = seen(state);
            change(state);
            match (before.0, state.is_up()) {
                (false, true) => {
                    state.said = None;
                    tracing::info!(port = self.port, "the application answers");
                }
                (true, false) => {
                    let unwell = state.unwell.as_ref().map(|unwell| &unwell.why);
                    let why = state.ended.as_ref().map(|(why, _)| why).or(unwell);
                    tracing::warn!(port = self.port, why, "the application is down");
                    state.said = unwell.map(|why| (why.clone(), Instant::now()));
                }
                _ => {}
            }
            before != seen(state)
        });
    }

    /// Says why it takes no requests, where that has lasted or has changed.
    fn complain(&self) {
        let mut why = None;
        self.state.send_if_modified(|state| {
            why = state.take_complaint(Instant::now());
            // Nobody waits for what was said.
            false
        });
        let Some(why) = why else { return };
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

    async fn look(&self, node: &NodeId, place: SocketAddr) -> Result<(), Unwell> {
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
    ///
    /// # Errors
    /// It listens where no other machine reaches it.
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
    fn an_application_that_no_other_machine_reaches_gets_an_advice() {
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
    #[tokio::test(start_paused = true)]
    async fn the_trouble_is_logged_after_5_s_and_anew_once_a_minute_at_most() {
        let app = app(3000, false);
        let unwell = |why: &str| app.change(|state| state.unwell = Some(silent(why.to_owned())));
        let after = async |seconds| {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            let mut said = None;
            app.state.send_modify(|state| said = state.take_complaint(Instant::now()));
            said
        };
        unwell("refused");
        assert_eq!(after(4).await, None, "it may still start");
        assert_eq!(after(1).await.as_deref(), Some("refused"));
        assert_eq!(after(60).await, None, "it was said");
        unwell("status 500");
        assert_eq!(after(0).await.as_deref(), Some("status 500"));
        unwell("refused");
        assert_eq!(after(59).await, None, "not so often");
        assert_eq!(after(1).await.as_deref(), Some("refused"));
        // Its end is said by whoever starts it, and the next start has its time again.
        app.change(|state| state.unwell = None);
        app.ended("exited".into(), None);
        assert_eq!(after(60).await, None);
        app.started();
        assert_eq!(after(4).await, None);
        assert!(after(1).await.is_some());
        // That it was lost has been said by then.
        app.change(|state| state.unwell = None);
        unwell("refused");
        assert_eq!(after(60).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unwell_application_is_announced_if_it_errs_or_listens_alone() {
        let app = app(3000, false);
        let is_told = async || timeout(Duration::from_secs(9), app.there()).await.is_ok();
        app.started();
        assert!(!is_told().await);
        app.change(|state| state.is_alone = true);
        assert!(is_told().await);
        app.ended("exited".into(), None);
        assert!(!is_told().await);
        app.started();
        assert!(!is_told().await, "where it listens this time is not known yet");
        let unwell = Unwell { why: "status 500".into(), answers: true };
        app.change(|state| state.unwell = Some(unwell));
        assert!(is_told().await);
    }
}
