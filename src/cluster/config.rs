//! Everything that can be set, checked, with its unit, its default and the reason; and the bounds
//! that more than one room needs. `cli` reads the flags and the environment.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::cluster::balance::Balance;
use crate::cluster::health::Thresholds;
use crate::cluster::node::{NodeId, Offer};

/// The most nodes the table holds. A Pi cluster has dozens; the bound keeps a flood out of memory.
pub const NODES_MAX: usize = 256;

/// The most candidates that have not proved themselves yet; the oldest makes room. They never
/// displace a proven node.
pub const CANDIDATES_MAX: usize = 256;

/// The most new candidates taken in a second; the others wait until the source repeats itself.
pub const CANDIDATES_PER_SECOND: u32 = 64;

/// The most addresses kept of one node: one is active, the others are probed and stand by.
pub const ENDPOINTS_MAX: usize = 4;

/// The most probes under way at once.
pub const PROBES_MAX: usize = 16;

/// The most bytes read of one probe's answer.
pub const PROBE_ANSWER_BYTES_MAX: usize = 4096;

/// A node that has been absent and failing for this long is forgotten.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);

/// The settings with which a program takes part in discovery.
#[derive(Clone, Debug)]
pub struct DiscoveryConfig {
    /// The cluster to join; 1 to 32 of `[A-Za-z0-9._-]`.
    pub cluster: String,
    /// The only interfaces to use; empty means all real ones.
    pub interfaces: Vec<String>,
    /// Use IPv6 also where there is IPv4 (it is used anyway where there is no IPv4).
    pub ipv6: bool,
    /// Stay on this machine: use multicast on the loopback interface only, and accept loopback
    /// addresses of nodes. For `demo` and tests; their random cluster name keeps others out.
    pub loopback: bool,
}

/// The settings of `picluster web`.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// The address at which requests are served. Default `[::]:8080` dual-stack, IPv4 alone where
    /// there is no IPv6. Port 0 takes a free one and advertises that.
    pub listen: SocketAddr,
    /// The node's whole name; default `<hostname>-<first 6 of id>`.
    pub name: Option<String>,
    /// The node's id in place of the one derived from the hardware (`PICLUSTER_ID`).
    pub id: Option<NodeId>,
    /// The time that requests under way have once the node stops. Default 30 s.
    pub drain: Duration,
    /// The application that it serves, and the requests that it takes. Default all that have no
    /// other route, with the weight 1.
    pub offer: Offer,
    /// The content that is served. Default the name of this machine.
    pub serves: Serves,
    /// The settings of discovery.
    pub discovery: DiscoveryConfig,
}

/// The content that a web node serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Serves {
    /// The name of this machine.
    #[default]
    Name,
    /// An application of this machine, which serves by itself (`--app`, a command).
    App(AppConfig),
    /// The files of a folder (`--dir`).
    Dir(DirConfig),
}

/// An application behind a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppConfig {
    /// The one address on which it listens; `None` if any address of this machine will do.
    pub ip: Option<IpAddr>,
    /// Its port; `None` only with a command, for which a free one is chosen.
    pub port: Option<u16>,
    /// The check whether it works (`--health`). Default a GET of `/`.
    pub health: AppHealth,
    /// The program to run as the application, with its arguments; empty if somebody else runs it.
    pub command: Vec<String>,
    /// True if requests go through picluster, over loopback (`--front`).
    pub front: bool,
    /// True if any port will do for picluster's own, because nobody types it: `--listen` was not
    /// given.
    pub any_control_port: bool,
}

/// The check whether an application works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppHealth {
    /// A GET of this path; any answer below 500 will do.
    Path(String),
    /// A connection, over which nothing is sent.
    Tcp,
}

/// A folder whose files are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirConfig {
    /// Its path.
    pub folder: PathBuf,
    /// True if symbolic links are followed, also out of the folder (`--follow-symlinks`).
    pub follow_symlinks: bool,
}

/// The settings of `picluster lb`.
#[derive(Clone, Debug)]
pub struct LbConfig {
    /// The address to which clients connect. Default `[::]:80`.
    pub listen: SocketAddr,
    /// The address of the admin port. Default `[::]:7070`.
    pub admin: SocketAddr,
    /// The number of worker threads. Default the cores that this process may use (affinity and
    /// cgroup quota).
    pub workers: usize,
    /// The balancer's own id in place of the one derived from the hardware (`PICLUSTER_ID`).
    pub id: Option<NodeId>,
    /// True to publish `picluster.local`. Default yes; `demo` does not.
    pub claim_name: bool,
    /// True if nodes are accepted whose address lies in no subnet of a local interface
    /// (`--allow-off-link`).
    pub allow_off_link: bool,
    /// True if answers name the node that gave them (`X-Picluster-Node`). Default yes.
    pub node_header: bool,
    /// True if requests name the balancer in `Via`. Default no: nginx as it is installed sends no
    /// compressed answer to a request with this field (`gzip_proxied off`).
    pub via: bool,
    /// The proxies whose information about the client counts. Default none.
    pub trusted_proxies: TrustedProxies,
    /// The policy by which requests are shared among nodes. Default round robin.
    pub balance: Balance,
    /// The most requests of one node at once; further ones wait, as for a node that is away.
    /// Default no bound.
    pub inflight_max: Option<u32>,
    /// True if a client stays with the node that answered it first, by a cookie. Default no.
    pub sticky: bool,
    /// The time that a request waits for a node to come back before it gets a 503. Default 5 s.
    pub hold: Duration,
    /// The time that requests and tunnels under way have once the balancer stops. Default 30 s.
    pub drain: Duration,
    /// The form of the line that standard output gets for each request; `None` writes none. Default
    /// none.
    pub access_log: Option<AccessLogForm>,
    /// The limits of the data line.
    pub limits: Limits,
    /// The results that make a node count as up or down.
    pub thresholds: Thresholds,
    /// The settings of discovery.
    pub discovery: DiscoveryConfig,
}

