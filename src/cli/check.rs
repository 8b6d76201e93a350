//! From raw flags and the environment to checked configurations: each setting's default and range.

mod serves;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::flags;
use super::values::{self, Env, Given, Refusal};
use super::{Command, Invocation, LogFormat, Logging};
use crate::cluster::balance::Balance;
use crate::cluster::config::{self, DiscoveryConfig, LbConfig, Limits, TrustedProxies, WebConfig};
use crate::cluster::health::Thresholds;
use crate::cluster::node::offer::TXT_BYTES_MAX;
use crate::cluster::node::{self, Offer};
use crate::commands::demo::{self, DemoConfig};
use crate::commands::drain::{DrainConfig, Whose};
use crate::commands::nodes::{Form, NodesConfig};
use crate::commands::status::StatusConfig;
use crate::commands::survey::SurveyConfig;

/// A node or balancer that takes longer than this to stop is not stopping.
const DRAIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// Clients give up long before.
const HOLD: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(300);

/// A limit of zero would refuse everything; a day is as good as none.
const LIMIT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(86_400);

/// Far above the cores of any machine; each costs a thread and a listener.
const WORKERS: RangeInclusive<usize> = 1..=256;

/// The kernel's own bound on descriptors is below the upper end.
const CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;

/// None at all would be 0, and a million is as good as no bound.
const INFLIGHT: RangeInclusive<usize> = 1..=1_000_000;

/// None at all would be 0; nobody has a petabyte to send.
const BODY_BYTES: RangeInclusive<u64> = 0..=1 << 50;

/// Checks `picluster web`.
pub(super) fn web(raw: flags::Web, env: Env<'_>) -> Result<Invocation, Refusal> {
    let settings = Settings { role: "WEB", env };
    let id = settings.common("id", raw.common.id.clone())?;
    let listen = settings.own("listen", raw.listen)?;
    let config = WebConfig {
        serves: serves::check(&settings, raw.serves, listen.is_none())?,
        listen: listen.map_or(Ok(config::any(8080)), Given::address)?,
        name: settings.common("name", raw.name)?.map(Given::node_name).transpose()?,
        id: id.map(Given::id).transpose()?,
        drain: settings.drain(&raw.common)?,
        offer: settings.offer(raw.offer)?,
        discovery: settings.discovery(&raw.common)?,
    };
    settings.invocation(Command::Web(config), raw.common)
}

/// Checks `picluster lb`.
pub(super) fn lb(raw: flags::Lb, env: Env<'_>) -> Result<Invocation, Refusal> {
    let settings = Settings { role: "LB", env };
    let id = settings.common("id", raw.common.id.clone())?;
    let listen = settings.address("listen", raw.listen, 80)?;
    let admin = settings.address("admin", raw.admin, 7070)?;
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
        workers: match settings.own("workers", raw.workers)? {
            Some(given) => given.count(&WORKERS)?,
            // Knows of CPU affinity and the cgroup's quota; fails only where it knows nothing.
            None => thread::available_parallelism().map_or(1, |n| n.get().min(*WORKERS.end())),
        },
        id: id.map(Given::id).transpose()?,
        claim_name: !raw.no_claim_name,
        allow_off_link: settings.own_switch("allow-off-link", raw.allow_off_link)?,
        node_header: !settings.own_switch("no-node-header", raw.no_node_header)?,
        trusted_proxies: settings.trusted_proxies(&raw.trusted_proxy, raw.proxy_protocol)?,
        balance: settings
            .own("balance", raw.balance)?
            .map_or(Ok(Balance::default()), Given::balance)?,
        inflight_max: settings
            .own("max-inflight", raw.limits.max_inflight.clone())?
            .map(|given| given.count(&INFLIGHT))
            .transpose()?
            .map(|count| count as u32),
        sticky: settings.own_switch("sticky", raw.sticky)?,
        hold: settings.own_time("hold", raw.limits.hold.clone(), Duration::from_secs(5), &HOLD)?,
        drain: settings.drain(&raw.common)?,
        access_log: settings
            .own("access-log", raw.access_log)?
            .map(Given::access_log_form)
            .transpose()?,
        limits: settings.limits(raw.limits)?,
        thresholds: Thresholds::default(),
        discovery: settings.discovery(&raw.common)?,
    };
    settings.invocation(Command::Lb(config), raw.common)
}

/// Checks `picluster demo`. It has no twins in the environment: it is typed, not installed.
pub(super) fn demo(raw: flags::Demo) -> Result<Invocation, Refusal> {
    let nodes = raw.nodes.map(|text| Given::flag("nodes", text).count(&(1..=demo::NODES_MAX)));
    // The children's logs are their own.
    Ok(typed(Command::Demo(DemoConfig {
        nodes: nodes.transpose()?.unwrap_or(3),
        verbose: raw.verbose,
    })))
}

