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

        // A sender of feedback stays here: nodes are looked after as long as the program runs, also when
        // the last worker has ended and is waited for.
        let to_discovery = feedback.clone();
        let mut data_line =
            DataLine::start(&shared, clients, budget.clients, budget.idle_max, to_discovery)?;
        let _browser = discovery_line::browse(&shared, hardware, changes);
        let advertiser = presence::advertise(&shared);
        let discovery_line = discovery_line::assemble(&shared, receivers, publisher);
        let page = admin_port::assemble(&shared, shutdown.clone(), orders, budget.admin_max);
        let admin_port = admin_port::serve(page, admin, budget.admin_max);
        let mut status = Status::new(shared.pool.clone());
        log_start(&shared);
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
