//! Every tunable: its unit, its default and why. Checked values only; reading flags and the
//! environment is `cli`'s business.

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

/// The most new candidates taken in a second; the rest wait for the source to repeat itself.
pub const CANDIDATES_PER_SECOND: u32 = 64;

/// The most addresses kept of one node: one active, the others probed stand-bys.
pub const ENDPOINTS_MAX: usize = 4;

/// The most probes under way at once.
pub const PROBES_MAX: usize = 16;

/// The most bytes read of one probe's answer.
pub const PROBE_ANSWER_BYTES_MAX: usize = 4096;

/// After this long absent and failing, a node is forgotten.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);

/// A buffer of the data line. A head that does not fit grows it to [`HEAD_BYTES_MAX`](crate::http1::limits::HEAD_BYTES_MAX).
pub const BUFFER_BYTES: usize = 16 * 1024;

/// The free buffers a worker keeps at the most. What was not needed for a second goes back to the
/// allocator (which may keep it for what comes next).
pub const BUFFERS_KEPT_MAX: usize = 1024;

/// The length a buffer grows to when an answer's body fills it: fewer system calls for large ones.
pub const BUFFER_BYTES_LARGE: usize = 64 * 1024;

/// What is left in a buffer while nothing comes is held in as little memory as it needs, up to this
/// length: longer ones are rare, and copying them is not worth it.
pub const STOWED_BYTES_MAX: usize = 4 * 1024;

/// The longest request body that is held for a replay; a longer one streams through.
pub const REPLAY_BYTES_MAX: usize = 64 * 1024;

/// What both programs need to take part in discovery.
#[derive(Clone, Debug)]
pub struct DiscoveryConfig {
    /// The cluster to join; 1 to 32 of `[A-Za-z0-9._-]`.
    pub cluster: String,
    /// The only interfaces to use; empty means all real ones.
    pub interfaces: Vec<String>,
    /// Also use IPv6 where there is IPv4 (it is used anyway where there is no IPv4).
    pub ipv6: bool,
    /// Stay on this machine: multicast on the loopback interface only, and loopback addresses are
    /// taken for nodes. For `demo` and tests; their random cluster name keeps others out.
    pub loopback: bool,
}

/// `picluster web`.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Where requests are served. Default `[::]:8080` dual-stack, IPv4 alone where there is no
    /// IPv6. Port 0 takes a free one and advertises that.
    pub listen: SocketAddr,
    /// The node's whole name; default `<hostname>-<first 6 of id>`.
    pub name: Option<String>,
    /// The node's id in place of the one derived from the hardware (`PICLUSTER_ID`).
    pub id: Option<NodeId>,
    /// How long a request that runs may take once the node stops. Default 30 s.
    pub drain: Duration,
    /// Which application it serves, and which requests that takes. Default all that has no other
    /// route, with the weight 1.
    pub offer: Offer,
    /// What is served. Default the name of this machine.
    pub serves: Serves,
    /// How to take part in discovery.
    pub discovery: DiscoveryConfig,
}

/// What a web node serves.
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
    /// The one address it listens on; `None` if any of this machine's will do.
    pub ip: Option<IpAddr>,
    /// Its port; `None` only with a command, for which a free one is chosen.
    pub port: Option<u16>,
    /// How it is found out whether it works (`--health`). Default a GET of `/`.
    pub health: AppHealth,
    /// The program that is it, with its arguments; empty if somebody else runs it.
    pub command: Vec<String>,
    /// Requests go through picluster, over loopback (`--front`).
    pub front: bool,
    /// `--listen` was not given: any port will do for picluster's own, as nobody types it.
    pub any_control_port: bool,
}

/// How an application is asked whether it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppHealth {
    /// A GET of this path; any answer below 500 will do.
    Path(String),
    /// A connection; nothing is said over it.
    Tcp,
}

/// A folder whose files are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirConfig {
    /// Where it is.
    pub folder: PathBuf,
    /// Whether links are followed, out of it too (`--follow-symlinks`).
    pub follow_symlinks: bool,
}

