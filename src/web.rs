//! The web node: serves this machine's name to whoever asks, says how it is, and leaves without
//! losing a request. It knows no balancer; its advertisement is the only word it sends out.

mod accepts;
mod drain;
mod facts;
mod metrics;
mod page;
mod routes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::board::Board;
use crate::config::WebConfig;
use crate::discovery::mdns::{Advert, Advertiser};
use crate::identity::{self, Hardware, Role};
use crate::listen::{self, Accept};
use crate::node::{Advertisement, Boot, NodeId};
use crate::shutdown::Shutdown;
use crate::systemd::{Manager, Pulses};

/// How long new connections are still taken after the health said draining. A balancer asks every
/// 1.1 s at most and waits 250 ms for the answer, so it has heard it by then.
const LINGER: Duration = Duration::from_millis(1600);

/// The most connections at once: a balancer may keep one for each request it has under way, and
/// several balancers do.
const CONNECTIONS_MAX: usize = 1024;

/// Fewer than this are worth a warning.
const CONNECTIONS_FEW: usize = 256;

/// Runs the web node until `shutdown` asks for its end.
///
/// # Errors
/// When the address cannot be listened on; the cause is a [`listen::ListenError`].
pub async fn run(config: WebConfig, shutdown: Shutdown) -> anyhow::Result<()> {
    let web = Web::bind(&config)?;
    let advertiser =
        Advertiser::start(&config.discovery, web.addr().ip(), vec![web.advert(&config)]);
    web.serve(shutdown, advertiser.goodbye()).await
}

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
    drain: Duration,
}

/// What the handlers share.
#[derive(Debug)]
struct Node {
    identity: Identity,
    /// A balancer of another cluster lets go of it, also when mDNS's word was lost.
    cluster: String,
    board: Board,
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

impl Web {
    /// Listens, and knows from then on who it is. Nothing is served yet, but clients that connect
    /// wait for it: the advertisement may go out.
    ///
    /// # Errors
    /// A [`listen::ListenError`] inside.
    pub fn bind(config: &WebConfig) -> anyhow::Result<Self> {
        let listener = listen::bind(config.listen, "--listen")?;
        let addr = listener.local_addr().context("failed to read the listener's address")?;
        let node = Node {
            identity: Identity::new(config, addr.port()),
            cluster: config.discovery.cluster.clone(),
            board: Board::new("/"),
            draining: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            served: AtomicU64::new(0),
            answered: metrics::Served::default(),
            started: Instant::now(),
        };
        let accept =
            Accept::new(listener, connections_max()).context("failed to start the listener")?;
        Ok(Self { node: Arc::new(node), accept, addr, drain: config.drain })
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
            ctl: None,
        };
        Advert::Node { id, port: self.addr.port(), txt }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.node.identity
    }

    /// Serves until `shutdown` asks for the end, then leaves so that nobody notices: says so
    /// (health 503, `Connection: close`), awaits `goodbye`, takes what still comes, stops listening
    /// and finishes what runs.
    ///
    /// # Errors
    /// None today; the server retries what fails.
    pub async fn serve(
        self,
        mut shutdown: Shutdown,
        goodbye: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Self { node, accept, addr, drain } = self;
        let Identity { id, name, .. } = &node.identity;
        tracing::info!(%id, %name, listen = %addr, "serving");
        let manager = Manager::find();
        manager.ready();

        let (stop_listening, stopped) = oneshot::channel::<()>();
        let app = routes::router(Arc::clone(&node));
        let server = listen::serve(accept, app, async {
            let _ = stopped.await;
        });
        let stop = async {
            shutdown.requested().await;
            node.drain();
            manager.stopping();
            // A goodbye that hangs must not hold up the end: who missed it asks our health.
            let _ = tokio::join!(timeout(LINGER, goodbye), sleep(LINGER));
            let _ = stop_listening.send(());
            sleep(drain).await;
        };
        // All of it runs on this thread: whoever hangs keeps the watchdog unfed too.
        let parts = Pulses::default();
        let attended = manager.attend(&parts, || node.status(addr.port()));
        tokio::select! {
            () = server => {}
            never = attended => match never {},
            () = stop => tracing::warn!(?drain, "gave up on requests that still run"),
        }
        tracing::info!(%id, %name, "stopped");
        Ok(())
    }
}

/// As many connections as this process may have open files for, [`CONNECTIONS_MAX`] at most.
fn connections_max() -> usize {
    let room = listen::room(1).unwrap_or(CONNECTIONS_MAX);
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
        self.draining.store(true, std::sync::atomic::Ordering::Relaxed);
        tracing::info!("draining");
    }

    /// The word of its health.
    fn state(&self) -> &'static str {
        if self.is_draining() { "draining" } else { "up" }
    }

    /// How it is, in one line, for `systemctl status`.
    fn status(&self, port: u16) -> String {
        let name = &self.identity.name;
        let requests = self.served.load(std::sync::atomic::Ordering::Relaxed);
        let draining = if self.is_draining() { "; draining" } else { "" };
        format!("serving as {name} on :{port}; {requests} requests{draining}")
    }

    fn is_draining(&self) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        self.draining.load(Relaxed) || self.drained.load(Relaxed)
    }
}
