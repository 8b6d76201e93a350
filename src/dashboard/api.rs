//! The nodes and the counts as JSON: the same truth as the page, for `picluster nodes` and other
//! programs.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Serialize;

use crate::metrics;
use crate::pool::{Member, Pool};

const SCHEMA: &str = "picluster/1";

#[derive(Debug, Serialize)]
pub(super) struct Nodes {
    schema: &'static str,
    cluster: String,
    nodes: Vec<Node>,
}

#[derive(Debug, Serialize)]
struct Node {
    id: String,
    name: String,
    hostname: String,
    endpoint: String,
    state: &'static str,
    why: String,
    since_s: f64,
    advertised: bool,
    source: &'static str,
    inflight: u32,
    requests: u64,
    failures: u64,
    weight: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Counts<'a> {
    schema: &'static str,
    counts: &'a metrics::Counts,
}

pub(super) fn counts(counts: &metrics::Counts) -> Counts<'_> {
    Counts { schema: SCHEMA, counts }
}

pub(super) fn nodes(cluster: &str, pool: &Pool, now: Duration) -> Nodes {
    let nodes = pool.members().iter().map(|member| node(member, now)).collect();
    Nodes { schema: SCHEMA, cluster: cluster.to_owned(), nodes }
}

fn node(member: &Member, now: Duration) -> Node {
    let Member { node, health, why, since, advertised, share, counters, .. } = member;
    Node {
        id: node.id.to_string(),
        name: node.name.clone(),
        hostname: node.hostname.clone(),
        endpoint: node.endpoint.to_string(),
        state: health.as_str(),
        why: why.clone(),
        since_s: (now.saturating_sub(*since).as_secs_f64() * 10.0).round() / 10.0,
        advertised: *advertised,
        source: node.source.as_str(),
        inflight: counters.inflight.load(Relaxed),
        requests: counters.requests.load(Relaxed),
        failures: counters.failures.load(Relaxed),
        weight: share.weight(),
    }
}
