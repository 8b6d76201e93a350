//! The raw flags: their names, their help, their grouping. Every value is still text, because the
//! same text may come from the environment and is checked in one place (`values`).
//!
//! The help is broken by hand to fit 80 columns: wrapping to the terminal would cost a dependency
//! and more of the binary than all the text here.

use clap::{Args, CommandFactory, Parser, Subcommand};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "picluster",
    version,
    about = START,
    after_help = MORE
)]
pub(super) struct Line {
    /// The same as the command of that name, so that a
    /// service can choose by a flag [env: PICLUSTER_ROLE]
    #[arg(long, value_name = "web|lb", verbatim_doc_comment)]
    pub(super) role: Option<String>,
    #[command(subcommand)]
    pub(super) command: Raw,
}

/// The commands, as typed.
#[derive(Debug, Subcommand)]
pub(super) enum Raw {
    /// Be a node: serve this machine's name, be found by the balancer
    #[command(after_help = WEB_EXAMPLES)]
    Web(Box<Web>),
    /// Be the balancer: find the nodes, share the requests among them
    #[command(after_help = LB_EXAMPLES)]
    Lb(Box<Lb>),
    /// Try it here: a balancer and three nodes on this one machine
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(Demo),
    /// Which nodes there are, from any machine of the network
    #[command(after_help = NODES_EXAMPLES)]
    Nodes(Nodes),
    /// Is all well? Exits with 0 if so, 1 if not quite, 2 if not at all
    Status(Status),
    /// Give a node no new requests: this Pi's own, or NODE at this balancer
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(Drain),
    /// The end of `drain`
    Undrain(Drain),
}

/// The flags of `picluster web`.
#[derive(Args, Debug)]
#[command(override_usage = "picluster web [OPTIONS] [-- COMMAND...]")]
pub(super) struct Web {
    /// Serve here: PORT, :PORT or ADDR:PORT
    /// [default: :8080]
    #[arg(long, value_name = "ADDR:PORT", verbatim_doc_comment)]
    pub(super) listen: Option<String>,
    /// Call this node so
    /// [default: the hostname and 6 characters of its id]
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    pub(super) serves: Serves,
    #[command(flatten)]
    pub(super) offer: Offer,
}

/// What a node offers.
#[derive(Args, Debug)]
#[command(next_help_heading = OFFER)]
pub(super) struct Offer {
    /// Serve this application; nodes of one service stand
    /// in for each other [default: default]
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    pub(super) service: Option<String>,
    /// Take the requests for this host, for example
    /// blog.local; may be repeated [default: any]
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    pub(super) host: Vec<String>,
    /// Take what lies at this path or below it
    /// [default: /]
    #[arg(long, value_name = "PATH", verbatim_doc_comment)]
    pub(super) path: Option<String>,
    /// Cut this path off before the application sees it
    #[arg(long)]
    pub(super) strip: bool,
    /// Take so many requests for one of a node that
    /// weighs 1; up to 100 [default: 1]
    #[arg(long, value_name = "N", verbatim_doc_comment)]
    pub(super) weight: Option<String>,
    /// Have requests shared among the nodes of this
    /// service so, whatever the balancer's --balance
    #[arg(long, value_name = "POLICY", verbatim_doc_comment)]
    pub(super) balance: Option<String>,
}

/// What `picluster web` serves in place of the name.
#[derive(Args, Debug)]
#[command(next_help_heading = SERVES)]
pub(super) struct Serves {
    /// The application at this port of this machine
    #[arg(long, value_name = "PORT|URL")]
    pub(super) app: Option<String>,
    /// The application that this command starts; it is
    /// to listen on $PORT. Or, behind all flags: -- COMMAND
    #[arg(long, value_name = "COMMAND", verbatim_doc_comment)]
    pub(super) exec: Option<String>,
    /// The files of this folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) dir: Option<String>,
    /// Ask the application for this path whether it works,
    /// or only connect: tcp [default: /]
    #[arg(long, value_name = "PATH|tcp", verbatim_doc_comment)]
    pub(super) health: Option<String>,
    /// Pass requests on to the application: for one that
    /// listens on 127.0.0.1 alone
    #[arg(long, verbatim_doc_comment)]
    pub(super) front: bool,
    /// Follow links in the folder, out of it too
    #[arg(long)]
    pub(super) follow_symlinks: bool,
    #[arg(last = true, hide = true)]
    pub(super) command: Vec<String>,
}

