//! `/metrics`: the counts of the workers and of the discovery line, for Prometheus. The series of a node
//! come from the pool as it is now, so they end with the node.
//!
//! `docs/METRICS.md` describes each metric; a test compares the two.

use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use crate::cluster::counts::{Counts, Mdns};
use crate::cluster::health::Health;
use crate::cluster::pi;
use crate::cluster::pool::{Member, Pool};
use crate::os::process;
use crate::telemetry::exposition::{Families, Labels};

/// Writes every metric.
pub(super) fn write(families: &mut Families<'_>, pool: &Pool, counts: &Counts) -> fmt::Result {
    process::write(families)?;
    states(families, pool)?;
    let named: Vec<_> = pool.members().iter().map(|member| Named::new(member)).collect();
    nodes(families, &named)?;
    boards(families, &named)?;
    troubles(families, counts)?;
    discovery(families, counts)?;
    mdns(families, &counts.mdns)
}

/// A member and the labels of its series: the id stays the same, the name is what people know.
struct Named<'a> {
    member: &'a Member,
    labels: [(&'static str, &'a str); 2],
}

impl<'a> Named<'a> {
    fn new(member: &'a Member) -> Self {
        let node = &member.node;
        Self { member, labels: [("id", node.id.as_str()), ("node", &node.name)] }
    }
}

fn states(families: &mut Families<'_>, pool: &Pool) -> fmt::Result {
    let mut family = families.gauges("picluster_nodes", "Known nodes, by state.")?;
    for state in Health::ALL {
        let count = pool.members().iter().filter(|member| member.health == state).count();
        family.add(&[("state", state.as_str())], count)?;
    }
    let help = "Nodes in the rotation.";
    families.gauge("picluster_nodes_usable", help, pool.usable().len())
}

fn nodes(families: &mut Families<'_>, nodes: &[Named<'_>]) -> fmt::Result {
    let mut family = families.gauges("picluster_node_info", "Where a node takes requests.")?;
    for Named { member, labels: [id, name] } in nodes {
        let (endpoint, host) = (member.node.endpoint.to_string(), &member.node.hostname);
        family.add(&[*id, *name, ("hostname", host), ("endpoint", &endpoint)], 1_u64)?;
    }
    let help = "1 while the state of a node is up.";
    let mut family = families.gauges("picluster_node_up", help)?;
    for Named { member, labels } in nodes {
        family.add(labels, u32::from(member.health == Health::Up))?;
    }
    let help = "The part of a whole share of the requests that a node takes; 0 on trial.";
    let mut family = families.gauges("picluster_node_share_ratio", help)?;
    for Named { member, labels } in nodes {
        family.add(labels, member.weight())?;
    }
    let help = "Client answers begun from a node, by the class of their status.";
    let mut family = families.counters("picluster_node_requests", help)?;
    for Named { member, labels: [id, name] } in nodes {
        for (class, count) in member.counters.classes.all() {
            family.add(&[*id, *name, ("class", class)], count)?;
        }
    }
    let help = "Attempts without a whole answer from a node.";
    let mut family = families.counters("picluster_node_failed_attempts", help)?;
    for Named { member, labels } in nodes {
        family.add(labels, member.counters.failures.load(Relaxed))?;
    }
    let help = "Attempts under way at a node.";
    let mut family = families.gauges("picluster_node_requests_in_flight", help)?;
    for Named { member, labels } in nodes {
        family.add(labels, member.counters.inflight.load(Relaxed))?;
    }
    let help = "From the whole head of a request to the head of a node's answer.";
    let mut family = families.histograms("picluster_node_response_seconds", help)?;
    for Named { member, labels } in nodes {
        family.add(labels, &member.counters.latency.snapshot())?;
    }
    Ok(())
}

fn boards(families: &mut Families<'_>, nodes: &[Named<'_>]) -> fmt::Result {
    let reported = nodes.iter().filter_map(|Named { member, labels }| {
        let pi = member.pi.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some((labels as Labels<'_>, pi))
    });
    pi::metrics::write(families, &reported.collect::<Vec<_>>())
}

/// Everything out of the ordinary, in the words of `/api/v1/counts`.
fn troubles(families: &mut Families<'_>, counts: &Counts) -> fmt::Result {
    let help = "Requests that clients saw fail for the cluster's fault.";
    families.counter("picluster_requests_failed", help, counts.requests_failed.get())?;
    let help = "Failed attempts that were followed by another one.";
    families.by_cause("picluster_retries", help, "cause", &counts.retries)?;
    let help = "Attempts of which no node received a byte, and that cost no try.";
    families.by_cause("picluster_retries_free", help, "cause", &counts.retries_free)?;
    let help = "Requests that were not sent again after a failed attempt.";
    families.by_cause("picluster_gave_up", help, "reason", &counts.gave_up)?;
    let help = "Requests that began to wait for a usable node.";
    families.counter("picluster_holds", help, counts.holds.get())?;
    let help = "How such waits ended.";
    families.by_cause("picluster_holds_ended", help, "end", &counts.holds_ended)?;
    let help = "Answers of the balancer's own.";
    families.by_cause("picluster_rejects", help, "cause", &counts.rejects)?;
    let help = "Answers that broke off after their head went to the client.";
    families.by_cause("picluster_answers_cut", help, "cause", &counts.answers_cut)?;
    let help = "Lines of the access log that were not written.";
    let dropped = counts.access_log_lines_dropped.get();
    families.counter("picluster_access_log_lines_dropped", help, dropped)
}

fn discovery(families: &mut Families<'_>, counts: &Counts) -> fmt::Result {
    let help = "What happened to nodes, in the words of the log.";
    families.by_cause("picluster_node_events", help, "event", &counts.node_events)?;
    families.by_cause("picluster_ejections", "Nodes ejected.", "cause", &counts.ejections)?;
    families.by_cause("picluster_probes", "Probes that ended.", "result", &counts.probes)?;
    let help = "How long probes took, those without an answer included.";
    families.histograms("picluster_probe_seconds", help)?.add(&[], &counts.probe_times.snapshot())
}

fn mdns(families: &mut Families<'_>, mdns: &Mdns) -> fmt::Result {
    let help = "Words about advertised nodes that mDNS passed on.";
    families.by_cause("picluster_mdns_events", help, "event", &mdns.events)?;
    let help = "Advertisements that could not be used, each time they were heard.";
    families.by_cause("picluster_mdns_ignored", help, "reason", &mdns.ignored)?;
    let help = "Addresses of such that may not be connected to, each time they were heard.";
    families.by_cause(
        "picluster_mdns_addresses_refused",
        help,
        "reason",
        &mdns.addresses_refused,
    )?;
    let help = "How often listening to mDNS began anew.";
    families.by_cause("picluster_mdns_restarts", help, "reason", &mdns.restarts)?;
    let help = "Records that mDNS has cached.";
    families.gauge("picluster_mdns_cache_records", help, mdns.records.get())
}