/// The form of the access log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogForm {
    /// Words in a fixed order.
    Text,
    /// JSON objects.
    Json,
}

/// The user's own proxies in front of the balancer: their information about a client counts, that
/// of clients about themselves does not.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    /// The networks of their addresses (`--trusted-proxy`).
    pub networks: Vec<IpNet>,
    /// True if each of their connections begins with a header of the PROXY protocol
    /// (`--proxy-protocol`).
    pub proxy_protocol: bool,
}

impl TrustedProxies {
    /// Returns whether this is the address of a trusted proxy. An IPv4 address may come mapped into
    /// IPv6.
    pub fn contains(&self, ip: IpAddr) -> bool {
        !self.networks.is_empty() && {
            let ip = ip.to_canonical();
            self.networks.iter().any(|network| network.contains(&ip))
        }
    }
}

/// The limits of the data line. Each time counts only against the side that owes bytes; no limit is
/// on the whole time of a body.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first byte of a request head to its last. Default 10 s, then 408.
    pub head: Duration,
    /// The time of a connection without a request. Default 60 s, then it is closed.
    pub keep_alive: Duration,
    /// Silence within a request body. Default 30 s, then 408.
    pub body: Duration,
    /// The time for which a client takes no byte of its answer. Default 30 s, then its connection
    /// is closed.
    pub send: Duration,
    /// From the end of the request to the head of the answer while the node is alive. Default
    /// 120 s, then 504.
    pub answer: Duration,
    /// Silence within an answer's body. Default 10 min.
    pub answer_body: Duration,
    /// Silence of a node whose client may be gone: it has ended its sending. That may be a
    /// half-close, after which it still reads, or all that is ever seen of a browser that closed a
    /// tab. Default 5 s.
    pub half_closed: Duration,
    /// Silence in both directions of a tunnel. Default 1 h.
    pub tunnel: Duration,
    /// The time without a connection after which one to the next node is tried as well. Default 250
    /// ms.
    pub connect_race: Duration,
    /// The time of all attempts to connect for one try. Default 1 s.
    pub connect: Duration,
    /// The time without a request after which a kept connection to a node is closed. Default 3 s:
    /// below the limit of any server, so that the balancer closes it and not the node.
    pub upstream_idle: Duration,
    /// The most tries of one request. Default 4.
    pub attempts: u32,
    /// The time after the request came in which a new try may begin. Default 15 s.
    pub retry_for: Duration,
    /// The most requests that wait at once for a node, or for room on one, all workers together.
    /// Default 1,024.
    pub held: usize,
    /// The longest request body. Default no bound; beyond it 413.
    pub body_bytes: Option<u64>,
    /// The bytes by which all buffers together may exceed their first size of 16 KiB: for longer
    /// heads, of which 341 fit at once; up to half of it for the bodies of requests and an eighth
    /// for those of answers, which do without when it is used up. Default 16 MiB, then 503.
    pub grown_bytes: usize,
    /// The most client connections, all workers together. Default 10,000. Beyond that idle ones
    /// make room, or new ones wait for [`LbConfig::hold`], then 503.
    pub connections: usize,
    /// The most connections of one client: of an IPv4 address, or an IPv6 network of 64 bits.
    /// Default four fifths of all, so that no client can lock out the others; beyond that 429.
    pub connections_per_client: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            body: Duration::from_secs(60),
            send: Duration::from_secs(30),
            answer: Duration::from_secs(120),
            answer_body: Duration::from_secs(600),
            half_closed: Duration::from_secs(5),
            tunnel: Duration::from_secs(3600),
            connect_race: Duration::from_millis(250),
            connect: Duration::from_secs(1),
            upstream_idle: Duration::from_secs(3),
            attempts: 4,
            retry_for: Duration::from_secs(15),
            held: 1024,
            body_bytes: None,
            grown_bytes: 16 * 1024 * 1024,
            connections: 10_000,
            connections_per_client: None,
        }
    }
}

/// `[::]:port`, the default of every listener: dual-stack. The listener falls back to IPv4 where
/// the kernel has no IPv6.
pub const fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)
}

/// The IPv4 twin of an unspecified IPv6 address; other addresses stay as they are.
pub fn ipv4_twin(addr: SocketAddr) -> SocketAddr {
    if addr.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), addr.port())
    } else {
        addr
    }
}
