//! The data line of a balancer: its workers and the access log, from their start to the end of the last
//! request.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use tokio::sync::{mpsc, watch};

use super::shared::Shared;
use crate::admin::empty_cluster_page;
use crate::cluster::hop::Hop;
use crate::cluster::pool::Feedback;
use crate::proxy::access::{AccessLog, Writer};
use crate::proxy::{EmptyClusterPage, Proxy, Settings};
use crate::server::buffer::Memory;
use crate::server::{ConnectionLimits, Phase, Workers};
use crate::telemetry::writer::unbuffered;

/// The workers that serve clients.
pub(super) struct DataLine {
    workers: Workers,
    phase: watch::Sender<Phase>,
    /// The writer of the access log, if there is one.
    access_log: Option<Writer>,
}

impl DataLine {
    /// Starts a worker for each listener. `idle_max` is the number of connections to nodes that each of
    /// them keeps while no request needs them.
    ///
    /// # Errors
    /// A thread or a runtime cannot be made.
    pub(super) fn start(
        shared: &Shared,
        listeners: Vec<TcpListener>,
        limits: ConnectionLimits,
        idle_max: usize,
        feedback: mpsc::Sender<Feedback>,
    ) -> anyhow::Result<Self> {
        let (log, writer) = start_access_log(shared)?;
        let settings = Arc::new(settings(shared, idle_max, feedback, log));
        let (phase, watched) = watch::channel(Phase::Serving);
        let pool = shared.pool.clone();
        let workers = Workers::start(listeners, limits, &watched, &shared.pulses, move || {
            Proxy::start(Arc::clone(&settings), pool.clone())
        })
        .context("failed to start the workers")?;
        Ok(Self { workers, phase, access_log: writer })
    }

    /// Completes when the first worker has ended. Before [`DataLine::drain`] that is a fault.
    ///
    /// ## Cancel safety
    /// The next call reports an end that this one did not.
    pub(super) async fn worker_ended(&mut self) {
        tokio::select! {
            () = self.workers.ended() => {}
            never = watch_access_log(&mut self.access_log) => match never {},
        }
    }

    /// Lets the workers take the connections that have begun, and finish the requests that run, until
    /// `deadline` at most.
    /// Returns when they have ended and the access log is written.
    pub(super) async fn drain(self, deadline: Instant) {
        let _ = self.phase.send(Phase::Draining(deadline));
        self.workers.join().await;
        if let Some(writer) = self.access_log {
            writer.finish().await;
        }
    }
}

fn settings(
    shared: &Shared,
    idle_max: usize,
    feedback: mpsc::Sender<Feedback>,
    access_log: Option<Arc<AccessLog>>,
) -> Settings {
    let config = &shared.config;
    Settings {
        limits: config.limits.clone(),
        hold: config.hold,
        node_header: config.node_header,
        sticky: config.sticky,
        trusted_proxies: config.trusted_proxies.clone(),
        via: shared.name.clone(),
        sends_via: config.via,
        hop: Hop::new(&shared.name),
        pins: Arc::default(),
        empty_cluster_page: EmptyClusterPage {
            html: empty_cluster_page::html(&config.discovery.cluster),
            text: empty_cluster_page::text(&config.discovery.cluster),
        },
        started: shared.started,
        feedback,
        kept_max: idle_max,
        memory: Arc::new(Memory::new(config.limits.grown_bytes)),
        held: 0.into(),
        counts: Arc::clone(&shared.counts),
        access_log,
    }
}

/// The access log on standard output, if it is wanted.
fn start_access_log(shared: &Shared) -> anyhow::Result<(Option<Arc<AccessLog>>, Option<Writer>)> {
    let Some(form) = shared.config.access_log else { return Ok((None, None)) };
    let started = unbuffered(io::stdout())
        .and_then(|stdout| AccessLog::start(form, Arc::clone(&shared.counts), stdout));
    let (log, writer) = started.context("failed to start the access log")?;
    Ok((Some(Arc::new(log)), Some(writer)))
}

async fn watch_access_log(writer: &mut Option<Writer>) -> Infallible {
    match writer {
        Some(writer) => writer.watch().await,
        None => pending().await,
    }
}