/// The flags of `picluster lb`.
#[derive(Args, Debug)]
pub(super) struct Lb {
    /// Take requests here: PORT, :PORT or ADDR:PORT
    /// [default: :80]
    #[arg(long, value_name = "ADDR:PORT", verbatim_doc_comment)]
    pub(super) listen: Option<String>,
    /// Show the balancer's own page here [default: :7070]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) admin: Option<String>,
    /// Worker threads [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(super) workers: Option<String>,
    /// Share requests so: round-robin, least-requests,
    /// p2c, hash[:header=NAME|:cookie=NAME] or first
    /// [default: round-robin]
    #[arg(long, value_name = "POLICY", verbatim_doc_comment)]
    pub(super) balance: Option<String>,
    /// Keep each client at the node that answered it
    /// first, by a cookie, while that node is there
    #[arg(long, verbatim_doc_comment)]
    pub(super) sticky: bool,
    /// Do not say in X-Picluster-Node which node answered
    #[arg(long)]
    pub(super) no_node_header: bool,
    /// Believe what this proxy of yours says of clients
    /// (X-Forwarded-For and the like); 10.0.0.7 or a
    /// network such as 10.0.0.0/24 [default: nobody]
    #[arg(long, value_name = "CIDR", verbatim_doc_comment)]
    pub(super) trusted_proxy: Vec<String>,
    /// Trusted proxies begin each connection with a
    /// PROXY protocol header, version 1 or 2
    #[arg(long, verbatim_doc_comment)]
    pub(super) proxy_protocol: bool,
    /// Write a line for each request to stdout: text
    /// or json [default: none]
    #[arg(long, value_name = "FORM", verbatim_doc_comment)]
    pub(super) access_log: Option<String>,
    #[command(flatten)]
    pub(super) common: Common,
    /// Take nodes from outside this machine's own subnets
    #[arg(long, help_heading = CLUSTER)]
    pub(super) allow_off_link: bool,
    #[arg(long, hide = true)]
    pub(super) no_claim_name: bool,
    #[command(flatten)]
    pub(super) limits: Limits,
}

/// What both roles take.
#[derive(Args, Debug)]
pub(super) struct Common {
    /// How long running requests may take at the end
    /// [default: 30s]
    #[arg(long, value_name = "TIME", verbatim_doc_comment)]
    pub(super) drain: Option<String>,
    /// Belong to this cluster; others are not seen
    /// [default: default]
    #[arg(long, value_name = "NAME", verbatim_doc_comment, help_heading = CLUSTER)]
    pub(super) cluster: Option<String>,
    /// Use only these interfaces, for example eth0,wlan0
    /// [default: all real ones]
    #[arg(long, value_name = "IF", verbatim_doc_comment, help_heading = CLUSTER)]
    pub(super) interface: Vec<String>,
    /// Use IPv6 even where there is IPv4
    #[arg(long, help_heading = CLUSTER)]
    pub(super) ipv6: bool,
    /// Write the log as text or json [default: text]
    #[arg(long, value_name = "FORM", help_heading = LOG)]
    pub(super) log: Option<String>,
    /// The least serious: error, warn, info, debug, trace
    /// [default: info]
    #[arg(long, value_name = "LEVEL", verbatim_doc_comment, help_heading = LOG)]
    pub(super) log_level: Option<String>,
    #[arg(long, hide = true)]
    pub(super) id: Option<String>,
    #[arg(long, hide = true)]
    pub(super) loopback: bool,
    #[arg(long, hide = true)]
    pub(super) exit_with_stdin: bool,
}

