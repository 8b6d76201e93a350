//! The balancer: finds nodes, serves HTTP through them, shows what it knows on the admin port, and
//! leaves without losing a request.

mod names;
mod status;

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use self::status::Status;
use crate::admin::accept::Accept;
use crate::admin::{self, Admin, Live, empty_cluster_page};
use crate::cluster::config::LbConfig;
use crate::cluster::counts::Counts;
use crate::cluster::node::{Advertisement, NodeId, SERVICE};
use crate::cluster::pool;
use crate::discovery::Line;
use crate::discovery::mdns::{Advert, Advertiser, Browser, Names, Trust};
use crate::discovery::membership::{self, Membership};
use crate::os::identity::{self, Hardware, Role};
use crate::os::listen;
use crate::os::shutdown::Shutdown;
use crate::os::systemd::{Manager, Pulses};
use crate::proxy::access::{AccessLog, Writer};
use crate::proxy::{EmptyClusterPage, Proxy, Settings};
use crate::server::buffer::Memory;
use crate::server::{ConnectionLimits, Phase, Workers};
use crate::telemetry::journal::Journal;
use crate::telemetry::writer::unbuffered;

/// Changes that wait for the discovery task. A full channel holds the source back, which keeps the
/// newest word of each instance.
const CHANGES_MAX: usize = 256;

/// The most connections to the admin port at once.
const ADMIN_CONNECTIONS_MAX: usize = 256;

/// See [`ConnectionLimits::spare`]: enough for each of those refused to have tens of milliseconds while a
/// thousand come in a second.
const SPARE_CONNECTIONS_MAX: usize = 64;

/// Fewer client connections than this are worth a warning.
const CONNECTIONS_FEW: usize = 1024;

/// Outcomes that wait for the discovery task; beyond that traffic's words are lost, and probes find
/// out.
const FEEDBACK_MAX: usize = 1024;

/// Orders to drain that wait for the discovery task; who gives more waits with his own.
const ORDERS_MAX: usize = 16;

/// Runs the balancer until `shutdown` asks for its end.
///
/// # Errors
/// When an address cannot be listened on (the cause is a [`listen::ListenError`]), or when a part
/// that should run as long as the program ends before it.
pub async fn run(config: LbConfig, shutdown: Shutdown) -> anyhow::Result<()> {
    Lb::bind(config)?.serve(shutdown).await
}

/// A balancer that listens and is about to serve.
pub struct Lb {
    config: LbConfig,
    /// One listener a worker, all on one address.
    clients: Vec<TcpListener>,
    admin: TcpListener,
    hardware: Hardware,
    id: NodeId,
}

impl Lb {
    /// Listens on both ports.
    ///
    /// # Errors
    /// A [`listen::ListenError`] inside.
    pub fn bind(config: LbConfig) -> anyhow::Result<Self> {
        let clients = listen::bind_shared(config.listen, "--listen", config.workers)?;
        let admin = listen::bind(config.admin, "--admin")?;
        let hardware = Hardware::find();
        let port = local_addr(&clients[0])?.port();
        let id = identity::node_id(&hardware, config.id.as_ref(), Role::Lb, port);
        Ok(Self { config, clients, admin, hardware, id })
    }

