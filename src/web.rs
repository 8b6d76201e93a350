//! The web node: serves this machine's name to whoever asks, says how it is, and leaves without
//! losing a request. It knows no balancer; its advertisement is the only word it sends out.

mod accepts;
mod app;
mod command;
mod dir;
mod drain;
mod facts;
mod front;
mod metrics;
mod page;
mod routes;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use self::app::App;
use self::command::Command;
pub use self::command::guard::guard;
use self::dir::Dir;
use crate::admin;
use crate::admin::accept::Accept;
use crate::cluster::config::{AppConfig, Serves, WebConfig};
use crate::cluster::node::{Advertisement, Boot, NodeId};
use crate::cluster::protocol::ReportedState;
use crate::discovery::mdns::{Advert, Advertiser};
use crate::os::board::Board;
use crate::os::identity::{self, Hardware, Role};
use crate::os::listen;
use crate::os::shutdown::Shutdown;
use crate::os::systemd::{Manager, Pulses};

/// How long new connections are still taken after the health said draining. A balancer asks every
/// 1.1 s at most and waits 250 ms for the answer, so it has heard it by then.
const LINGER: Duration = Duration::from_millis(1600);

/// The most connections at once: a balancer may keep one for each request it has under way, and
/// several balancers do. A client that takes nothing of a file costs 24 KB, so that all of them are 100 MB.
const CONNECTIONS_MAX: usize = 4096;

/// Fewer than this are worth a warning.
const CONNECTIONS_FEW: usize = 256;

/// Whoever waits for the service to start waits no longer than this for its command: machines must boot
/// also when it never answers.
const START_MAX: Duration = Duration::from_secs(300);

/// Runs the web node until `shutdown` asks for its end.
///
/// # Errors
/// When the address cannot be listened on, the cause is a [`listen::ListenError`]; when what is to be
/// served cannot be, an [`Unusable`].
pub async fn run(config: WebConfig, shutdown: Shutdown) -> anyhow::Result<()> {
    let web = Web::bind(&config)?;
    let (advert, ip) = (web.advert(&config), web.advertised_ip(&config));
    // Nobody needs to know of a command that was never there.
    let awaited = web.command.is_some().then(|| web.node.app.clone()).flatten();
    let advertising = tokio::spawn(async move {
        if let Some(app) = awaited {
            app.there().await;
        }
        Advertiser::start(&config.discovery, ip, vec![advert])
    });
    let goodbye = async {
        // Whoever was not advertised by now need not be.
        advertising.abort();
        if let Ok(advertiser) = advertising.await {
            advertiser.goodbye().await;
        }
    };
    web.serve(shutdown, goodbye).await
}

/// Why what is to be served cannot be: one sentence for the user.
#[derive(Debug)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// Who this node is. Fixed while it runs.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The id, of this machine, role and port.
    pub id: NodeId,
    /// What people see: `--name`, else `<hostname>-<first 6 of id>`. Fits a header.
    pub name: String,
    /// The machine's hostname.
    pub hostname: String,
    /// What the page and `curl` show: `--name`, else the hostname.
    pub title: String,
    /// This start.
    pub boot: Boot,
}

impl Identity {
    fn new(config: &WebConfig, port: u16) -> Self {
        let hostname = identity::hostname();
        let id = identity::node_id(&Hardware::find(), config.id.as_ref(), Role::Web, port);
        Self {
            name: config.name.clone().unwrap_or_else(|| identity::default_name(&hostname, &id)),
            title: config.name.clone().unwrap_or_else(|| hostname.clone()),
            boot: identity::boot(),
            hostname,
            id,
        }
    }
}

/// A web node that listens and is about to serve.
#[derive(Debug)]
pub struct Web {
    node: Arc<Node>,
    accept: Accept,
    addr: SocketAddr,
    /// Where requests go: here, or to the application.
    port: u16,
    command: Option<Command>,
    drain: Duration,
}

/// What the handlers share.
#[derive(Debug)]
struct Node {
    identity: Identity,
    /// A balancer of another cluster lets go of it, also when mDNS's word was lost.
    cluster: String,
    board: Board,
    /// The application that is served, if one is.
    app: Option<Arc<App>>,
    /// What is served here in place of the name.
    content: Option<Content>,
    /// Set once by the stop, read by every answer.
    draining: AtomicBool,
    /// Somebody on this machine wants no new requests here; it may be taken back. See `drain`.
    drained: AtomicBool,
    /// Answers begun, health answers not counted. Written by the handlers, read by the page.
    served: AtomicU64,
    /// What is told of those.
    answered: metrics::Served,
    started: Instant,
}

