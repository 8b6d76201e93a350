//! The web node: serves its name, the files of a folder or an application, reports its health, and leaves
//! without losing a request. It knows no balancer; its advertisement is all that it sends out.

mod app;
mod drain;
mod files;
mod identity;
mod metrics;
mod name;
mod node;
mod requests;
mod routes;
mod serving;
mod unusable;

use std::future::pending;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::app::Command;
pub use self::app::guard;
pub use self::identity::Identity;
use self::node::WebNode;
use self::serving::Serving;
pub use self::unusable::Unusable;
use crate::admin;
use crate::admin::accept::Accept;
use crate::cluster::config::{Serves, WebConfig};
use crate::cluster::node::Advertisement;
use crate::discovery::mdns::{Advert, Advertiser};
use crate::os::listen;
use crate::os::shutdown::Shutdown;
use crate::os::systemd::{Manager, Pulses};

/// The time for which new connections are still taken after the health reported draining. A balancer asks
/// every 1.1 s at most and waits 250 ms for the answer, so it has heard it by then.
const LINGER: Duration = Duration::from_millis(1600);

/// The most connections at once. Several balancers may each keep a connection for each request that is
/// under way. A client that takes nothing of a file costs 24 KB, so that all of them are 100 MB.
const CONNECTIONS_MAX: usize = 4096;

/// Fewer connections than this are worth a warning.
const CONNECTIONS_FEW: usize = 256;

/// The longest that systemd waits for the command before the node counts as started: machines must boot
/// also when the command never answers.
const START_MAX: Duration = Duration::from_secs(300);

/// Runs the web node until `shutdown` asks for its end.
///
/// # Errors
/// The cause is a [`listen::ListenError`] if a port cannot be had, and an [`Unusable`] if a folder, a command
/// or an application cannot be served.
pub async fn run(config: WebConfig, shutdown: Shutdown) -> anyhow::Result<()> {
    let web = Web::bind(&config)?;
    let (advert, ip) = (web.advert(&config), web.advertised_ip());
    // A command is advertised once it has answered: no one needs to know of one that never did.
    let awaited = web.command.as_ref().map(|command| Arc::clone(command.app()));
    let advertising = tokio::spawn(async move {
        if let Some(app) = awaited {
            app.there().await;
        }
        Advertiser::start(&config.discovery, ip, vec![advert])
    });
    let goodbye = async {
        // A node that is not advertised yet has no goodbye to send.
        advertising.abort();
        if let Ok(advertiser) = advertising.await {
            advertiser.goodbye().await;
        }
    };
    web.serve(shutdown, goodbye).await
}

/// A web node that listens and is about to serve.
#[derive(Debug)]
pub struct Web {
    node: Arc<WebNode>,
    accept: Accept,
    addr: SocketAddr,
    /// The port for requests: the node's, or that of an application beside it.
    port: u16,
    command: Option<Command>,
    drain: Duration,
}

impl Web {
    /// Listens, and knows its identity from then on. Nothing is served yet, but clients that connect
    /// wait for it: the advertisement may go out.
    ///
    /// # Errors
    /// The cause is a [`listen::ListenError`] if a port cannot be had, and an [`Unusable`] if a folder, a
    /// command or an application cannot be served.
    pub fn bind(config: &WebConfig) -> anyhow::Result<Self> {
        let serving = Serving::new(config)?;
        let listener = listener(config, &serving)?;
        let addr = listener.local_addr().context("failed to read the listener's address")?;
        let port = match &serving {
            Serving::Direct(app) => app.port,
            Serving::Name | Serving::Files(_) | Serving::Front(_) => addr.port(),
        };
        let identity = Identity::new(config, port);
        let command = command(config, &serving, &identity)?;
        let accept =
            Accept::new(listener, connections_max()).context("failed to start the listener")?;
        let accept = match serving {
            // When an application sends something, and what, is its own affair.
            Serving::Front(_) => accept.patient(),
            Serving::Name | Serving::Files(_) | Serving::Direct(_) => accept,
        };
        let node = Arc::new(WebNode::new(identity, config.discovery.cluster.clone(), serving));
        Ok(Self { node, accept, addr, port, command, drain: config.drain })
    }

    /// The address it listens on, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its identity, with the id of its port.
    pub fn identity(&self) -> &Identity {
        &self.node.identity
    }

    /// The advertisement of this node.
    fn advert(&self, config: &WebConfig) -> Advert {
        let Identity { id, hostname, boot, .. } = self.node.identity.clone();
        let txt = Advertisement {
            id: Some(id.clone()),
            hostname: Some(hostname),
            boot: Some(boot),
            cluster: config.discovery.cluster.clone(),
            health: None,
            offer: Arc::new(config.offer.clone()),
            ctl: (self.port != self.addr.port()).then(|| self.addr.port()),
        };
        Advert::Node { id, port: self.port, txt }
    }

    /// The address to advertise: where both the node and its application are reached, if that is one.
    fn advertised_ip(&self) -> IpAddr {
        let own = self.addr.ip();
        match &self.node.serving {
            Serving::Direct(app) if own.is_unspecified() => app.ip.unwrap_or(own),
            _ => own,
        }
    }

