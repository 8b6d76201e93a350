//! The words between the table and the prober: the probe to start, and its result.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cluster::node::{Boot, NodeId};
use crate::cluster::pi::Pi;

/// Ties a result to its probe. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeTicket(pub(super) u64);

/// One probe to start now.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Goes back to the table with the result.
    pub ticket: ProbeTicket,
    /// The endpoint to ask: the node's address, with the port that answers probes.
    pub endpoint: SocketAddr,
    /// The endpoint of requests, if it is another one and the node is not known to be up: it has to
    /// accept a connection too.
    pub also: Option<SocketAddr>,
    /// The path of the GET.
    pub path: String,
    /// A foreign device is asked: the status alone counts, and the result is a
    /// [`ProbeResult::Status`].
    pub foreign: bool,
    /// The longest time from the start of the probe, connecting included, to the whole answer.
    pub timeout: Duration,
    /// No kept connection may be used: the last probe failed, or the device is foreign.
    pub fresh_connection: bool,
}

impl Probe {
    /// A probe of a node's own application, of which the table does not know.
    pub(in crate::discovery) fn of_application(
        at: SocketAddr,
        path: &str,
        timeout: Duration,
    ) -> Self {
        let (ticket, path) = (ProbeTicket(0), path.to_owned());
        Self {
            ticket,
            endpoint: at,
            also: None,
            path,
            foreign: true,
            timeout,
            fresh_connection: true,
        }
    }
}

/// The state that a picluster node reports in its health answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It serves.
    Up,
    /// It is about to stop.
    Draining,
    /// It runs, the application behind it does not.
    AppDown {
        /// The reason, in its own words. Empty if it gives none.
        why: String,
        /// The application does answer requests, but with errors.
        answers: bool,
    },
}

/// The result of a probe.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeResult {
    /// A picluster health document, whatever its status was.
    Node {
        /// The node that answered.
        id: NodeId,
        /// The name it gives itself.
        name: String,
        /// Its present start.
        boot: Boot,
        /// Its state.
        state: NodeState,
        /// The state of its board, within bounds; `None` if it reports none.
        pi: Option<Pi>,
    },
    /// A picluster node that belongs to this other cluster now.
    OtherCluster(String),
    /// An HTTP answer of this status that is no picluster health document.
    Status(u16),
    /// The connection was refused.
    Refused,
    /// The node is well, but the endpoint of its requests accepts no connection.
    Deaf(SocketAddr),
    /// No route, or another error of the network, in the words of the system.
    Unreachable(String),
    /// No whole answer within the probe's timeout.
    TimedOut,
    /// The connection was closed or reset before the whole answer. For a kept connection that is
    /// usual: the prober asks again over a fresh one before it reports this.
    Closed,
    /// The answer was not HTTP, or too long; the reason in a few words.
    NotHttp(String),
}

impl ProbeResult {
    /// The value of the metric label by which results are counted.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Node { state: NodeState::Up, .. } => "up",
            Self::Node { state: NodeState::Draining, .. } => "draining",
            Self::Node { state: NodeState::AppDown { .. }, .. } => "app_down",
            Self::OtherCluster(_) => "other_cluster",
            Self::Status(..500) => "http",
            Self::Status(_) => "http_5xx",
            Self::Refused => "connect_refused",
            Self::Deaf(_) => "app_refused",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut => "answer_timeout",
            Self::Closed => "closed",
            Self::NotHttp(_) => "not_http",
        }
    }
}

/// The reason why a node's application is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwell {
    /// The reason, in a few words.
    pub why: String,
    /// The application does answer requests, but with errors.
    pub answers: bool,
}
