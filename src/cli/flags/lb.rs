//! The flags of `picluster lb`, and their help.

use clap::Args;

use super::common::{CLUSTER, Common};

const LIMITS: &str = "At most so long or so many (default); a TIME is 250ms, 5s, 2m, 1h ...";

/// The flags of `picluster lb`.
#[derive(Args, Debug)]
pub(crate) struct Lb {
    /// Take requests here: PORT, :PORT or ADDR:PORT
    /// [default: :80]
    #[arg(long, value_name = "ADDR:PORT", verbatim_doc_comment)]
    pub(crate) listen: Option<String>,
    /// Show the balancer's own page here [default: :7070]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) admin: Option<String>,
    /// Worker threads [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<String>,
    /// Share requests by: round-robin, least-requests,
    /// p2c, hash[:header=NAME|:cookie=NAME] or first
    /// [default: round-robin]
    #[arg(long, value_name = "POLICY", verbatim_doc_comment)]
    pub(crate) balance: Option<String>,
    /// Keep each client at the node that answered it
    /// first, by a cookie, while that node is there
    #[arg(long, verbatim_doc_comment)]
    pub(crate) sticky: bool,
    /// Do not name the node in X-Picluster-Node
    #[arg(long)]
    pub(crate) no_node_header: bool,
    /// Name the balancer to nodes in Via; a stock nginx
    /// then compresses no answer
    #[arg(long, verbatim_doc_comment)]
    pub(crate) via: bool,
    /// Believe this proxy of yours about its clients
    /// (X-Forwarded-For and the like); 10.0.0.7 or a
    /// network such as 10.0.0.0/24 [default: nobody]
    #[arg(long, value_name = "CIDR", verbatim_doc_comment)]
    pub(crate) trusted_proxy: Vec<String>,
    /// Trusted proxies begin each connection with a
    /// PROXY protocol header, version 1 or 2
    #[arg(long, verbatim_doc_comment)]
    pub(crate) proxy_protocol: bool,
    /// Write a line for each request to stdout: text
    /// or json [default: none]
    #[arg(long, value_name = "FORM", verbatim_doc_comment)]
    pub(crate) access_log: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
    /// Take nodes from outside this machine's own subnets
    #[arg(long, help_heading = CLUSTER)]
    pub(crate) allow_off_link: bool,
    #[arg(long, hide = true)]
    pub(crate) no_claim_name: bool,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// The limits of the data line.
#[derive(Args, Debug)]
#[command(next_help_heading = LIMITS)]
pub(crate) struct Limits {
    /// Request: waits for a node (5s)
    #[arg(long, value_name = "TIME")]
    pub(crate) hold: Option<String>,
    /// Client: sends a request's head (10s)
    #[arg(long, value_name = "TIME")]
    pub(crate) head_timeout: Option<String>,
    /// Client: makes no request (60s)
    #[arg(long, value_name = "TIME")]
    pub(crate) keep_alive: Option<String>,
    /// Client: sends nothing of a body (60s)
    #[arg(long, value_name = "TIME")]
    pub(crate) body_idle: Option<String>,
    /// Client or node: takes nothing (30s)
    #[arg(long, value_name = "TIME")]
    pub(crate) send_idle: Option<String>,
    /// Node: lives, but answers not yet (2m)
    #[arg(long, value_name = "TIME")]
    pub(crate) answer_timeout: Option<String>,
    /// Node: sends nothing of a body (10m)
    #[arg(long, value_name = "TIME")]
    pub(crate) answer_idle: Option<String>,
    /// Both: leave a WebSocket silent (1h)
    #[arg(long, value_name = "TIME")]
    pub(crate) tunnel_idle: Option<String>,
    /// Requests at a node; more wait (no limit)
    #[arg(long, value_name = "N")]
    pub(crate) max_inflight: Option<String>,
    /// Client connections at once (10000)
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<String>,
    /// Of these, one client's (four fifths)
    #[arg(long, value_name = "N")]
    pub(crate) max_connections_per_client: Option<String>,
    /// Request body: 512K, 10M, 1G (no limit)
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_body: Option<String>,
}

/// Printed below the flags.
pub(super) const LB_EXAMPLES: &str = "\
Examples:
  sudo picluster lb                      http://picluster.local/ is now served
  picluster lb --listen :8000            without sudo: a port above 1023
  picluster lb --cluster red --interface eth0
  picluster lb --trusted-proxy 10.0.0.7 --proxy-protocol
  picluster lb --balance p2c             mixed Pis: the quicker ones get more

Environment: every flag has a twin, and the flag wins. Those of lb alone are
PICLUSTER_LB_..., the others PICLUSTER_...; what only switches on takes 1 or 0:
  PICLUSTER_LB_LISTEN=:8000   PICLUSTER_LB_ADMIN=127.0.0.1:7070
  PICLUSTER_LB_HOLD=10s       PICLUSTER_LB_ALLOW_OFF_LINK=1
  PICLUSTER_LB_TRUSTED_PROXY=10.0.0.7,fd00::/8
  PICLUSTER_LB_ACCESS_LOG=json  PICLUSTER_LB_BALANCE=p2c
  PICLUSTER_CLUSTER=red       PICLUSTER_INTERFACE=eth0,wlan0
  PICLUSTER_ID=...            an id in place of the one made from the hardware
";
