//! From text to checked values. A refusal is one sentence that names the flag or the variable of the
//! text, the mistake, and what to write instead.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use tracing::level_filters::LevelFilter;

use crate::cluster::balance::{self, Balance};
use crate::cluster::config::{self, AccessLogForm};
use crate::cluster::node::offer::{self, HOSTS_MAX, WEIGHTS};
use crate::cluster::node::{self, ForwardFields, NodeId};
use crate::cluster::route;
use crate::telemetry::log::LogFormat;

/// The environment: the value of a variable, if it is set.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Why the command line is refused: one sentence for the user.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) String);

/// Reads a variable. A blank one counts as unset (a line `PICLUSTER_NAME=` in a file of settings), and
/// space around a value is dropped (a file from another system may end its lines in another way).
pub(super) fn variable(env: Env<'_>, name: &str) -> Result<Option<Given>, Refusal> {
    let Some(value) = env(name) else { return Ok(None) };
    let Ok(text) = value.into_string() else {
        return Err(Refusal(format!("{name} is not UTF-8; unset it or write it anew")));
    };
    let text = text.trim().to_owned();
    Ok((!text.is_empty()).then(|| Given { key: name.to_owned(), by: By::Variable, text }))
}

/// A text that was given for a setting, with the flag or the variable that gave it.
#[derive(Clone, Debug)]
pub(super) struct Given {
    key: String,
    by: By,
    text: String,
}

#[derive(Clone, Copy, Debug)]
enum By {
    Flag,
    Variable,
}

impl Given {
    /// A text given by the flag of this name (without dashes).
    pub(super) fn flag(name: &str, text: String) -> Self {
        Self { key: format!("--{name}"), by: By::Flag, text }
    }

    /// The flag or the variable: `--app`, `PICLUSTER_WEB_APP`.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The text itself.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// `--workers "0" <wrong>; <fix>`.
    pub(super) fn refuse(&self, wrong: &str, fix: &str) -> Refusal {
        let between = match self.by {
            By::Flag => " ",
            By::Variable => "=",
        };
        Refusal(format!("{}{between}{:?} {wrong}; {fix}", self.key, self.text))
    }

    /// The setting as it could be written: `--workers 4`, `PICLUSTER_LB_WORKERS=4`.
    pub(super) fn example(&self, value: &str) -> String {
        match self.by {
            By::Flag => format!("{} {value}", self.key),
            By::Variable => format!("{}={value}", self.key),
        }
    }

