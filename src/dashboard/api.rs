//! The nodes and the counts as JSON: the same truth as the page, for `picluster nodes` and other
//! programs.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Serialize;

use crate::metrics;
use crate::pool::{self, Member, Pool};
use crate::route;

const SCHEMA: &str = "picluster/1";

#[derive(Debug, Serialize)]
pub(super) struct Nodes {
    schema: &'static str,
    cluster: String,
    nodes: Vec<Node>,
    routes: Vec<Route>,
    conflicts: Vec<Conflict>,
}

/// A route, and whose it is. No host is any.
#[derive(Debug, Serialize)]
struct Route {
    host: Option<String>,
    path: String,
    service: String,
}

/// A route that a service names in vain.
#[derive(Debug, Serialize)]
struct Conflict {
    host: Option<String>,
    path: String,
    service: String,
    kept_by: String,
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
    service: String,
    hosts: Vec<String>,
    path: String,
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
    let routes = pool.services().routes().map(route).collect();
    let conflicts = pool.services().conflicts().iter().map(conflict).collect();
    Nodes { schema: SCHEMA, cluster: cluster.to_owned(), nodes, routes, conflicts }
}

fn route((route, service): (&route::Route, &str)) -> Route {
    let route::Route { host, path } = route.clone();
    Route { host, path, service: service.to_owned() }
}

fn conflict(conflict: &pool::Conflict) -> Conflict {
    let pool::Conflict { route, kept_by, service } = conflict;
    let (host, path) = (route.host.clone(), route.path.clone());
    Conflict { host, path, service: service.to_string(), kept_by: kept_by.to_string() }
}

fn node(member: &Member, now: Duration) -> Node {
    let Member { node, health, why, since, advertised, counters, .. } = member;
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
        weight: member.weight(),
        service: node.offer.service.clone(),
        hosts: node.offer.hosts.clone(),
        path: node.offer.path.clone(),
    }
}
