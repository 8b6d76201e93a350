//! The metrics of a web node: its answers and its board. A balancer adds what it sees of the node.

use std::fmt;

use super::node::WebNode;
use crate::cluster::pi;
use crate::os::process;
use crate::telemetry::exposition::Families;

/// Writes all metrics of the node.
///
/// # Errors
/// The text cannot be written, which a string does not report.
pub(super) fn write(families: &mut Families<'_>, node: &WebNode) -> fmt::Result {
    process::write(families)?;
    let mut family = families.counters("picluster_web_requests", "Requests answered.")?;
    for (class, count) in node.requests.answered.all() {
        family.add(&[("class", class)], count)?;
    }
    let help = "Requests that are not answered yet.";
    families.gauge("picluster_web_requests_in_flight", help, node.requests.in_flight())?;
    let help = "Since the node started, whatever the clock of its board says.";
    families.gauge("picluster_web_uptime_seconds", help, node.started.elapsed().as_secs_f64())?;
    let help = "1 while the node is about to stop.";
    families.gauge("picluster_web_draining", help, u32::from(node.is_draining()))?;
    pi::metrics::write(families, &[(&[], node.board.health())])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::config::{DiscoveryConfig, Serves, WebConfig};
    use crate::cluster::node::Offer;
    use crate::telemetry::documented::{documented, exposed};
    use crate::telemetry::exposition::{Format, render};
    use crate::web::Web;

    #[tokio::test]
    async fn the_documentation_has_every_metric_of_a_node_and_no_other() {
        let discovery = DiscoveryConfig {
            cluster: "default".into(),
            interfaces: Vec::new(),
            ipv6: false,
            loopback: true,
        };
        let listen = "127.0.0.1:0".parse().unwrap();
        let drain = Duration::ZERO;
        let (offer, serves) = (Offer::default(), Serves::Name);
        let config = WebConfig { listen, offer, serves, name: None, id: None, drain, discovery };
        let web = Web::bind(&config).unwrap();
        let page = render(Format::Text, move |families| write(families, &web.node));
        let mut promised = documented(&["Both", "Boards", "Node"]);
        // A node reports its own board without naming itself.
        for (_, labels) in promised.values_mut() {
            labels.retain(|label| label != "id" && label != "node");
        }
        assert_eq!(exposed(&page), promised, "{page}");
    }
}