    /// Where clients connect, with the real port.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn addr(&self) -> anyhow::Result<SocketAddr> {
        local_addr(&self.clients[0])
    }

    /// Where the page and the API are, with the real port.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn admin_addr(&self) -> anyhow::Result<SocketAddr> {
        local_addr(&self.admin)
    }

    /// Serves until `shutdown` asks for the end, then leaves: `/readyz` turns to 503, the goodbye is
    /// said, the accept queues are emptied and closed, what runs is finished.
    ///
    /// # Errors
    /// A part that should run as long as the program ended before it.
    pub async fn serve(self, mut shutdown: Shutdown) -> anyhow::Result<()> {
        let started = Instant::now();
        let (addr, admin_addr) = (self.addr()?, self.admin_addr()?);
        let Self { config, clients, admin, hardware, id } = self;
        let (publisher, pool) = pool::channel();
        let publisher = publisher.balancing(config.balance.clone(), config.inflight_max);
        let (feedback, from_traffic) = mpsc::channel(FEEDBACK_MAX);
        let (changes, from_sources) = mpsc::channel(CHANGES_MAX);
        let (orders, from_people) = mpsc::channel(ORDERS_MAX);

        let hostname = identity::hostname();
        let via = identity::default_name(&hostname, &id);
        let Files { bounds, admin: admin_connections, kept } = share_files(&config);
        let (counts, journal) = (Arc::new(Counts::default()), Journal::default());
        let (access_log, mut writer) = start_access_log(&config, &counts)?;
        let settings = Arc::new(Settings {
            limits: config.limits.clone(),
            hold: config.hold,
            node_header: config.node_header,
            sticky: config.sticky,
            trusted_proxies: config.trusted_proxies.clone(),
            via: via.clone(),
            empty_cluster_page: EmptyClusterPage {
                html: empty_cluster_page::html(&config.discovery.cluster),
                text: empty_cluster_page::text(&config.discovery.cluster),
            },
            started,
            // One stays here: nodes are looked after as long as the program runs, also when the last
            // worker has ended and is waited for.
            feedback: feedback.clone(),
            kept_max: kept,
            memory: Arc::new(Memory::new(config.limits.grown_bytes)),
            held: 0.into(),
            counts: Arc::clone(&counts),
            access_log,
        });
        let (manager, pulses) = (Manager::find(), Pulses::default());
        let (phase, watched) = watch::channel(Phase::Serving);
        let mut workers = Workers::start(clients, bounds, &watched, &pulses, {
            let pool = pool.clone();
            move || Proxy::start(Arc::clone(&settings), pool.clone())
        })
        .context("failed to start the workers")?;

        let own = move |node: &NodeId, port| hardware.node_id(Role::Web, port) == *node;
        let trust = trust(&config, addr, admin_addr);
        let _browser =
            Browser::start(&config.discovery, SERVICE, trust, own, changes, Arc::clone(&counts));
        // The tools and the name share one advertiser; where the ports are bound apart, the wider
        // one decides.
        let bound = if admin_addr.ip().is_unspecified() { admin_addr.ip() } else { addr.ip() };
        let names = claims_names(&config, addr).then(|| {
            let wanted = names::follow(pool.clone(), &hostname);
            Names { id: id.clone(), port: addr.port(), wanted }
        });
        let advert = advert(&config, &id, hostname, admin_addr);
        let advertiser = Advertiser::with_names(&config.discovery, bound, vec![advert], names);
        let line = Line {
            table: Membership::new(membership::Settings {
                cluster: config.discovery.cluster.clone(),
                thresholds: config.thresholds,
            }),
            changes: from_sources,
            feedback: from_traffic,
            orders: from_people,
            publisher,
            started,
            counts: Arc::clone(&counts),
            journal: journal.clone(),
            pulse: pulses.part("discovery"),
        };
        let mut status = Status::new(pool.clone());
        let admin = serve_admin(
            admin,
            admin_connections,
            Admin {
                pool,
                cluster: config.discovery.cluster.clone(),
                started: started.into(),
                shutdown: shutdown.clone(),
                orders,
                counts,
                journal,
                live: Live::new(admin_connections),
            },
        );
        info!(%id, name = %via, listen = %addr, admin = %admin_addr, cluster = %config.discovery.cluster, balance = %config.balance, "balancing");
        manager.ready();

        let leave = async {
            tokio::select! {
                () = shutdown.requested() => {}
                () = workers.ended() => bail!("a worker ended before its time"),
                never = watch(&mut writer) => match never {},
            }
            info!("draining");
            manager.stopping();
            advertiser.goodbye().await;
            let _ = phase.send(Phase::Draining(Instant::now() + config.drain));
            workers.join().await;
            if let Some(writer) = writer {
                writer.finish().await;
            }
            info!("stopped");
            Ok(())
        };
        tokio::select! {
            left = leave => left,
            () = line.run() => bail!("the discovery of nodes ended before its time"),
            never = manager.attend(&pulses, || status.line()) => match never {},
            ended = admin => ended.and_then(|()| bail!("the admin port ended before its time")),
        }
    }
}

