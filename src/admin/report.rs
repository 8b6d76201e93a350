//! Fills the documents of the admin port from the published pool, the counts and the journal: the same
//! truth as on the page, for `picluster nodes` and other programs.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use super::board;
use super::minute::Lately;
use super::state::Admin;
use crate::cluster::api::{
    ClusterReport, ConflictReport, CountsReport, JournalLine, LiveReport, NodeReport, RouteReport,
    Schema,
};
use crate::cluster::counts::Counts;
use crate::cluster::health::Health;
use crate::cluster::pi::Pi;
use crate::cluster::pool::{Conflict, Member};
use crate::cluster::route::Route;
use crate::telemetry::journal::JournalEntry;

/// The lines of the journal that are shown, the newest.
const JOURNAL_SHOWN: u64 = 24;

pub(super) fn counts(counts: &Counts) -> CountsReport<'_> {
    CountsReport { schema: Schema, counts }
}

/// The cluster and the journal: what the page shows, and an event carries.
pub(super) fn live(admin: &Admin) -> LiveReport {
    let newest = *admin.journal.watch().borrow();
    let lines = admin.journal.after(newest.saturating_sub(JOURNAL_SHOWN));
    LiveReport { cluster: cluster(admin), journal: lines.into_iter().map(journal_line).collect() }
}

pub(super) fn cluster(admin: &Admin) -> ClusterReport {
    let (pool, now) = (Arc::clone(&admin.pool.borrow()), admin.now());
    let minutes = admin.live.minutes();
    let lately = |member: &Arc<Member>| minutes.of(&member.node.id);
    let lately: Vec<Lately> = pool.members().iter().map(lately).collect();
    let all = lately.iter().map(|lately| lately.requests).sum();
    let nodes = pool.members().iter().zip(lately);
    ClusterReport {
        schema: Schema,
        cluster: admin.cluster.clone(),
        uptime_s: now.as_secs(),
        requests_served: minutes.answered(),
        requests_failed: admin.counts.requests_failed.get(),
        nodes: nodes.map(|(member, lately)| node(member, lately, all, now)).collect(),
        routes: pool.services().routes().map(route).collect(),
        conflicts: pool.services().conflicts().iter().map(conflict).collect(),
    }
}

fn route((route, service): (&Route, &str)) -> RouteReport {
    let Route { host, path } = route.clone();
    RouteReport { host, path, service: service.to_owned() }
}

fn conflict(conflict: &Conflict) -> ConflictReport {
    let Conflict { route, kept_by, service } = conflict;
    let Route { host, path } = route.clone();
    ConflictReport {
        host,
        path,
        service: service.to_string(),
        kept_by: kept_by.to_string(),
        text: conflict.to_string(),
    }
}

fn node(member: &Member, lately: Lately, all: u64, now: Duration) -> NodeReport {
    let Member { node, health, why, since, advertised, counters, .. } = member;
    let pi = member.pi.lock().unwrap_or_else(PoisonError::into_inner).clone();
    NodeReport {
        id: node.id.to_string(),
        name: node.name.clone(),
        hostname: node.hostname.clone(),
        endpoint: node.endpoint.to_string(),
        state: *health,
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
        board: board::notes(pi.as_ref()),
        pi,
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

fn journal_line(entry: JournalEntry) -> JournalLine {
    let JournalEntry { number, at, node, what, detail, warning } = entry;
    let at_s = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // After the clock was set back, the line seems to come from the future: it counts as new.
    let ago_s = at.elapsed().unwrap_or_default().as_secs();
    JournalLine { number, at: at_s, ago_s, node, what, detail, warning }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn millis(span: Duration) -> f64 {
    span.as_micros() as f64 / 1000.0
}