    /// Serves until `shutdown` asks for the end, then leaves so that no client notices: reports draining
    /// (health 503, `Connection: close`), awaits `goodbye`, takes connections that still come, stops
    /// listening and finishes the requests that run. A command is ended when no client is connected to it
    /// any more.
    ///
    /// # Errors
    /// None today; the server tries again after a failure.
    pub async fn serve(
        self,
        mut shutdown: Shutdown,
        goodbye: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        self.log_start();
        let Self { node, accept, addr, command, drain, .. } = self;
        let manager = Manager::find();
        let awaits_command = command.is_some();
        let mut command = command.map(Command::start);
        let mut deadline = None;
        let watched = shutdown.clone();
        let (stop_listening, stopped) = oneshot::channel::<()>();
        let server = admin::serve::serve(accept, routes::router(Arc::clone(&node)), async {
            let _ = stopped.await;
        });
        let leave = async {
            shutdown.requested().await;
            node.drain();
            manager.stopping();
            // A goodbye that hangs must not hold up the end: a balancer that missed it asks our health.
            let _ = tokio::join!(timeout(LINGER, goodbye), sleep(LINGER));
            let until = *deadline.insert(Instant::now() + drain);
            // Requests that go through this node end first, below.
            if !matches!(node.serving, Serving::Front(_))
                && let Some(command) = command.take()
            {
                command.end(until).await;
            }
            let _ = stop_listening.send(());
            sleep_until(until).await;
        };
        // All of it runs on this thread: a part that hangs keeps the watchdog unfed too.
        let parts = Pulses::default();
        let attended = manager.attend(&parts, || node.status(addr.port()));
        tokio::select! {
            // The first message to the manager is that the node serves, if it does.
            biased;
            () = report_ready(&node, awaits_command, &manager) => {}
            () = server => {}
            never = attended => match never {},
            () = leave => tracing::warn!(?drain, "gave up on requests that still run"),
            () = watch_app(&node, watched) => {}
        }
        // Requests that went through this node have ended by now, except for tunnels.
        if let Some(command) = command {
            command.end(deadline.unwrap_or_else(Instant::now)).await;
        }
        let Identity { id, name, .. } = &node.identity;
        tracing::info!(%id, %name, "stopped");
        Ok(())
    }

    fn log_start(&self) {
        let Identity { id, name, .. } = self.identity();
        if self.port == self.addr.port() {
            tracing::info!(%id, %name, listen = %self.addr, "serving");
        } else {
            tracing::info!(%id, %name, app = self.port, control = %self.addr, "serving an application");
        }
    }
}

/// Opens the socket of the node itself. It has another port than the application.
fn listener(config: &WebConfig, serving: &Serving) -> anyhow::Result<TcpListener> {
    if let (Serves::App(configured), Some(app)) = (&config.serves, serving.app()) {
        if configured.any_control_port && !configured.front {
            return Ok(listen::bind_from(config.listen, Some(app.port), "--listen")?);
        }
        if app.port == config.listen.port() {
            return Err(same_port(config.listen).into());
        }
    }
    Ok(listen::bind(config.listen, "--listen")?)
}

fn same_port(listen: SocketAddr) -> Unusable {
    let (port, other) = (listen.port(), listen.port() ^ 1);
    let fix = format!("give picluster another with --listen :{other}");
    Unusable(format!("the application and picluster cannot both have port {port}; {fix}"))
}

/// The command that is the application, if it is one.
fn command(
    config: &WebConfig,
    serving: &Serving,
    identity: &Identity,
) -> anyhow::Result<Option<Command>> {
    match (&config.serves, serving.app()) {
        (Serves::App(configured), Some(app)) if !configured.command.is_empty() => {
            let cluster = &config.discovery.cluster;
            Command::new(&configured.command, Arc::clone(app), identity, cluster).map(Some)
        }
        _ => Ok(None),
    }
}

/// As many connections as this process may have open files for, [`CONNECTIONS_MAX`] at most.
fn connections_max() -> usize {
    // Each may have a file open besides, or a connection to the application.
    let room = listen::room(1).map_or(CONNECTIONS_MAX, |files| files / 2);
    if room < CONNECTIONS_FEW {
        tracing::warn!(
            connections = room.max(1),
            "few files may be open at once, so only so many connections are taken; raise the limit \
             with `ulimit -n 4096` or LimitNOFILE= of the systemd unit"
        );
    }
    room.clamp(1, CONNECTIONS_MAX)
}

/// Checks the application until the stop; from then on it does not matter. Never ends.
async fn watch_app(node: &WebNode, mut shutdown: Shutdown) {
    if let Some(app) = node.serving.app() {
        tokio::select! {
            () = app.watch(&node.identity.id) => {}
            () = shutdown.requested() => {}
        }
    }
    pending::<()>().await;
}

/// Reports to the service manager that the node serves. Never ends.
///
/// A node whose application is started elsewhere reports at once, because it cannot know when that will
/// be. A node with a command reports when the command has answered, when it has ended by itself for the
/// first time, or after [`START_MAX`].
async fn report_ready(node: &WebNode, awaits_command: bool, manager: &Manager) {
    if let Some(app) = node.serving.app().filter(|_| awaits_command) {
        let _ = timeout(START_MAX, app.settled()).await;
    }
    manager.ready();
    pending::<()>().await;
}