/// The limits of the data line.
#[derive(Args, Debug)]
#[command(next_help_heading = LIMITS)]
pub(super) struct Limits {
    /// Request: waits for a node (5s)
    #[arg(long, value_name = "TIME")]
    pub(super) hold: Option<String>,
    /// Client: sends a request's head (10s)
    #[arg(long, value_name = "TIME")]
    pub(super) head_timeout: Option<String>,
    /// Client: makes no request (60s)
    #[arg(long, value_name = "TIME")]
    pub(super) keep_alive: Option<String>,
    /// Client: sends nothing of a body (30s)
    #[arg(long, value_name = "TIME")]
    pub(super) body_idle: Option<String>,
    /// Client: takes nothing (30s)
    #[arg(long, value_name = "TIME")]
    pub(super) send_idle: Option<String>,
    /// Node: lives, but answers not yet (2m)
    #[arg(long, value_name = "TIME")]
    pub(super) answer_timeout: Option<String>,
    /// Node: sends nothing of a body (10m)
    #[arg(long, value_name = "TIME")]
    pub(super) answer_idle: Option<String>,
    /// Both: leave a WebSocket silent (1h)
    #[arg(long, value_name = "TIME")]
    pub(super) tunnel_idle: Option<String>,
    /// Requests at a node; more wait (no limit)
    #[arg(long, value_name = "N")]
    pub(super) max_inflight: Option<String>,
    /// Client connections at once (10000)
    #[arg(long, value_name = "N")]
    pub(super) max_connections: Option<String>,
    /// Of these, one client's (four fifths)
    #[arg(long, value_name = "N")]
    pub(super) max_connections_per_client: Option<String>,
    /// Request body: 512K, 10M, 1G (no limit)
    #[arg(long, value_name = "SIZE")]
    pub(super) max_body: Option<String>,
}

/// The flags of `picluster demo`.
#[derive(Args, Debug)]
pub(super) struct Demo {
    /// How many nodes, 1 to 16 [default: 3]
    #[arg(long, value_name = "N")]
    pub(super) nodes: Option<String>,
    /// Show what the balancer and the nodes log
    #[arg(long)]
    pub(super) verbose: bool,
}

/// The flags of `picluster nodes`.
#[derive(Args, Debug)]
pub(super) struct Nodes {
    /// Look again each second, in place
    #[arg(long)]
    pub(super) watch: bool,
    /// Print what the balancer's API says
    #[arg(long)]
    pub(super) json: bool,
    /// Print a name a line and nothing else
    #[arg(long)]
    pub(super) names: bool,
    #[command(flatten)]
    pub(super) look: Look,
}

/// The flags of `picluster status`.
#[derive(Args, Debug)]
pub(super) struct Status {
    /// Print it as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) look: Look,
}

/// Where to look.
#[derive(Args, Debug)]
pub(super) struct Look {
    /// Look at this cluster [default: default]
    #[arg(long, value_name = "NAME")]
    pub(super) cluster: Option<String>,
    /// Use only these interfaces, for example eth0,wlan0
    /// [default: all real ones]
    #[arg(long, value_name = "IF", verbatim_doc_comment)]
    pub(super) interface: Vec<String>,
    /// Ask the balancer whose page is here
    /// [default: the one that mDNS finds]
    #[arg(long, value_name = "ADDR:PORT", verbatim_doc_comment)]
    pub(super) admin: Option<String>,
    #[arg(long, hide = true)]
    pub(super) loopback: bool,
}

/// The flags of `picluster drain` and `picluster undrain`.
#[derive(Args, Debug)]
pub(super) struct Drain {
    /// A node by its name or id, at the balancer of this machine
    /// [default: this machine's own node, at every balancer]
    #[arg(value_name = "NODE", verbatim_doc_comment)]
    pub(super) node: Option<String>,
    /// Without NODE: the port of this machine's node
    /// [default: 8080]
    #[arg(long, value_name = "PORT", verbatim_doc_comment)]
    pub(super) port: Option<String>,
    /// With NODE: the balancer's page is here
    /// [default: :7070]
    #[arg(long, value_name = "ADDR:PORT", verbatim_doc_comment)]
    pub(super) admin: Option<String>,
}

/// Whether there is a command of this name.
pub(super) fn is_command(name: &str) -> bool {
    Line::command().get_subcommands().any(|command| command.get_name() == name)
}