    /// `PORT`, `:PORT` or `ADDR:PORT`; a port alone means every address, IPv4 and IPv6.
    pub(super) fn address(self) -> Result<SocketAddr, Refusal> {
        let text = self.text.as_str();
        let port = text.strip_prefix(':').unwrap_or(text);
        if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
            return port.parse().map(config::any).map_err(|_| {
                self.refuse("is no port", "ports go from 1 to 65535 (0 takes a free one)")
            });
        }
        if let Ok(addr) = text.parse() {
            return Ok(addr);
        }
        let example = |value: &str| self.example(value);
        let (wrong, fix) = match (text.parse::<IpAddr>(), text.rsplit_once(':')) {
            (Ok(IpAddr::V4(ip)), _) => {
                ("has no port", format!("write {}", example(&format!("{ip}:8080"))))
            }
            // In `::1:80` it is not clear where the address ends and the port begins.
            (Ok(IpAddr::V6(_)), _) => (
                "has no brackets around the IPv6 address",
                format!("write [ADDR]:PORT, for example {}", example("[::1]:8080")),
            ),
            (Err(_), Some(("localhost", port))) => (
                "has a name, not an address",
                format!("write {}", example(&format!("127.0.0.1:{port}"))),
            ),
            (Err(_), _) => (
                "is no address with a port",
                format!("write PORT, :PORT or ADDR:PORT, for example {}", example(":8080")),
            ),
        };
        Err(self.refuse(wrong, &fix))
    }

    /// A time such as `250ms` or `1m 30s`, within a range.
    pub(super) fn time(self, range: &RangeInclusive<Duration>) -> Result<Duration, Refusal> {
        let Ok(time) = humantime::parse_duration(&self.text) else {
            let digits = self.text.bytes().all(|b| b.is_ascii_digit());
            let seconds = if digits { format!("{}s", self.text) } else { "5s".to_owned() };
            let wrong = if digits { "has no unit" } else { "is no time" };
            let fix =
                format!("write it with ms, s, m or h, for example {}", self.example(&seconds));
            return Err(self.refuse(wrong, &fix));
        };
        if range.contains(&time) {
            return Ok(time);
        }
        // `humantime` writes a day as 1day, but the help names no unit above hours.
        let written =
            |t: &Duration| humantime::format_duration(*t).to_string().replace("1day", "24h");
        let (least, most) = (written(range.start()), written(range.end()));
        Err(self.refuse("is out of range", &format!("it goes from {least} to {most}")))
    }

    /// A count within a range.
    pub(super) fn count(self, range: &RangeInclusive<usize>) -> Result<usize, Refusal> {
        let (least, most) = (range.start(), range.end());
        let fix = format!("write a number from {least} to {most}");
        match self.text.parse() {
            Ok(count) if range.contains(&count) => Ok(count),
            Ok(_) => Err(self.refuse("is out of range", &fix)),
            Err(_) => Err(self.refuse("is no such number", &fix)),
        }
    }

    /// A node's weight.
    pub(super) fn weight(self) -> Result<u8, Refusal> {
        let range = usize::from(*WEIGHTS.start())..=usize::from(*WEIGHTS.end());
        self.count(&range).map(|weight| weight as u8)
    }

    /// A number of bytes, or of KiB, MiB or GiB: `1000`, `512K`, `10M`, `1G`.
    pub(super) fn size(self, range: &RangeInclusive<u64>) -> Result<u64, Refusal> {
        let (digits, shift) = match self.text.to_ascii_uppercase().as_bytes().last() {
            Some(b'K') => (self.text.len() - 1, 10),
            Some(b'M') => (self.text.len() - 1, 20),
            Some(b'G') => (self.text.len() - 1, 30),
            _ => (self.text.len(), 0),
        };
        let fix =
            format!("write it in bytes or with K, M or G, for example {}", self.example("10M"));
        let number = &self.text[..digits];
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.refuse("is no size", &fix));
        }
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        match bytes {
            Some(bytes) if range.contains(&bytes) => Ok(bytes),
            _ => {
                let most = range.end() >> 30;
                Err(self.refuse("is out of range", &format!("the most is {most}G")))
            }
        }
    }

    /// `1`, `true`, `0` or `false`.
    pub(super) fn switch(self) -> Result<bool, Refusal> {
        match self.text.to_ascii_lowercase().as_str() {
            "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            _ => Err(self.refuse("is neither on nor off", "write 1 or true, 0 or false")),
        }
    }

    /// A node's whole name.
    pub(super) fn node_name(self) -> Result<String, Refusal> {
        if node::is_node_name(&self.text) {
            return Ok(self.text);
        }
        // Names from the wire are made legal by the same rule.
        let legal = node::printable(self.text.trim(), 63);
        let legal = if legal.is_empty() { "ada" } else { &legal };
        let fix = format!("for example {}", self.example(legal));
        Err(self.refuse("is no node name: 1 to 63 visible ASCII characters, no space", &fix))
    }

    /// A cluster's name.
    pub(super) fn cluster_name(self) -> Result<String, Refusal> {
        if node::is_cluster_name(&self.text) {
            return Ok(self.text);
        }
        let fix = format!("for example {}", self.example("class-7b"));
        Err(self.refuse("is no cluster name: 1 to 32 letters, digits and . _ -", &fix))
    }

    /// A service's name.
    pub(super) fn service_name(self) -> Result<String, Refusal> {
        if offer::is_service_name(&self.text) {
            return Ok(self.text);
        }
        let fix = format!("for example {}", self.example("blog"));
        Err(self.refuse("is no service name: 1 to 32 letters, digits and . _ -", &fix))
    }

    /// Names of hosts, separated by commas.
    pub(super) fn hosts(self) -> Result<Vec<String>, Refusal> {
        let fix = || format!("for example {}", self.example("blog.local"));
        let hosts: Option<Vec<_>> =
            self.text.split(',').map(|host| route::host(host.trim())).collect();
        let Some(mut hosts) = hosts else {
            let wrong = "is no name of a host of its own: letters, digits, - and dots, no port, no \
                         address, and not picluster.local, where all are";
            return Err(self.refuse(wrong, &fix()));
        };
        hosts.sort();
        hosts.dedup();
        if hosts.len() > HOSTS_MAX {
            return Err(self.refuse(&format!("names more than {HOSTS_MAX} hosts"), &fix()));
        }
        Ok(hosts)
    }

    /// The path of a route.
    pub(super) fn path(self) -> Result<String, Refusal> {
        route::path(&self.text).ok_or_else(|| {
            let slashed = route::path(&format!("/{}", self.text.trim_matches('/')));
            let example = self.example(slashed.as_deref().unwrap_or("/blog"));
            let wrong = "is no path of a route: / and names of letters, digits and . _ ~ @ + -, \
                         without .. and .picluster";
            self.refuse(wrong, &format!("for example {example}"))
        })
    }

    /// A node's id. At most 32 characters, so that every DNS label made of it (`pc-<id>-lb`, and
    /// a suffix after a conflict) stays under 63.
    pub(super) fn id(self) -> Result<NodeId, Refusal> {
        match NodeId::new(&self.text) {
            Some(id) if self.text.len() <= 32 => Ok(id),
            _ => Err(self.refuse(
                "is no id: 1 to 32 lower case letters, digits and -",
                &format!("for example {}", self.example("pi-7")),
            )),
        }
    }

    /// Interface names, separated by commas.
    pub(super) fn interfaces(self) -> Result<Vec<String>, Refusal> {
        // The kernel's rule (dev_valid_name): at most 15 bytes, no slash, colon or space.
        let legal = |name: &str| {
            (1..=15).contains(&name.len())
                && !matches!(name, "." | "..")
                && name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':'))
        };
        let names: Vec<_> = self.text.split(',').map(|name| name.trim().to_owned()).collect();
        if names.iter().all(|name| legal(name)) {
            return Ok(names);
        }
        let fix = format!("write it as `ip link` shows it, for example {}", self.example("eth0"));
        Err(self.refuse("is no interface name", &fix))
    }

    /// Addresses and networks, separated by commas. A network with bits behind its prefix is refused:
    /// it is a mistake, and another network may be meant.
    pub(super) fn networks(self) -> Result<Vec<IpNet>, Refusal> {
        let network = |text: &str| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            let network = text.parse().or_else(|_| address()).ok()?;
            (network.trunc() == network).then_some(network)
        };
        let networks = self.text.split(',').map(|text| network(text.trim()));
        networks.collect::<Option<_>>().ok_or_else(|| {
            let example = self.example("10.0.0.0/24");
            let fix = format!("write 10.0.0.7, or a network by its first address: {example}");
            self.refuse("is no address and no network", &fix)
        })
    }

    /// The policy by which requests are shared.
    pub(super) fn balance(self) -> Result<Balance, Refusal> {
        Balance::parse(&self.text)
            .ok_or_else(|| self.refuse("is no policy", &format!("write {}", balance::KNOWN)))
    }

    /// The fields that name a client to a node.
    pub(super) fn forward_fields(self) -> Result<ForwardFields, Refusal> {
        ForwardFields::parse(&self.text)
            .ok_or_else(|| self.refuse("is no choice of fields", "write all, for or none"))
    }

    /// A command line in words, by the rules of a shell for spaces, quotes and backslashes.
    pub(super) fn words(self) -> Result<Vec<String>, Refusal> {
        match shell_words::split(&self.text) {
            Ok(words) if !words.is_empty() => Ok(words),
            Ok(_) => Err(self.refuse("is no command", "write a program and its arguments")),
            Err(_) => Err(self.refuse("has a quote without its end", "close it, or leave it out")),
        }
    }

    /// The form of the log.
    pub(super) fn log_format(self) -> Result<LogFormat, Refusal> {
        match self.text.as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(self.refuse("is no form of the log", "write text or json")),
        }
    }

    /// The form of the access log.
    pub(super) fn access_log_form(self) -> Result<AccessLogForm, Refusal> {
        match self.text.as_str() {
            "text" => Ok(AccessLogForm::Text),
            "json" => Ok(AccessLogForm::Json),
            _ => Err(self.refuse("is no form of the access log", "write text or json")),
        }
    }

    /// The least serious events that are logged.
    pub(super) fn log_level(self) -> Result<LevelFilter, Refusal> {
        match self.text.to_ascii_lowercase().as_str() {
            "error" => Ok(LevelFilter::ERROR),
            "warn" => Ok(LevelFilter::WARN),
            "info" => Ok(LevelFilter::INFO),
            "debug" => Ok(LevelFilter::DEBUG),
            "trace" => Ok(LevelFilter::TRACE),
            _ => Err(self.refuse("is no level", "write error, warn, info, debug or trace")),
        }
    }
}
