//! The words of the wire between a balancer, its nodes and whoever reads them: paths, header names and
//! the schema. A contract: a word here changes for every machine of a cluster at once, or not at all.

/// Where a node serves its metrics: beside its health, below the prefix that belongs to no application.
pub const METRICS_PATH: &str = "/.picluster/metrics";
