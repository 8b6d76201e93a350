//! The flags of `picluster lb`, checked: each setting's default and range.

use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use super::sources::{Sources, joined};
use crate::cli::flags;
use crate::cli::invocation::{Command, Invocation};
use crate::cli::values::{Env, Given, Refusal};
use crate::cluster::balance::Balance;
use crate::cluster::config::{LbConfig, Limits, TrustedProxies};
use crate::cluster::health::Thresholds;

/// Clients give up long before five minutes.
const HOLD: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(300);

/// A limit of zero would refuse everything; a day is as good as none.
const LIMIT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(86_400);

/// Far above the cores of any machine; each costs a thread and a listener.
const WORKERS: RangeInclusive<usize> = 1..=256;

/// The kernel's own bound on descriptors is below the upper end.
const CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;

/// With 0 a node would get no request, and a million is as good as no bound.
const INFLIGHT: RangeInclusive<usize> = 1..=1_000_000;

/// 0 allows no body; nobody has a petabyte to send.
const BODY_BYTES: RangeInclusive<u64> = 0..=1 << 50;

/// Checks `picluster lb`.
pub(crate) fn lb(raw: flags::Lb, env: Env<'_>) -> Result<Invocation, Refusal> {
    let sources = Sources { role: "LB", env };
    let id = sources.common("id", raw.common.id.clone())?;
    let listen = sources.address("listen", raw.listen, 80)?;
    let admin = sources.address("admin", raw.admin, 7070)?;
    if listen.port() == admin.port() && listen.port() != 0 && listen.ip() == admin.ip() {
        let other = if listen.port() == 7070 { 7071 } else { 7070 };
        return Err(Refusal(format!(
            "requests and the admin page cannot both have {listen}; give --listen or --admin \
             another port, for example --admin :{other}"
        )));
    }
    let config = LbConfig {
        listen,
        admin,
        workers: match sources.own("workers", raw.workers)? {
            Some(given) => given.count(&WORKERS)?,
            // This call respects CPU affinity and the cgroup's quota; it fails only where it knows nothing.
            None => thread::available_parallelism().map_or(1, |n| n.get().min(*WORKERS.end())),
        },
        id: id.map(Given::id).transpose()?,
        claim_name: !raw.no_claim_name,
        allow_off_link: sources.own_switch("allow-off-link", raw.allow_off_link)?,
        node_header: !sources.own_switch("no-node-header", raw.no_node_header)?,
        via: sources.own_switch("via", raw.via)?,
        trusted_proxies: trusted_proxies(&sources, &raw.trusted_proxy, raw.proxy_protocol)?,
        balance: sources
            .own("balance", raw.balance)?
            .map_or(Ok(Balance::default()), Given::balance)?,
        inflight_max: sources
            .own("max-inflight", raw.limits.max_inflight.clone())?
            .map(|given| given.count(&INFLIGHT))
            .transpose()?
            .map(|count| count as u32),
        sticky: sources.own_switch("sticky", raw.sticky)?,
        hold: sources.own_time("hold", raw.limits.hold.clone(), Duration::from_secs(5), &HOLD)?,
        drain: sources.drain(&raw.common)?,
        access_log: sources
            .own("access-log", raw.access_log)?
            .map(Given::access_log_form)
            .transpose()?,
        limits: limits(&sources, raw.limits)?,
        thresholds: Thresholds::default(),
        discovery: sources.discovery(&raw.common)?,
    };
    sources.invocation(Command::Lb(config), raw.common)
}

fn trusted_proxies(
    sources: &Sources<'_>,
    given: &[String],
    proxy_protocol: bool,
) -> Result<TrustedProxies, Refusal> {
    let networks = sources.own("trusted-proxy", joined(given))?;
    let proxy_protocol = sources.own_switch("proxy-protocol", proxy_protocol)?;
    if proxy_protocol && networks.is_none() {
        return Err(Refusal(
            "--proxy-protocol needs to know from whom: add --trusted-proxy with the address \
             of your proxy, for example --trusted-proxy 10.0.0.7"
                .to_owned(),
        ));
    }
    let networks = networks.map_or(Ok(Vec::new()), Given::networks)?;
    Ok(TrustedProxies { networks, proxy_protocol })
}

fn limits(sources: &Sources<'_>, raw: flags::Limits) -> Result<Limits, Refusal> {
    let default = Limits::default();
    let time = |flag, given, default| sources.own_time(flag, given, default, &LIMIT);
    let count = |flag, given| {
        let given = sources.own(flag, given)?;
        given.map(|given| given.count(&CONNECTIONS)).transpose()
    };
    Ok(Limits {
        head: time("head-timeout", raw.head_timeout, default.head)?,
        keep_alive: time("keep-alive", raw.keep_alive, default.keep_alive)?,
        body: time("body-idle", raw.body_idle, default.body)?,
        send: time("send-idle", raw.send_idle, default.send)?,
        answer: time("answer-timeout", raw.answer_timeout, default.answer)?,
        answer_body: time("answer-idle", raw.answer_idle, default.answer_body)?,
        tunnel: time("tunnel-idle", raw.tunnel_idle, default.tunnel)?,
        connections: count("max-connections", raw.max_connections)?.unwrap_or(default.connections),
        connections_per_client: count(
            "max-connections-per-client",
            raw.max_connections_per_client,
        )?,
        body_bytes: sources
            .own("max-body", raw.max_body)?
            .map(|given| given.size(&BODY_BYTES))
            .transpose()?,
        ..default
    })
}
