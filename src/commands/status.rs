//! `picluster status`: is all well? It prints one screen with the warnings last, and gives scripts an exit
//! code.

use crate::admin::empty_cluster_page;
use crate::cluster::api::{ClusterStatus, NodeView, Schema, StatusReport};
use crate::cluster::health::Health;
use crate::commands::survey::{Survey, SurveyConfig, Surveyor, Unavailable, balancer};
use crate::os::shutdown::Shutdown;
use crate::os::terminal::{self, Colour, print};
use crate::pages::html::{grouped, span};

/// `picluster status`.
#[derive(Clone, Debug)]
pub struct StatusConfig {
    /// The cluster to look at.
    pub survey: SurveyConfig,
    /// Print the report as JSON.
    pub json: bool,
}

/// The most warnings that are shown; a screen has 24 lines.
const WARNINGS_MAX: usize = 12;

/// A node that is starting for longer than this, in seconds, is a warning.
const STARTING_MAX_S: f64 = 10.0;

/// Looks, and prints the report; nothing at all if it was interrupted.
///
/// # Errors
/// Standard output cannot be written.
pub async fn run(config: StatusConfig, mut shutdown: Shutdown) -> anyhow::Result<ClusterStatus> {
    let cluster = config.survey.discovery.cluster.clone();
    let mut surveyor = Surveyor::new(config.survey);
    let look = async {
        let survey = surveyor.look().await;
        let failed = match survey.as_ref().ok().and_then(|survey| survey.balancer) {
            Some(admin) => balancer::failed_requests(admin).await,
            None => None,
        };
        (survey, failed)
    };
    let (survey, failed) = tokio::select! {
        seen = look => seen,
        () = shutdown.requested() => return Ok(ClusterStatus::Down),
    };
    let report = report(&cluster, &survey, failed);
    let text = if config.json {
        serde_json::to_string(&report)? + "\n"
    } else {
        screen(&report, terminal::takes_colours())
    };
    print(&text)?;
    Ok(report.status)
}

fn report<'a>(
    cluster: &'a str,
    survey: &'a Result<Survey, Unavailable>,
    failed: Option<u64>,
) -> StatusReport<'a> {
    // A balancer that was named may serve another cluster.
    let cluster = survey.as_ref().map_or(cluster, |survey| &survey.document.view.cluster);
    let nodes = survey.as_ref().map_or(&[][..], |survey| &survey.document.view.nodes[..]);
    let nodes_up = nodes.iter().filter(|node| node.is_up()).count();
    let (balancer, balancers) =
        survey.as_ref().map_or((None, 0), |survey| (survey.balancer, survey.balancers));
    let warnings = warnings(survey, failed);
    let status = match (balancer.is_some() && nodes_up > 0, warnings.is_empty()) {
        (false, _) => ClusterStatus::Down,
        (true, false) => ClusterStatus::Warnings,
        (true, true) => ClusterStatus::Well,
    };
    StatusReport {
        schema: Schema,
        cluster,
        status,
        balancer: balancer.map(|admin| admin.to_string()),
        balancers,
        nodes_up,
        requests: nodes.iter().map(|node| node.requests).sum(),
        requests_failed: failed,
        warnings,
        nodes,
    }
}

/// All that somebody should look at, in the order in which it is shown.
fn warnings(survey: &Result<Survey, Unavailable>, failed: Option<u64>) -> Vec<String> {
    let survey = match survey {
        Ok(survey) => survey,
        Err(Unavailable(why)) => return vec![why.clone()],
    };
    let view = &survey.document.view;
    // The notes on a balancer's answer are no warnings, except the conflicts, which come next anyway.
    let notes = if survey.balancer.is_none() { &survey.notes[..] } else { &[] };
    let mut warnings = notes.to_vec();
    warnings.extend(view.conflicts.iter().map(|conflict| conflict.text.clone()));
    warnings.extend(view.nodes.iter().flat_map(warnings_of_node));
    if let Some(failed @ 1..) = failed {
        let requests =
            if failed == 1 { "1 request" } else { &format!("{} requests", grouped(failed)) };
        warnings.push(format!("{requests} failed since the balancer started"));
    }
    if survey.balancer.is_some() && view.nodes.is_empty() {
        let command = empty_cluster_page::command(&view.cluster);
        warnings.push(format!("there is no node yet; on a Pi run: {command}"));
    }
    warnings
}

/// The warnings about one node.
fn warnings_of_node(node: &NodeView) -> Vec<String> {
    let NodeView { name, state, why, since_s, pi, .. } = node;
    let starts =
        state == Health::Starting.as_str() && since_s.is_none_or(|since| since < STARTING_MAX_S);
    let since = since_s.map_or_else(String::new, |since| format!(" for {}", span(since as u64)));
    let unusable = (!node.is_up() && !starts).then(|| format!("{name} is {state}{since}: {why}"));
    let pi = pi.clone().unwrap_or_default();
    let power = match (pi.under_voltage, pi.under_voltage_since_boot) {
        (Some(true), _) => Some("its power supply is too weak"),
        (_, Some(true)) => Some("its power supply was too weak since it started"),
        _ => None,
    };
    let throttled = pi
        .throttled
        .is_some_and(|throttled| throttled)
        .then_some("it is throttled, for heat or want of power");
    let board = power.into_iter().chain(throttled).map(|what| format!("{name}: {what}"));
    unusable.into_iter().chain(board).collect()
}

