//! The flags of the commands that are typed and not installed, and their help: `demo`, `nodes`,
//! `status`, `drain` and `undrain`.

use clap::Args;

/// The flags of `picluster demo`.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// The number of nodes, 1 to 16 [default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) nodes: Option<String>,
    /// Show what the balancer and the nodes log
    #[arg(long)]
    pub(crate) verbose: bool,
}

/// Printed below the flags.
pub(super) const DEMO_EXAMPLES: &str = "\
Starts real processes that find each other by real mDNS, on this machine only,
and prints what to try with them. Ctrl-C ends all.

Examples:
  picluster demo
  picluster demo --nodes 6 --verbose
";

/// The flags of `picluster nodes`.
#[derive(Args, Debug)]
pub(crate) struct Nodes {
    /// Look again each second, in place
    #[arg(long)]
    pub(crate) watch: bool,
    /// Print the document of the balancer's API
    #[arg(long)]
    pub(crate) json: bool,
    /// Print one name on each line and nothing else
    #[arg(long)]
    pub(crate) names: bool,
    #[command(flatten)]
    pub(crate) look: Look,
}

/// Printed below the flags.
pub(super) const NODES_EXAMPLES: &str = "\
Asks the balancer, which it finds by mDNS. Without one it prints what the nodes
themselves advertise.

Examples:
  picluster nodes --watch
  for node in $(picluster nodes --names); do echo \"$node\"; done
  picluster nodes --json | jq '.nodes[] | select(.state != \"up\") | .why'

Environment: PICLUSTER_CLUSTER and PICLUSTER_INTERFACE, as for web and lb.
";

/// The flags of `picluster status`.
#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) look: Look,
}

/// The place to look at.
#[derive(Args, Debug)]
pub(crate) struct Look {
    /// Look at this cluster [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// Use only these interfaces, for example eth0,wlan0
    /// [default: all real ones]
    #[arg(long, value_name = "IF", verbatim_doc_comment)]
    pub(crate) interface: Vec<String>,
    /// Ask the balancer whose page is here
    /// [default: the one that mDNS finds]
    #[arg(long, value_name = "ADDR:PORT", verbatim_doc_comment)]
    pub(crate) admin: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) loopback: bool,
}

/// The flags of `picluster drain` and `picluster undrain`.
#[derive(Args, Debug)]
pub(crate) struct Drain {
    /// A node by its name or id, at the balancer of this machine
    /// [default: this machine's own node, at every balancer]
    #[arg(value_name = "NODE", verbatim_doc_comment)]
    pub(crate) node: Option<String>,
    /// Without NODE: the port of this machine's node
    /// [default: 8080]
    #[arg(long, value_name = "PORT", verbatim_doc_comment)]
    pub(crate) port: Option<String>,
    /// With NODE: the balancer's page is here
    /// [default: :7070]
    #[arg(long, value_name = "ADDR:PORT", verbatim_doc_comment)]
    pub(crate) admin: Option<String>,
}

/// Printed below the flags.
pub(super) const DRAIN_EXAMPLES: &str = "\
A drained node finishes what it has and gets nothing new while others can serve.

Examples:
  picluster drain                        on a node: before work on this Pi
  picluster undrain                      it serves again; so after a restart
  picluster drain ada                    on the balancer: no requests for ada

Environment: PICLUSTER_WEB_LISTEN in place of --port, PICLUSTER_LB_ADMIN in
place of --admin, as web and lb have them.
";
