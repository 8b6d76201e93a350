//! The flags that both roles take, and their help.

use clap::Args;

/// The heading of the flags about the cluster; those of one role stand below it too.
pub(super) const CLUSTER: &str = "Cluster";
const LOG: &str = "Log (on stderr)";

/// The flags of both roles.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// The time for running requests at the end
    /// [default: 30s]
    #[arg(long, value_name = "TIME", verbatim_doc_comment)]
    pub(crate) drain: Option<String>,
    /// Belong to this cluster; others are not seen
    /// [default: default]
    #[arg(long, value_name = "NAME", verbatim_doc_comment, help_heading = CLUSTER)]
    pub(crate) cluster: Option<String>,
    /// Use only these interfaces, for example eth0,wlan0
    /// [default: all real ones]
    #[arg(long, value_name = "IF", verbatim_doc_comment, help_heading = CLUSTER)]
    pub(crate) interface: Vec<String>,
    /// Use IPv6 even where there is IPv4
    #[arg(long, help_heading = CLUSTER)]
    pub(crate) ipv6: bool,
    /// Write the log as text or json [default: text]
    #[arg(long, value_name = "FORM", help_heading = LOG)]
    pub(crate) log: Option<String>,
    /// The least serious: error, warn, info, debug, trace
    /// [default: info]
    #[arg(long, value_name = "LEVEL", verbatim_doc_comment, help_heading = LOG)]
    pub(crate) log_level: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) id: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) loopback: bool,
    #[arg(long, hide = true)]
    pub(crate) exit_with_stdin: bool,
}