/// `picluster lb`.
#[derive(Clone, Debug)]
pub struct LbConfig {
    /// Where clients connect. Default `[::]:80`.
    pub listen: SocketAddr,
    /// The admin port. Default `[::]:7070`.
    pub admin: SocketAddr,
    /// Worker threads. Default: the cores this process may use (affinity and cgroup quota).
    pub workers: usize,
    /// The balancer's own id in place of the one derived from the hardware.
    pub id: Option<NodeId>,
    /// Whether to publish `picluster.local`. Default yes; `demo` does not.
    pub claim_name: bool,
    /// Take nodes whose address lies in no subnet of a local interface (`--allow-off-link`).
    pub allow_off_link: bool,
    /// Whether answers say which node gave them (`X-Picluster-Node`). Default yes.
    pub node_header: bool,
    /// Whose word about the client counts. Default nobody's.
    pub trusted_proxies: TrustedProxies,
    /// How requests are shared among nodes. Default round robin.
    pub balance: Balance,
    /// The most requests of one node at once; more wait, as for a node that is away. Default no bound.
    pub inflight_max: Option<u32>,
    /// Whether a client stays with the node that answered it first, by a cookie. Default no.
    pub sticky: bool,
    /// How long a request waits for a node to come back before it gets a 503. Default 5 s.
    pub hold: Duration,
    /// How long requests and tunnels may go on once the balancer stops. Default 30 s.
    pub drain: Duration,
    /// Whether standard output gets a line for each request, and in which form. Default no.
    pub access_log: Option<AccessLogForm>,
    /// The limits of the data line.
    pub limits: Limits,
    /// When a node counts as up or down.
    pub thresholds: Thresholds,
    /// How to take part in discovery.
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

/// The user's own proxies in front of the balancer: what they say of a client counts, what clients
/// say of themselves does not.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    /// Where they are (`--trusted-proxy`).
    pub networks: Vec<IpNet>,
    /// Whether each of their connections begins with a header of the PROXY protocol
    /// (`--proxy-protocol`).
    pub proxy_protocol: bool,
}

impl TrustedProxies {
    /// Whether this is the address of one. An IPv4 address may come mapped into IPv6.
    pub fn contains(&self, ip: IpAddr) -> bool {
        !self.networks.is_empty() && {
            let ip = ip.to_canonical();
            self.networks.iter().any(|network| network.contains(&ip))
        }
    }
}

/// The time limits and counts of the data line. Each time is counted only against the side that
/// owes bytes; there is no wall clock on a body.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first byte of a request head to its last. Default 10 s, then 408.
    pub head: Duration,
    /// A connection without a request. Default 60 s, then it is closed.
    pub keep_alive: Duration,
    /// Silence within a request body. Default 30 s, then 408.
    pub body: Duration,
    /// A client that takes no byte of its answer. Default 30 s, then it is closed.
    pub send: Duration,
    /// From the end of the request to the head of the answer while the node is alive. Default
    /// 120 s, then 504.
    pub answer: Duration,
    /// Silence within an answer's body. Default 10 min.
    pub answer_body: Duration,
    /// Silence of a node that nobody may wait for any more: the client has ended its sending. That
    /// may be a half-close, and then it still reads, or all that is ever seen of a browser that
    /// closed a tab. Default 5 s.
    pub half_closed: Duration,
    /// Silence in both directions of a tunnel. Default 1 h.
    pub tunnel: Duration,
    /// After this long without a connection, one to the next node is tried as well. Default 250 ms.
    pub connect_race: Duration,
    /// All attempts to connect for one try. Default 1 s.
    pub connect: Duration,
    /// A kept connection to a node is closed after this long without a request. Default 3 s: below
    /// any server's own limit, so that it is we who close.
    pub upstream_idle: Duration,
    /// The most tries of one request. Default 4.
    pub attempts: u32,
    /// No new try later than this after the request came. Default 15 s.
    pub retry_for: Duration,
    /// The most requests that wait for a node at once, or for room on one, all workers together. Default 1,024.
    pub held: usize,
    /// The longest request body. Default none; beyond it 413.
    pub body_bytes: Option<u64>,
    /// What all buffers together may grow beyond [`BUFFER_BYTES`]: for heads of more than 16 KiB, of
    /// which 341 fit at once; up to half of it for requests' bodies and an eighth for answers', which
    /// do without when it is used up.
    /// Default 16 MiB, then 503.
    pub grown_bytes: usize,
    /// The most client connections, all workers together. Default 10,000. Beyond that idle ones
    /// make room, or new ones wait for [`LbConfig::hold`], then 503.
    pub connections: usize,
    /// The most of one client: of an IPv4 address, or an IPv6 network of 64 bits. Default four
    /// fifths of all, so that no client can lock out the others; beyond that 429.
    pub connections_per_client: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            body: Duration::from_secs(30),
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

/// `[::]:port`, the default of every listener: dual-stack, and the listener falls back to IPv4
/// where the kernel has no IPv6.
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