/// The commands that have a flag of this name: `--hold` belongs to `lb`.
pub(super) fn commands_with(flag: &str) -> Vec<String> {
    let has = |command: &clap::Command| {
        command.get_arguments().any(|arg| arg.get_long() == Some(flag) && !arg.is_hide_set())
    };
    let line = Line::command();
    line.get_subcommands().filter(|c| has(c)).map(|c| c.get_name().to_owned()).collect()
}

const SERVES: &str = "Served in place of the name";
const CLUSTER: &str = "Cluster";
const OFFER: &str = "Several applications on one cluster";
const LOG: &str = "Log (on stderr)";
const LIMITS: &str = "At most so long or so many (default); a TIME is 250ms, 5s, 2m, 1h ...";

/// All commands: `web, lb, demo` and so on.
pub(super) fn commands() -> String {
    let line = Line::command();
    let names: Vec<_> = line.get_subcommands().map(clap::Command::get_name).collect();
    names.join(", ")
}

/// What somebody reads who typed nothing but the name.
pub(super) const SHORT: &str = "\
picluster makes one web address of a few machines. What shall this one be?

  picluster web     a node: serves its name, and is found by itself
  picluster lb      the balancer: finds the nodes and shares requests among them
  picluster demo    both and more, here and now, to see how it works
  picluster status  is all well? `picluster nodes` lists the nodes

`picluster --help` tells more.
";

const START: &str = "\
A few Raspberry Pis, one web address, nothing to configure.

Getting started:
  1. On each Pi that shall serve:       picluster web
  2. On the Pi that shares the load:    sudo picluster lb
  3. In any browser on the network:     http://picluster.local/
No Pi at hand? `picluster demo` shows it all on this machine.";

const MORE: &str = "\
`picluster web --help` and `picluster lb --help` list their flags. Everything
has a default, and can be set by a flag or in the environment.
";

const WEB_EXAMPLES: &str = "\
Examples:
  picluster web                          serve the hostname at port 8080
  picluster web --name ada               call it ada
  picluster web --listen :9000 --cluster red
  picluster web --app :3000              an application that runs already
  picluster web -- node server.js        one to start, with PORT set for it
  picluster web --dir ./public           files
  picluster web --service blog --host blog.local
  picluster web --service wiki --path /wiki --strip
  curl http://127.0.0.1:8080/            what it serves

Environment: every flag has a twin, and the flag wins. Those of web alone are
PICLUSTER_WEB_..., the others PICLUSTER_...; what only switches on takes 1 or 0:
  PICLUSTER_WEB_LISTEN=:9000  PICLUSTER_NAME=ada  PICLUSTER_CLUSTER=red
  PICLUSTER_IPV6=1            PICLUSTER_LOG=json  PICLUSTER_LOG_LEVEL=debug
  PICLUSTER_WEB_EXEC=\"node server.js\"
  PICLUSTER_ID=...            an id in place of the one made from the hardware
";

const LB_EXAMPLES: &str = "\
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

const DEMO_EXAMPLES: &str = "\
Starts real processes that find each other by real mDNS, on this machine only,
and says what to try with them. Ctrl-C ends all.

Examples:
  picluster demo
  picluster demo --nodes 6 --verbose
";

const NODES_EXAMPLES: &str = "\
Asks the balancer, which it finds by mDNS. Without one it says what the nodes
themselves advertise.

Examples:
  picluster nodes --watch
  for node in $(picluster nodes --names); do echo \"$node\"; done
  picluster nodes --json | jq '.nodes[] | select(.state != \"up\") | .why'

Environment: PICLUSTER_CLUSTER and PICLUSTER_INTERFACE, as for web and lb.
";

const DRAIN_EXAMPLES: &str = "\
A drained node finishes what it has and gets nothing new while others can serve.

Examples:
  picluster drain                        on a node: before work on this Pi
  picluster undrain                      it serves again; so after a restart
  picluster drain ada                    on the balancer: no requests for ada

Environment: PICLUSTER_WEB_LISTEN in place of --port, PICLUSTER_LB_ADMIN in
place of --admin, as web and lb have them.
";
