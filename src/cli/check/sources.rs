//! The two sources of a role's settings, the flags and the environment, and the settings that both roles
//! have.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::cli::flags;
use crate::cli::invocation::{Command, Invocation};
use crate::cli::values::{self, Env, Given, Refusal};
use crate::cluster::config::{self, DiscoveryConfig};
use crate::cluster::node;
use crate::telemetry::log::{LogFormat, Logging};

/// A node or balancer that takes longer than an hour to stop is not stopping.
const DRAIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// The sources of one role's settings.
pub(super) struct Sources<'a> {
    /// As in the names of its variables: `WEB`, `LB`.
    pub(super) role: &'static str,
    pub(super) env: Env<'a>,
}

impl Sources<'_> {
    /// A setting of both roles: `--log-level`, `PICLUSTER_LOG_LEVEL`.
    pub(super) fn common(
        &self,
        flag: &str,
        given: Option<String>,
    ) -> Result<Option<Given>, Refusal> {
        self.get("PICLUSTER", flag, given)
    }

    /// A setting of this role: `--listen`, `PICLUSTER_WEB_LISTEN`.
    pub(super) fn own(&self, flag: &str, given: Option<String>) -> Result<Option<Given>, Refusal> {
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

    pub(super) fn address(
        &self,
        flag: &str,
        given: Option<String>,
        port: u16,
    ) -> Result<SocketAddr, Refusal> {
        self.own(flag, given)?.map_or(Ok(config::any(port)), Given::address)
    }

    pub(super) fn own_time(
        &self,
        flag: &str,
        given: Option<String>,
        default: Duration,
        range: &RangeInclusive<Duration>,
    ) -> Result<Duration, Refusal> {
        self.own(flag, given)?.map_or(Ok(default), |given| given.time(range))
    }

    pub(super) fn own_switch(&self, flag: &str, on: bool) -> Result<bool, Refusal> {
        Ok(on || self.own(flag, None)?.map_or(Ok(false), Given::switch)?)
    }

    pub(super) fn drain(&self, raw: &flags::Common) -> Result<Duration, Refusal> {
        let given = self.common("drain", raw.drain.clone())?;
        given.map_or(Ok(Duration::from_secs(30)), |given| given.time(&DRAIN))
    }

    pub(super) fn discovery(&self, raw: &flags::Common) -> Result<DiscoveryConfig, Refusal> {
        self.hearing(raw.cluster.clone(), &raw.interface, raw.ipv6, raw.loopback)
    }

    /// The way to listen to the network, for a role or for a command that looks at the cluster.
    pub(super) fn hearing(
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

    pub(super) fn invocation(
        &self,
        command: Command,
        raw: flags::Common,
    ) -> Result<Invocation, Refusal> {
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

/// A flag that may be given several times, in the form of its twin in the environment.
pub(super) fn joined(given: &[String]) -> Option<String> {
    (!given.is_empty()).then(|| given.join(","))
}