/// The access log on standard output, if it is wanted.
fn start_access_log(
    config: &LbConfig,
    counts: &Arc<Counts>,
) -> anyhow::Result<(Option<Arc<AccessLog>>, Option<Writer>)> {
    let Some(form) = config.access_log else { return Ok((None, None)) };
    let started = unbuffered(io::stdout())
        .and_then(|stdout| AccessLog::start(form, Arc::clone(counts), stdout));
    let (log, writer) = started.context("failed to start the access log")?;
    Ok((Some(Arc::new(log)), Some(writer)))
}

async fn watch(writer: &mut Option<Writer>) -> Infallible {
    match writer {
        Some(writer) => writer.watch().await,
        None => pending().await,
    }
}

fn local_addr(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    listener.local_addr().context("failed to read a listener's address")
}

fn trust(config: &LbConfig, addr: SocketAddr, admin_addr: SocketAddr) -> Trust {
    Trust {
        allow_off_link: config.allow_off_link,
        loopback: config.discovery.loopback,
        ipv6: config.discovery.ipv6,
        listeners: vec![addr, admin_addr],
    }
}

/// What the balancer says of itself: where its page is.
fn advert(config: &LbConfig, id: &NodeId, hostname: String, admin_addr: SocketAddr) -> Advert {
    let txt = Advertisement {
        id: Some(id.clone()),
        hostname: Some(hostname),
        boot: Some(identity::boot()),
        cluster: config.discovery.cluster.clone(),
        health: None,
        ctl: None,
        offer: Arc::default(),
    };
    Advert::Balancer { id: id.clone(), port: admin_addr.port(), txt }
}

/// A name that leads to this machine alone is no use to the others, and would be in their way.
fn claims_names(config: &LbConfig, addr: SocketAddr) -> bool {
    config.claim_name && !addr.ip().is_loopback()
}

/// Who may have how many of the files that this process may have open.
struct Files {
    /// The clients' connections.
    bounds: ConnectionLimits,
    /// The connections to the admin port.
    admin: usize,
    /// The connections to nodes that each worker keeps while no request needs them.
    kept: usize,
}

/// A client's request opens one more file, to a node. So accepting stops before there are no more
/// files, and nothing fails for want of them.
fn share_files(config: &LbConfig) -> Files {
    let asked = config.limits.connections;
    let room = listen::room(config.workers).unwrap_or(usize::MAX);
    let admin = (room / 8).clamp(1, ADMIN_CONNECTIONS_MAX);
    let spare = (room / 8 / (2 * config.workers + 1)).clamp(1, SPARE_CONNECTIONS_MAX);
    let left = room.saturating_sub(admin + spare * (2 * config.workers + 1));
    let kept = (left / 8 / config.workers).max(1);
    let connections = (left.saturating_sub(kept * config.workers) / 2).clamp(1, asked);
    let advice = if connections < asked {
        "few files may be open at once, so only so many clients are served at once; raise the limit \
         with `ulimit -n 32768` or LimitNOFILE= of the systemd unit"
    } else {
        "--max-connections allows more"
    };
    if connections < asked.min(CONNECTIONS_FEW) {
        warn!(asked, connections, "{advice}");
    }
    let four_fifths = (connections / 5 * 4 + connections % 5 * 4 / 5).max(1);
    let per_client = config.limits.connections_per_client.unwrap_or(four_fifths).min(connections);
    let bounds = ConnectionLimits { connections, per_client, wait: config.hold, spare, advice };
    Files { bounds, admin, kept }
}

async fn serve_admin(
    listener: TcpListener,
    connections_max: usize,
    admin: Admin,
) -> anyhow::Result<()> {
    let accept =
        Accept::new(listener, connections_max).context("failed to start the admin port")?;
    tokio::select! {
        () = admin::sample(admin.clone()) => {}
        () = admin::serve::serve(accept, admin::router(admin), pending()) => {}
    }
    Ok(())
}
