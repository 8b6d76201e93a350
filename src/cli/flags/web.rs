//! The flags of `picluster web`, and their help.

use clap::Args;

use super::common::Common;

const SERVES: &str = "Served in place of the name";
const OFFER: &str = "Several applications on one cluster";

/// The flags of `picluster web`.
#[derive(Args, Debug)]
#[command(override_usage = "picluster web [OPTIONS] [-- COMMAND...]")]
pub(crate) struct Web {
    /// Serve here: PORT, :PORT or ADDR:PORT
    /// [default: :8080]
    #[arg(long, value_name = "ADDR:PORT", verbatim_doc_comment)]
    pub(crate) listen: Option<String>,
    /// Give this node this name
    /// [default: the hostname and 6 characters of its id]
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) serves: Serves,
    #[command(flatten)]
    pub(crate) offer: Offer,
}

/// The flags for what `picluster web` serves in place of the name.
#[derive(Args, Debug)]
#[command(next_help_heading = SERVES)]
pub(crate) struct Serves {
    /// The application at this port of this machine
    #[arg(long, value_name = "PORT|URL")]
    pub(crate) app: Option<String>,
    /// The application that this command starts; it has
    /// to listen on $PORT. Or, behind all flags: -- COMMAND
    #[arg(long, value_name = "COMMAND", verbatim_doc_comment)]
    pub(crate) exec: Option<String>,
    /// The files of this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<String>,
    /// Ask the application for this path whether it works,
    /// or only connect: tcp [default: /]
    #[arg(long, value_name = "PATH|tcp", verbatim_doc_comment)]
    pub(crate) health: Option<String>,
    /// Pass requests on to the application: for one that
    /// listens on 127.0.0.1 alone
    #[arg(long, verbatim_doc_comment)]
    pub(crate) front: bool,
    /// Follow links in the folder, out of it too
    #[arg(long)]
    pub(crate) follow_symlinks: bool,
    #[arg(last = true, hide = true)]
    pub(crate) command: Vec<String>,
}

/// The flags for what a node offers.
#[derive(Args, Debug)]
#[command(next_help_heading = OFFER)]
pub(crate) struct Offer {
    /// Serve this application; nodes of one service stand
    /// in for each other [default: default]
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    pub(crate) service: Option<String>,
    /// Take the requests for this host, for example
    /// blog.local; may be repeated [default: any]
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    pub(crate) host: Vec<String>,
    /// Take what lies at this path or below it
    /// [default: /]
    #[arg(long, value_name = "PATH", verbatim_doc_comment)]
    pub(crate) path: Option<String>,
    /// Cut this path off before the application sees it
    #[arg(long)]
    pub(crate) strip: bool,
    /// Take this many requests for each one of a node
    /// that weighs 1; up to 100 [default: 1]
    #[arg(long, value_name = "N", verbatim_doc_comment)]
    pub(crate) weight: Option<String>,
    /// Share requests among the nodes of this service by
    /// this policy, whatever the balancer's --balance
    #[arg(long, value_name = "POLICY", verbatim_doc_comment)]
    pub(crate) balance: Option<String>,
    /// Name the client to the application in all fields,
    /// X-Forwarded-For alone, or none: all, for or none
    /// [default: all]
    #[arg(long, value_name = "SET", verbatim_doc_comment)]
    pub(crate) forward_fields: Option<String>,
}

/// Printed below the flags.
pub(super) const WEB_EXAMPLES: &str = "\
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
