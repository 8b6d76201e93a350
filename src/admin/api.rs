//! The nodes and the counts as JSON: the same truth as the page, for `picluster nodes` and other
//! programs.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::board::{self, Word};
use super::minute::{Beats, Lately};
use super::{Admin, JOURNAL_SHOWN};
use crate::cluster::counts;
use crate::cluster::health::Health;
use crate::cluster::pi::Pi;
use crate::cluster::pool::{self, Member};
use crate::cluster::protocol::SCHEMA;
use crate::cluster::route;
use crate::telemetry::journal;

/// All nodes, and what is counted of all together.
#[derive(Debug, Serialize)]
pub(super) struct Nodes {
    schema: &'static str,
    pub(super) cluster: String,
    /// Since the balancer started.
    pub(super) uptime_s: u64,
    /// Answers begun since then, by all nodes that are or were here.
    pub(super) requests_served: u64,
    /// Requests that clients saw fail.
    pub(super) requests_failed: u64,
    pub(super) nodes: Vec<Node>,
    routes: Vec<Route>,
    pub(super) conflicts: Vec<Conflict>,
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
pub(super) struct Conflict {
    host: Option<String>,
    path: String,
    service: String,
    kept_by: String,
    /// The same as a sentence, for the page.
    pub(super) text: String,
}

/// The same with the newest lines of the journal, oldest first.
#[derive(Debug, Serialize)]
pub(super) struct State {
    #[serde(flatten)]
    pub(super) nodes: Nodes,
    pub(super) journal: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) hostname: String,
    pub(super) endpoint: String,
    pub(super) state: &'static str,
    pub(super) why: String,
    pub(super) since_s: f64,
    pub(super) advertised: bool,
    source: &'static str,
    pub(super) inflight: u32,
    pub(super) requests: u64,
    pub(super) failures: u64,
    weight: f64,
    service: String,
    hosts: Vec<String>,
    path: String,
    /// These in words, unless they are what they are without a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) serves: Option<String>,
    /// Why the weight is not 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weight_why: Option<String>,
    /// Answers a second.
    pub(super) rate: f64,
    /// Of all answers of the last 10 s, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p99_ms: Option<f64>,
    pub(super) beats: Beats,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pi: Option<Pi>,
    /// What to say of it.
    pub(super) board: Vec<Word>,
    /// What the page draws.
    #[serde(skip)]
    pub(super) health: Health,
}

/// A line of the journal.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) number: u64,
    /// Seconds since 1970.
    at: u64,
    /// Seconds from then to now.
    pub(super) ago_s: u64,
    pub(super) node: String,
    pub(super) what: &'static str,
    pub(super) detail: String,
    pub(super) warning: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Counts<'a> {
    schema: &'static str,
    counts: &'a counts::Counts,
}

pub(super) fn counts(counts: &counts::Counts) -> Counts<'_> {
    Counts { schema: SCHEMA, counts }
}

pub(super) fn state(admin: &Admin) -> State {
    let newest = *admin.journal.watch().borrow();
    let lines = admin.journal.after(newest.saturating_sub(JOURNAL_SHOWN));
    State { nodes: nodes(admin), journal: lines.into_iter().map(line).collect() }
}

pub(super) fn nodes(admin: &Admin) -> Nodes {
    let (pool, now) = (Arc::clone(&admin.pool.borrow()), admin.now());
    let minutes = admin.live.minutes();
    let lately = |member: &Arc<Member>| minutes.of(&member.node.id);
    let lately: Vec<Lately> = pool.members().iter().map(lately).collect();
    let all = lately.iter().map(|lately| lately.requests).sum();
    let nodes = pool.members().iter().zip(lately);
    Nodes {
        schema: SCHEMA,
        cluster: admin.cluster.clone(),
        uptime_s: now.as_secs(),
        requests_served: minutes.answered(),
        requests_failed: admin.counts.requests_failed.get(),
        nodes: nodes.map(|(member, lately)| node(member, lately, all, now)).collect(),
        routes: pool.services().routes().map(route).collect(),
        conflicts: pool.services().conflicts().iter().map(conflict).collect(),
    }
}

fn route((route, service): (&route::Route, &str)) -> Route {
    let route::Route { host, path } = route.clone();
    Route { host, path, service: service.to_owned() }
}

fn conflict(conflict: &pool::Conflict) -> Conflict {
    let pool::Conflict { route, kept_by, service } = conflict;
    let (host, path) = (route.host.clone(), route.path.clone());
    Conflict {
        host,
        path,
        service: service.to_string(),
        kept_by: kept_by.to_string(),
        text: conflict.to_string(),
    }
}

fn node(member: &Member, lately: Lately, all: u64, now: Duration) -> Node {
    let Member { node, health, why, since, advertised, counters, .. } = member;
    let pi = member.pi.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Node {
        id: node.id.to_string(),
        name: node.name.clone(),
        hostname: node.hostname.clone(),
        endpoint: node.endpoint.to_string(),
        state: health.as_str(),
        why: why.clone(),
        since_s: tenths(now.saturating_sub(*since).as_secs_f64()),
        advertised: *advertised,
        source: node.source.as_str(),
        inflight: counters.inflight.load(Relaxed),
        requests: counters.requests.load(Relaxed),
        failures: counters.failures.load(Relaxed),
        weight: member.weight(),
        service: node.offer.service.clone(),
        hosts: node.offer.hosts.clone(),
        path: node.offer.path.clone(),
        serves: node.offer.serves(),
        weight_why: weight_why(member, pi.as_ref()),
        rate: tenths(lately.rate),
        share: (all > 0).then(|| lately.requests as f64 / all as f64),
        p50_ms: lately.p50.map(millis),
        p99_ms: lately.p99.map(millis),
        beats: lately.beats,
        board: board::words(pi.as_ref()),
        pi,
        health: *health,
    }
}

/// A share below the whole is that of a node that is back, or of one that its firmware holds back.
fn weight_why(member: &Member, pi: Option<&Pi>) -> Option<String> {
    let weight = member.share.weight();
    if member.health != Health::Up || weight >= 1.0 {
        return None;
    }
    let throttled = pi.is_some_and(|pi| pi.throttled == Some(true));
    let percent = weight * 100.0;
    Some(match (member.share.is_trial(), throttled) {
        (true, _) => "on trial".to_owned(),
        (false, true) => format!("throttled, {percent:.0} % of a share"),
        (false, false) => format!("slow start, {percent:.0} % of a share"),
    })
}

fn line(entry: journal::Entry) -> Line {
    let journal::Entry { number, at, node, what, detail, warning } = entry;
    let at_s = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // A clock that was set back makes it a moment ago.
    let ago_s = at.elapsed().unwrap_or_default().as_secs();
    Line { number, at: at_s, ago_s, node, what, detail, warning }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn millis(span: Duration) -> f64 {
    span.as_micros() as f64 / 1000.0
}