/// Checks `picluster nodes`.
pub(super) fn nodes(raw: &flags::Nodes, env: Env<'_>) -> Result<Invocation, Refusal> {
    let form = match (raw.watch, raw.json, raw.names) {
        (false, false, false) => Form::Table,
        (true, false, false) => Form::Watch,
        (false, true, false) => Form::Json,
        (false, false, true) => Form::Names,
        _ => {
            let one = "--watch, --json and --names exclude each other; choose one";
            return Err(Refusal(one.to_owned()));
        }
    };
    Ok(typed(Command::Nodes(NodesConfig { survey: look(&raw.look, env)?, form })))
}

/// Checks `picluster status`.
pub(super) fn status(raw: &flags::Status, env: Env<'_>) -> Result<Invocation, Refusal> {
    let survey = look(&raw.look, env)?;
    Ok(typed(Command::Status(StatusConfig { survey, json: raw.json })))
}

fn look(raw: &flags::Look, env: Env<'_>) -> Result<SurveyConfig, Refusal> {
    let settings = Settings { role: "LB", env };
    let admin = raw.admin.clone().map(|text| Given::flag("admin", text).address()).transpose()?;
    Ok(SurveyConfig {
        discovery: settings.hearing(raw.cluster.clone(), &raw.interface, false, raw.loopback)?,
        admin: admin.map(from_here),
    })
}

/// Checks `picluster drain` and `picluster undrain`.
pub(super) fn drain(raw: flags::Drain, drain: bool, env: Env<'_>) -> Result<Invocation, Refusal> {
    let verb = if drain { "drain" } else { "undrain" };
    let whose = match (raw.node, raw.port, raw.admin) {
        (Some(_), Some(_), _) => {
            let own = format!("--port is for this machine's own node: `picluster {verb} --port N`");
            return Err(Refusal(own));
        }
        (None, _, Some(_)) => {
            let which =
                format!("--admin needs to know which node: `picluster {verb} NODE --admin ..`");
            return Err(Refusal(which));
        }
        (None, Some(port), None) => Whose::Own(from_here(Given::flag("port", port).address()?)),
        (None, None, None) => {
            let settings = Settings { role: "WEB", env };
            Whose::Own(from_here(settings.address("listen", None, 8080)?))
        }
        (Some(node), None, admin) => {
            let settings = Settings { role: "LB", env };
            Whose::At(from_here(settings.address("admin", admin, 7070)?), node)
        }
    };
    Ok(typed(Command::Drain(DrainConfig { whose, drain })))
}

/// Where a program of this machine reaches what listens there.
fn from_here(listener: SocketAddr) -> SocketAddr {
    let port = listener.port();
    if listener.ip().is_unspecified() { (Ipv4Addr::LOCALHOST, port).into() } else { listener }
}

/// A command that is typed and talks for itself.
fn typed(command: Command) -> Invocation {
    let logging = Logging { format: LogFormat::Text, level: LevelFilter::ERROR };
    Invocation { command, logging, exit_with_stdin: false }
}

/// Where a role's settings come from.
struct Settings<'a> {
    role: &'static str,
    env: Env<'a>,
}

