//! `picluster status --json`: whether all is well.

use serde::Serialize;

use super::nodes::NodeView;
use super::schema::Schema;

/// The document as `picluster status` writes it.
#[derive(Debug, Serialize)]
pub struct StatusReport<'a> {
    /// Always the same.
    pub schema: Schema,
    /// The cluster's name.
    pub cluster: &'a str,
    /// The verdict, which is also the exit code.
    pub status: ClusterStatus,
    /// The admin address of the balancer that answered; `null` if none did.
    pub balancer: Option<String>,
    /// The number of balancers that were heard of.
    pub balancers: usize,
    /// The number of nodes that take requests.
    pub nodes_up: usize,
    /// Answers begun by the nodes that are here; `null` where that is unknown of one of them.
    pub requests: Option<u64>,
    /// Requests that clients saw fail since the balancer started; `null` if it does not report them.
    pub requests_failed: Option<u64>,
    /// The troubles that somebody should look at, a sentence each.
    pub warnings: Vec<String>,
    /// All nodes, within the bounds of what was read.
    pub nodes: &'a [NodeView],
}

/// The verdict on a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterStatus {
    /// It serves, and nothing has to be done.
    Well,
    /// It serves, and somebody should look at it.
    Warnings,
    /// No balancer answers, or no node is usable.
    Down,
}
