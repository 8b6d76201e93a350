//! The settings of the data line, and the counts that its workers keep together.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::cluster::config::{Limits, TrustedProxies};
use crate::cluster::counts::Counts;
use crate::cluster::hop::Hop;
use crate::cluster::pool::Feedback;
use crate::proxy::access::AccessLog;
use crate::proxy::pins::Pins;
use crate::server::buffer::Memory;

/// The settings of the data line. All workers share one value.
#[derive(Debug)]
pub struct Settings {
    /// Times and counts.
    pub limits: Limits,
    /// Connections to nodes that each worker may keep.
    pub kept_max: usize,
    /// The longest wait of a request for a node to come back.
    pub hold: Duration,
    /// Answers name their node.
    pub node_header: bool,
    /// Clients stay with the node that answered them first.
    pub sticky: bool,
    /// The proxies that are believed when they name their client.
    pub trusted_proxies: TrustedProxies,
    /// Our pseudonym in `Via`; unique per balancer.
    pub via: String,
    /// Requests name us there.
    pub sends_via: bool,
    /// Our mark in requests.
    pub hop: Hop,
    /// The connections to nodes that serve one client alone.
    pub pins: Arc<Pins>,
    /// The answer of an empty cluster.
    pub empty_cluster_page: EmptyClusterPage,
    /// When the process started: the zero of all times in the pool.
    pub started: Instant,
    /// Takes the reports of traffic on nodes. Bounded; when it is full, probes have to find out.
    pub feedback: mpsc::Sender<Feedback>,
    /// The bytes by which buffers have grown, all workers together.
    pub memory: Arc<Memory>,
    /// Requests that wait for a node now, all workers together.
    pub held: AtomicUsize,
    /// Faults, counted by cause.
    pub counts: Arc<Counts>,
    /// Takes one line a request, if there is an access log.
    pub access_log: Option<Arc<AccessLog>>,
}

/// The answer of a cluster without a node, as a page and as text.
#[derive(Debug)]
pub struct EmptyClusterPage {
    /// For browsers.
    pub html: String,
    /// For every other client.
    pub text: String,
}