impl Settings<'_> {
    /// A setting of both roles: `--log-level`, `PICLUSTER_LOG_LEVEL`.
    fn common(&self, flag: &str, given: Option<String>) -> Result<Option<Given>, Refusal> {
        self.get("PICLUSTER", flag, given)
    }

    /// A setting of this role: `--listen`, `PICLUSTER_WEB_LISTEN`.
    fn own(&self, flag: &str, given: Option<String>) -> Result<Option<Given>, Refusal> {
        self.get(&format!("PICLUSTER_{}", self.role), flag, given)
    }

    fn get(
        &self,
        prefix: &str,
        flag: &str,
        given: Option<String>,
    ) -> Result<Option<Given>, Refusal> {
        match given {
            Some(text) => Ok(Some(Given::flag(flag, text))),
            None => {
                let name = format!("{prefix}_{}", flag.to_ascii_uppercase().replace('-', "_"));
                values::variable(self.env, &name)
            }
        }
    }

    fn address(&self, flag: &str, given: Option<String>, port: u16) -> Result<SocketAddr, Refusal> {
        self.own(flag, given)?.map_or(Ok(config::any(port)), Given::address)
    }

    fn own_time(
        &self,
        flag: &str,
        given: Option<String>,
        default: Duration,
        range: &RangeInclusive<Duration>,
    ) -> Result<Duration, Refusal> {
        self.own(flag, given)?.map_or(Ok(default), |given| given.time(range))
    }

    fn own_switch(&self, flag: &str, on: bool) -> Result<bool, Refusal> {
        Ok(on || self.own(flag, None)?.map_or(Ok(false), Given::switch)?)
    }

    fn drain(&self, raw: &flags::Common) -> Result<Duration, Refusal> {
        let given = self.common("drain", raw.drain.clone())?;
        given.map_or(Ok(Duration::from_secs(30)), |given| given.time(&DRAIN))
    }

    fn discovery(&self, raw: &flags::Common) -> Result<DiscoveryConfig, Refusal> {
        self.hearing(raw.cluster.clone(), &raw.interface, raw.ipv6, raw.loopback)
    }

    fn hearing(
        &self,
        cluster: Option<String>,
        interfaces: &[String],
        ipv6: bool,
        loopback: bool,
    ) -> Result<DiscoveryConfig, Refusal> {
        let cluster = self.common("cluster", cluster)?;
        let interfaces = self.common("interface", joined(interfaces))?;
        Ok(DiscoveryConfig {
            cluster: cluster.map_or(Ok(node::DEFAULT_CLUSTER.to_owned()), Given::cluster_name)?,
            interfaces: interfaces.map_or(Ok(Vec::new()), Given::interfaces)?,
            ipv6: ipv6 || self.common("ipv6", None)?.map_or(Ok(false), Given::switch)?,
            loopback,
        })
    }

    fn offer(&self, raw: flags::Offer) -> Result<Offer, Refusal> {
        let path = self.own("path", raw.path)?.map(Given::path).transpose()?;
        let strip = self.own_switch("strip", raw.strip)?;
        if strip && path.as_ref().is_none_or(|path| path == "/") {
            return Err(Refusal(
                "--strip needs a path to cut off; add --path, for example --path /blog".to_owned(),
            ));
        }
        let default = Offer::default();
        let service = self.own("service", raw.service)?;
        let hosts = self.own("host", joined(&raw.host))?;
        let weight = self.own("weight", raw.weight)?.map(Given::weight).transpose()?;
        let offer = Offer {
            service: service.map_or(Ok(default.service), Given::service_name)?,
            hosts: hosts.map_or(Ok(default.hosts), Given::hosts)?,
            path: path.unwrap_or(default.path),
            strip,
            weight: weight.unwrap_or(default.weight),
            balance: self.own("balance", raw.balance)?.map(Given::balance).transpose()?,
        };
        let bytes = offer.txt_bytes();
        if bytes > TXT_BYTES_MAX {
            return Err(Refusal(format!(
                "--service, --host and --path together are too long for an advertisement: {bytes} \
                 bytes of {TXT_BYTES_MAX}; give fewer or shorter hosts"
            )));
        }
        Ok(offer)
    }

    fn trusted_proxies(
        &self,
        given: &[String],
        proxy_protocol: bool,
    ) -> Result<TrustedProxies, Refusal> {
        let networks = self.own("trusted-proxy", joined(given))?;
        let proxy_protocol = self.own_switch("proxy-protocol", proxy_protocol)?;
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

    fn limits(&self, raw: flags::Limits) -> Result<Limits, Refusal> {
        let default = Limits::default();
        let time = |flag, given, default| self.own_time(flag, given, default, &LIMIT);
        let count = |flag, given| {
            let given = self.own(flag, given)?;
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
            connections: count("max-connections", raw.max_connections)?
                .unwrap_or(default.connections),
            connections_per_client: count(
                "max-connections-per-client",
                raw.max_connections_per_client,
            )?,
            body_bytes: self
                .own("max-body", raw.max_body)?
                .map(|given| given.size(&BODY_BYTES))
                .transpose()?,
            ..default
        })
    }

    fn invocation(&self, command: Command, raw: flags::Common) -> Result<Invocation, Refusal> {
        let format = self.common("log", raw.log)?;
        let level = self.common("log-level", raw.log_level)?;
        Ok(Invocation {
            command,
            logging: Logging {
                format: format.map_or(Ok(LogFormat::Text), Given::log_format)?,
                level: level.map_or(Ok(LevelFilter::INFO), Given::log_level)?,
            },
            exit_with_stdin: raw.exit_with_stdin,
        })
    }
}

/// A flag that may be given several times, as its twin in the environment has it.
fn joined(given: &[String]) -> Option<String> {
    (!given.is_empty()).then(|| given.join(","))
}