/// What is served here, not elsewhere.
#[derive(Debug)]
enum Content {
    /// The files of a folder.
    Dir(Dir),
    /// The answers of an application that is reached from here only.
    Front(Arc<App>),
}

impl Web {
    /// Listens, and knows from then on who it is. Nothing is served yet, but clients that connect
    /// wait for it: the advertisement may go out.
    ///
    /// # Errors
    /// A [`listen::ListenError`] inside.
    pub fn bind(config: &WebConfig) -> anyhow::Result<Self> {
        let served = match &config.serves {
            Serves::App(served) => Some(served),
            Serves::Name | Serves::Dir(_) => None,
        };
        let mut content = match &config.serves {
            Serves::Dir(dir) => Some(Content::Dir(Dir::new(dir)?)),
            Serves::Name | Serves::App(_) => None,
        };
        let app_port = served.map(app_port).transpose()?;
        let listener = match served {
            Some(served) if served.any_control_port && !served.front => {
                listen::bind_from(config.listen, app_port, "--listen")?
            }
            Some(_) if app_port == Some(config.listen.port()) => {
                return Err(same_port(config.listen));
            }
            _ => listen::bind(config.listen, "--listen")?,
        };
        let addr = listener.local_addr().context("failed to read the listener's address")?;
        let is_direct = served.is_some_and(|served| !served.front);
        let port = app_port.filter(|_| is_direct).unwrap_or(addr.port());
        let identity = Identity::new(config, port);
        let cluster = config.discovery.cluster.clone();
        let mut command = None;
        let mut app = None;
        if let (Some(served), Some(port)) = (served, app_port) {
            if !served.command.is_empty() {
                command = Some(Command::new(&served.command, port, &identity, &cluster)?);
            }
            let stays_here = served.front || config.discovery.loopback;
            let behind = Arc::new(App::new(served, port, stays_here)?);
            content = served.front.then(|| Content::Front(Arc::clone(&behind)));
            app = Some(behind);
        }
        let node = Node {
            identity,
            cluster,
            board: Board::new("/"),
            app,
            content,
            draining: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            served: AtomicU64::new(0),
            answered: metrics::Served::default(),
            started: Instant::now(),
        };
        let accept =
            Accept::new(listener, connections_max()).context("failed to start the listener")?;
        // What an application says, and when, is its own affair.
        let accept =
            if matches!(node.content, Some(Content::Front(_))) { accept.patient() } else { accept };
        Ok(Self { node: Arc::new(node), accept, addr, port, command, drain: config.drain })
    }

    /// The address it listens on, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it says of itself on the network.
    fn advert(&self, config: &WebConfig) -> Advert {
        let Identity { id, hostname, boot, .. } = self.node.identity.clone();
        let cluster = config.discovery.cluster.clone();
        let (hostname, boot) = (Some(hostname), Some(boot));
        let txt = Advertisement {
            id: Some(id.clone()),
            hostname,
            boot,
            cluster,
            health: None,
            offer: Arc::new(config.offer.clone()),
            ctl: (self.port != self.addr.port()).then(|| self.addr.port()),
        };
        Advert::Node { id, port: self.port, txt }
    }

    /// The one address at which both the application and we are reached, if it has to be one.
    fn advertised_ip(&self, config: &WebConfig) -> IpAddr {
        let ours = self.addr.ip();
        match &config.serves {
            Serves::App(AppConfig { ip: Some(ip), front: false, .. }) if ours.is_unspecified() => {
                *ip
            }
            _ => ours,
        }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.node.identity
    }