fn screen(report: &StatusReport<'_>, colours: bool) -> String {
    let (colour, words) = match report.status {
        ClusterStatus::Well => (Colour::Green, "all is well"),
        ClusterStatus::Warnings => (Colour::Yellow, "serves, with warnings"),
        ClusterStatus::Down => (Colour::Red, "does not serve"),
    };
    let words = colour.paint(words, colours);
    let balancer = match (&report.balancer, report.balancers) {
        (Some(admin), 0 | 1) => format!("http://{admin}/"),
        (Some(admin), several) => format!("http://{admin}/ (one of {several})"),
        (None, _) => "none answers".to_owned(),
    };
    let nodes = match report.nodes.len() {
        0 => "none is known".to_owned(),
        all => format!("{} of {all} up", report.nodes_up),
    };
    let mut lines = vec![
        format!("cluster {}: {words}", report.cluster),
        String::new(),
        format!("balancer  {balancer}"),
        format!("nodes     {nodes}"),
    ];
    if let Some(requests) = report.requests.filter(|_| report.balancer.is_some()) {
        let failed = match report.requests_failed {
            Some(0) => "none failed".to_owned(),
            Some(failed) => format!("{} failed", grouped(failed)),
            None => "of failed ones nothing is known".to_owned(),
        };
        lines.push(format!("requests  {}, {failed}", grouped(requests)));
    }
    if !report.warnings.is_empty() {
        lines.extend([String::new(), "warnings".to_owned()]);
        let shown = report.warnings.iter().take(WARNINGS_MAX);
        lines.extend(shown.map(|warning| format!("  {warning}")));
    }
    if let more @ 1.. = report.warnings.len().saturating_sub(WARNINGS_MAX) {
        lines.push(format!("  ... and {more} more; `picluster nodes` lists all"));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::api::ClusterView;
    use crate::cluster::pi::Pi;
    use crate::commands::survey::Document;

    fn node(name: &str, state: &str, why: &str) -> NodeView {
        NodeView {
            name: name.to_owned(),
            state: state.to_owned(),
            why: why.to_owned(),
            since_s: Some(247.0),
            requests: Some(20_615),
            ..NodeView::default()
        }
    }

    fn seen(nodes: Vec<NodeView>) -> Result<Survey, Unavailable> {
        let (cluster, conflicts) = ("default".to_owned(), Vec::new());
        let view = ClusterView { schema: Schema, cluster, nodes, conflicts };
        Ok(Survey {
            balancer: Some(([10, 0, 0, 5], 7070).into()),
            balancers: 1,
            document: Document { view, json: String::new() },
            notes: Vec::new(),
        })
    }

    #[test]
    fn a_cluster_in_which_all_serve_is_well() {
        let seen = seen(vec![node("ada", "up", ""), node("bob", "up", "")]);
        let report = report("default", &seen, Some(0));
        assert_eq!(report.status, ClusterStatus::Well);
        insta::assert_snapshot!(screen(&report, false));
    }

    #[test]
    fn a_trouble_that_needs_attention_comes_last() {
        let weak = Pi { under_voltage: Some(true), throttled: Some(true), ..Pi::default() };
        let seen = seen(vec![
            NodeView { pi: Some(weak), ..node("ada", "up", "") },
            node("bob", "draining", "drained here"),
            node("ken", "down", "connection refused on 10.0.0.7:8080, 9 tries"),
            NodeView { since_s: Some(1.0), ..node("tim", "starting", "just seen") },
        ]);
        let report = report("default", &seen, Some(3));
        assert_eq!(report.status, ClusterStatus::Warnings);
        insta::assert_snapshot!(screen(&report, false));
    }

    #[test]
    fn without_a_balancer_or_a_usable_node_it_does_not_serve() {
        let down = seen(vec![node("ken", "down", "silent")]);
        assert_eq!(report("default", &down, Some(0)).status, ClusterStatus::Down);
        assert_eq!(report("default", &seen(Vec::new()), Some(0)).status, ClusterStatus::Down);
        let gone = Err(Unavailable("no network yet: plug in the cable".to_owned()));
        let report = report("red", &gone, None);
        assert_eq!(report.status, ClusterStatus::Down);
        insta::assert_snapshot!(screen(&report, false));
    }

    #[test]
    fn a_school_of_warnings_still_fits_a_screen() {
        let seen = seen((0..30).map(|n| node(&n.to_string(), "down", "silent")).collect());
        assert!(screen(&report("default", &seen, Some(1)), false).lines().count() <= 22);
    }
}
