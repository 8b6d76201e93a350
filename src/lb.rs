//! The balancer: finds nodes, serves HTTP through them, shows their state on the admin port, and leaves
//! without losing a request.
//!
//! Each part is made in a file of its own; this file assembles them and runs them to the end.

mod admin_port;
mod data_line;
mod discovery_line;
mod file_budget;
mod names;
mod presence;
mod shared;
mod status;

use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use anyhow::{Context, bail};
use tracing::info;

use self::data_line::DataLine;
use self::discovery_line::Senders;
use self::file_budget::FileBudget;
use self::shared::Shared;
use self::status::Status;
use crate::cluster::config::LbConfig;
use crate::cluster::node::NodeId;
use crate::cluster::pool;
use crate::discovery::Line;
use crate::discovery::mdns::{Advert, Advertiser, Browser, Trust, WantedNames};
use crate::discovery::membership::{self, Membership};
use crate::os::identity::{self, Hardware, Role};
use crate::os::listen;
use crate::os::shutdown::Shutdown;
use crate::os::systemd::Manager;

/// Runs the balancer until `shutdown` asks for its end.
///
/// # Errors
/// An address cannot be listened on (the cause is a [`listen::ListenError`]), or a part ends that should
/// run as long as the program.
pub async fn run(config: LbConfig, shutdown: Shutdown) -> anyhow::Result<()> {
    Lb::bind(config)?.serve(shutdown).await
}

/// A balancer that listens and is about to serve.
pub struct Lb {
    config: LbConfig,
    /// A listener for each worker, all on one address.
    clients: Vec<TcpListener>,
    admin: TcpListener,
    hardware: Hardware,
    id: NodeId,
}

impl Lb {
    /// Listens on both ports.
    ///
    /// # Errors
    /// The cause is a [`listen::ListenError`] if a port cannot be had.
    pub fn bind(config: LbConfig) -> anyhow::Result<Self> {
        let clients = listen::bind_shared(config.listen, "--listen", config.workers)?;
        let admin = listen::bind(config.admin, "--admin")?;
        let hardware = Hardware::find();
        let port = local_addr(&clients[0])?.port();
        let id = identity::node_id(&hardware, config.id.as_ref(), Role::Lb, port);
        Ok(Self { config, clients, admin, hardware, id })
    }

    /// The address where clients connect, with the real port.
    ///
    /// # Errors
    /// The system does not report it.
    pub fn addr(&self) -> anyhow::Result<SocketAddr> {
        local_addr(&self.clients[0])
    }

    /// The address of the page and the API, with the real port.
    ///
    /// # Errors
    /// The system does not report it.
    pub fn admin_addr(&self) -> anyhow::Result<SocketAddr> {
        local_addr(&self.admin)
    }

    /// Serves until `shutdown` asks for the end, then leaves: `/readyz` turns to 503, the goodbye is
    /// sent, the accept queues are emptied and closed, and the requests that run are finished.
    ///
    /// # Errors
    /// A part ended that should run as long as the program.
    pub async fn serve(self, mut shutdown: Shutdown) -> anyhow::Result<()> {
        let (addr, admin_addr) = (self.addr()?, self.admin_addr()?);
        let Self { config, clients, admin, hardware, id } = self;
        let (publisher, pool) = pool::channel();
        let publisher = publisher.balancing(config.balance.clone(), config.inflight_max);
        let (Senders { changes, feedback, orders }, receivers) = discovery_line::channels();
        let budget = FileBudget::share(&config);
        let shared = Shared::new(config, id, addr, admin_addr, pool);
        let manager = Manager::find();

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
            teaching: EmptyClusterPage {
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
            let names = names::follow(pool.clone(), &hostname);
            WantedNames { id: id.clone(), port: addr.port(), names }
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
                () = data_line.worker_ended() => bail!("a worker ended before its time"),
            }
            info!("draining");
            manager.stopping();
            advertiser.goodbye().await;
            data_line.drain(Instant::now() + shared.config.drain).await;
            info!("stopped");
            Ok(())
        };
        tokio::select! {
            left = leave => left,
            () = discovery_line.run() => bail!("the discovery of nodes ended before its time"),
            never = manager.attend(&shared.pulses, || status.line()) => match never {},
            ended = admin_port => ended.and_then(|()| bail!("the admin port ended before its time")),
        }
    }
}

fn local_addr(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    listener.local_addr().context("failed to read a listener's address")
}

fn log_start(shared: &Shared) {
    let Shared { config, id, name, addr, admin_addr, .. } = shared;
    let (cluster, balance) = (&config.discovery.cluster, &config.balance);
    info!(%id, %name, listen = %addr, admin = %admin_addr, %cluster, %balance, "balancing");
}
