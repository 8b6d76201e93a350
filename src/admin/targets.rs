//! `/prometheus/targets`: the nodes to scrape, in the form of Prometheus's `http_sd`.

use serde::Serialize;

use crate::cluster::health::Health;
use crate::cluster::pool::{Member, Pool};
use crate::cluster::protocol::METRICS_PATH;

/// One node. It keeps these labels as long as it is known; with others its series would begin anew.
#[derive(Debug, Serialize)]
pub(super) struct Target {
    targets: [String; 1],
    labels: Labels,
}

#[derive(Debug, Serialize)]
struct Labels {
    #[serde(rename = "__metrics_path__")]
    path: &'static str,
    cluster: String,
    id: String,
    node: String,
}

/// The nodes that are or were there. A foreign device has no metrics of ours. An address that has not
/// proved to be a node's is left out, because anybody may advertise one for Prometheus to ask.
pub(super) fn targets(cluster: &str, pool: &Pool) -> Vec<Target> {
    let is_node =
        |member: &&Member| member.node.boot.is_some() && member.health != Health::Starting;
    let target = |member: &Member| Target {
        targets: [member.node.endpoint.to_string()],
        labels: Labels {
            path: METRICS_PATH,
            cluster: cluster.to_owned(),
            id: member.node.id.to_string(),
            node: member.node.name.clone(),
        },
    };
    pool.members().iter().map(AsRef::as_ref).filter(is_node).map(target).collect()
}