    /// Serves until `shutdown` asks for the end, then leaves so that nobody notices: says so
    /// (health 503, `Connection: close`), awaits `goodbye`, takes what still comes, stops listening
    /// and finishes what runs. A command is ended when nobody is connected to it any more.
    ///
    /// # Errors
    /// None today; the server retries what fails.
    pub async fn serve(
        self,
        mut shutdown: Shutdown,
        goodbye: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Self { node, accept, addr, port, command, drain } = self;
        let Identity { id, name, .. } = &node.identity;
        if port == addr.port() {
            tracing::info!(%id, %name, listen = %addr, "serving");
        } else {
            tracing::info!(%id, %name, app = port, control = %addr, "serving an application");
        }
        let manager = Manager::find();

        let (order, ending) = watch::channel(None);
        let is_awaited = command.is_some();
        let command = command
            .zip(node.app.clone())
            .map(|(command, app)| tokio::spawn(command.run(app, ending)));
        let mut behind = Behind { app: node.app.clone(), command, order };
        let mut deadline = None;
        let watched = shutdown.clone();
        let is_front = matches!(node.content, Some(Content::Front(_)));
        let (stop_listening, stopped) = oneshot::channel::<()>();
        let router = routes::router(Arc::clone(&node));
        let server = admin::serve::serve(accept, router, async {
            let _ = stopped.await;
        });
        let stop = async {
            shutdown.requested().await;
            node.drain();
            manager.stopping();
            // A goodbye that hangs must not hold up the end: who missed it asks our health.
            let _ = tokio::join!(timeout(LINGER, goodbye), sleep(LINGER));
            let until = *deadline.insert(Instant::now() + drain);
            if !is_front {
                behind.end(until).await;
            }
            let _ = stop_listening.send(());
            sleep_until(until).await;
        };
        // All of it runs on this thread: whoever hangs keeps the watchdog unfed too.
        let parts = Pulses::default();
        let attended = manager.attend(&parts, || node.status(addr.port()));
        tokio::select! {
            // The first word to the manager is that the node serves, if it does.
            biased;
            () = tell_when_ready(&node, is_awaited, &manager) => {}
            () = server => {}
            never = attended => match never {},
            () = stop => tracing::warn!(?drain, "gave up on requests that still run"),
            () = watch_app(&node, watched) => {}
        }
        // What goes through here has ended by now, except for tunnels.
        behind.end(deadline.unwrap_or_else(Instant::now)).await;
        tracing::info!(%id, %name, "stopped");
        Ok(())
    }
}

/// The application while this node serves it.
struct Behind {
    app: Option<Arc<App>>,
    command: Option<JoinHandle<()>>,
    order: watch::Sender<Option<Instant>>,
}

impl Behind {
    /// Waits until nobody is connected to it any more, because most applications break off what they do
    /// when they are asked to end, and then ends the command.
    async fn end(&mut self, deadline: Instant) {
        let Some(app) = self.app.take() else { return };
        if self.command.is_none() {
            return;
        }
        let _ = timeout_at(deadline, app.quiet()).await;
        self.order.send_replace(Some(deadline));
        if let Some(command) = self.command.take() {
            let _ = command.await;
        }
    }
}

/// Looks at the application until the stop, from when on it does not matter. Never ends.
async fn watch_app(node: &Node, mut shutdown: Shutdown) {
    if let Some(app) = &node.app {
        tokio::select! {
            () = app.watch(&node.identity.id) => {}
            () = shutdown.requested() => {}
        }
    }
    std::future::pending::<()>().await;
}

/// Tells that the node serves: one whose application somebody else starts at once, because nobody knows
/// when that will be; one with a command once that has answered, has ended by itself for the first time,
/// or has kept whoever waits for the service long enough. Never ends.
async fn tell_when_ready(node: &Node, is_awaited: bool, manager: &Manager) {
    if let Some(app) = node.app.as_ref().filter(|_| is_awaited) {
        let _ = timeout(START_MAX, app.settled()).await;
    }
    manager.ready();
    std::future::pending::<()>().await;
}

fn same_port(listen: SocketAddr) -> anyhow::Error {
    let (port, other) = (listen.port(), listen.port() ^ 1);
    let fix = format!("give picluster another with --listen :{other}");
    Unusable(format!("the application and picluster cannot both have port {port}; {fix}")).into()
}

/// The port of the application.
fn app_port(served: &AppConfig) -> anyhow::Result<u16> {
    match (served.port, served.command.is_empty()) {
        (Some(port), true) => Ok(port),
        (given, _) => Ok(command::port(given)?),
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

impl Node {
    fn drain(&self) {
        self.draining.store(true, Relaxed);
        tracing::info!("draining");
    }

    /// The state that it reports, and the reason of an application that is down.
    fn state(&self) -> (ReportedState, Option<String>) {
        if self.is_draining() {
            return (ReportedState::Draining, None);
        }
        let why = self.app.as_ref().and_then(|app| app.down());
        (if why.is_some() { ReportedState::AppDown } else { ReportedState::Up }, why)
    }

    /// How it is, in one line, for `systemctl status`. `control`: where picluster itself listens.
    fn status(&self, control: u16) -> String {
        let name = &self.identity.name;
        let does = match (&self.app, self.state().1) {
            (_, Some(why)) => format!("not serving as {name}: {why}"),
            (Some(app), None) if self.content.is_none() => {
                format!("serving the application on :{} as {name}; asked on :{control}", app.port)
            }
            _ => {
                let requests = self.served.load(Relaxed);
                format!("serving as {name} on :{control}; {requests} requests")
            }
        };
        does + if self.is_draining() { "; draining" } else { "" }
    }

    /// Counts a request, as under way until the guard is dropped.
    fn begin(&self) -> metrics::UnderWay<'_> {
        self.served.fetch_add(1, Relaxed);
        self.answered.begin()
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Relaxed) || self.drained.load(Relaxed)
    }
}
