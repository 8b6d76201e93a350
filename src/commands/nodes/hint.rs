//! The next step for a cluster without nodes.

use crate::admin::empty_cluster_page;

pub(super) fn no_node_yet(cluster: &str) -> String {
    format!(
        "The cluster {cluster} has no node yet. On any Pi of this network run:  {}",
        empty_cluster_page::command(cluster)
    )
}
