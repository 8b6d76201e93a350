//! The page that the balancer serves until it has had its first node: not an error but the next command.
//! Pure, because the data line answers with it.

use crate::cluster::node::DEFAULT_CLUSTER;
use crate::pages::badge::Badge;
use crate::pages::html::{Page, escape};

const CSS: &str = include_str!("empty_cluster_page.css");
const SCRIPT: &str = include_str!("empty_cluster_page.js");
const REFRESH_S: u32 = 2;

/// The command that starts a node of this cluster.
pub fn command(cluster: &str) -> String {
    if cluster == DEFAULT_CLUSTER {
        "picluster web".to_owned()
    } else {
        format!("picluster web --cluster {cluster}")
    }
}

/// The page for `curl`: the same in a few lines.
pub fn text(cluster: &str) -> String {
    let command = command(cluster);
    format!(
        "No node has joined the cluster \"{cluster}\" yet.\n\
         On another Pi of this network, or on this one, run:  {command}\n\
         This address serves it within seconds. If not: do both Pis hear each other's multicast\n\
         (one network, no guest Wi-Fi), and does the node's log say \"announced\"?\n"
    )
}

/// The page for browsers. It asks again by itself, so it turns into the application once a node serves.
pub fn html(cluster: &str) -> String {
    let (command, name) = (command(cluster), escape(cluster));
    let command = escape(&command);
    let body = format!(
        "<main>\n<p class=\"dots\" aria-hidden=\"true\"><i></i><i></i><i></i></p>\n\
         <h1>Ready for the first node</h1>\n\
         <p>The balancer of the cluster <b>{name}</b> runs. On another Pi of this network, or on \
         this one, run</p>\n<p><code>{command}</code></p>\n\
         <p class=\"quiet\">This page turns into your site by itself, within seconds. If it does \
         not: are both Pis on one network (no guest Wi-Fi), and does the node's log say \
         <b>announced</b>?</p>\n</main>"
    );
    let page = Page {
        title: "Ready for the first node - picluster",
        icon_href: &Badge::of(cluster).icon_href(),
        refresh_s: Some(REFRESH_S),
        script: Some(SCRIPT),
        css: CSS,
        body: &body,
    };
    page.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_names_the_cluster_only_where_it_must() {
        assert!(text("default").contains("run:  picluster web\n"));
        assert!(text("class-3b").contains("picluster web --cluster class-3b\n"));
        assert!(html("class-3b").contains("<code>picluster web --cluster class-3b</code>"));
    }

    #[test]
    fn the_page_asks_again_by_itself_and_fetches_nothing() {
        let page = html("<x>");
        assert!(page.contains("http-equiv=\"refresh\""));
        assert!(page.contains("&lt;x&gt;") && !page.contains("<x>"));
        assert!(!page.contains("src=") && !page.contains("url("));
    }
}
