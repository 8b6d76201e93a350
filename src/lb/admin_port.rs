//! The admin port of a balancer: its page and its API, served on the program's own thread.

use std::future::pending;
use std::net::TcpListener;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::mpsc;

use super::shared::Shared;
use crate::admin::accept::Accept;
use crate::admin::{self, Admin, Live};
use crate::discovery::Order;
use crate::os::shutdown::Shutdown;

/// The values that the admin port shows. `connections_max` bounds the number of watchers.
pub(super) fn assemble(
    shared: &Shared,
    shutdown: Shutdown,
    orders: mpsc::Sender<Order>,
    connections_max: usize,
) -> Admin {
    Admin {
        pool: shared.pool.clone(),
        cluster: shared.config.discovery.cluster.clone(),
        started: shared.started.into(),
        shutdown,
        orders,
        counts: Arc::clone(&shared.counts),
        journal: shared.journal.clone(),
        live: Live::new(connections_max),
    }
}

/// Serves until the future is dropped.
///
/// # Errors
/// The listener cannot be used.
pub(super) async fn serve(
    admin: Admin,
    listener: TcpListener,
    connections_max: usize,
) -> anyhow::Result<()> {
    let accept =
        Accept::new(listener, connections_max).context("failed to start the admin port")?;
    tokio::select! {
        () = admin::sample(admin.clone()) => {}
        () = admin::serve::serve(accept, admin::router(admin), pending()) => {}
    }
    Ok(())
}
