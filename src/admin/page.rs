//! The page of the nodes. The server renders it whole, so that it needs no script. Where scripts run,
//! `page.js` fills the same places (`data-f`) with the values of the events, and fetches this page again
//! for the row of a node that is new to it. So each piece of markup is written once.

use std::fmt::Write;

use super::empty_cluster_page;
use super::minute::BEATS;
use crate::cluster::api::{Beat, Beats, ConflictReport, JournalLine, LiveReport, NodeReport};
use crate::cluster::health::Health;
use crate::pages::badge::Badge;
use crate::pages::html::{Page, escape, grouped, span};

const CSS: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Seconds between two loads where no script runs.
const REFRESH_S: u32 = 2;

/// The reader of the page.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// Reads it from the back of a classroom.
    pub(super) kiosk: bool,
    /// Is on this machine, and may drain nodes.
    pub(super) may_act: bool,
}

pub(super) fn render(live: &LiveReport, look: Look) -> String {
    let nodes = &live.cluster.nodes;
    let cluster = &live.cluster.cluster;
    let (cluster_html, up) = (escape(cluster), count(nodes, Health::Up));
    let newest = live.journal.last().map_or(0, |line| line.number);
    let kiosk = if look.kiosk { " class=\"kiosk\"" } else { "" };
    let body = format!(
        "<div id=\"page\"{kiosk} data-newest=\"{newest}\">\n{SIGNS}\
         <header><h1>picluster</h1><p>cluster <b>{cluster_html}</b>, up <span id=\"uptime\">{}</span></p>\
         <p id=\"line\" hidden></p></header>\n<main>\n{}{}{}{}{}</main>\n\
         <p id=\"said\" class=\"unseen\" role=\"status\" aria-live=\"polite\"></p>\n</div>",
        span(live.cluster.uptime_s),
        conflicts(&live.cluster.conflicts),
        numbers(live),
        empty(cluster, nodes.is_empty()),
        table(nodes, look),
        journal(&live.journal),
    );
    let page = Page {
        title: &format!("{up}/{} up - picluster", nodes.len()),
        icon_href: &Badge::of(cluster).icon_href(),
        refresh_s: Some(REFRESH_S),
        script: Some(SCRIPT),
        css: CSS,
        body: &body,
    };
    page.render()
}

/// The shape of each state, so that it needs neither colour nor reading.
const SIGNS: &str = concat!(
    "<svg width=\"0\" height=\"0\" class=\"unseen\" aria-hidden=\"true\">",
    "<symbol id=\"s-up\" viewBox=\"0 0 20 20\"><circle cx=\"10\" cy=\"10\" r=\"8.5\" fill=\"currentColor\"/></symbol>",
    "<symbol id=\"s-starting\" viewBox=\"0 0 20 20\"><circle cx=\"10\" cy=\"10\" r=\"7.5\" fill=\"none\" ",
    "stroke=\"currentColor\" stroke-width=\"3\" stroke-dasharray=\"5.5 3.3\"/></symbol>",
    "<symbol id=\"s-suspect\" viewBox=\"0 0 20 20\"><path d=\"M10 1l9.5 17H.5z\" fill=\"currentColor\"/></symbol>",
    "<symbol id=\"s-ejected\" viewBox=\"0 0 20 20\"><path d=\"M10 0l10 10-10 10L0 10z\" fill=\"currentColor\"/></symbol>",
    "<symbol id=\"s-down\" viewBox=\"0 0 20 20\"><path d=\"M3 3l14 14M17 3L3 17\" stroke=\"currentColor\" ",
    "stroke-width=\"4.5\"/></symbol>",
    "<symbol id=\"s-draining\" viewBox=\"0 0 20 20\"><path d=\"M2 10a8 8 0 0 0 16 0zM2 6h16v2H2z\" ",
    "fill=\"currentColor\"/></symbol></svg>\n",
);

fn count(nodes: &[NodeReport], health: Health) -> usize {
    nodes.iter().filter(|node| node.state == health).count()
}

/// The routes that services name and do not get.
fn conflicts(conflicts: &[ConflictReport]) -> String {
    let line = |conflict: &ConflictReport| format!("<li>{}</li>", escape(&conflict.text));
    let lines: String = conflicts.iter().map(line).collect();
    let hide = hidden(conflicts.is_empty());
    format!("<ul id=\"conflicts\" role=\"alert\"{hide}>{lines}</ul>\n")
}

fn numbers(live: &LiveReport) -> String {
    let nodes = &live.cluster.nodes;
    let failed = live.cluster.requests_failed;
    let bad = if failed == 0 { "" } else { " class=\"bad\"" };
    let rate: f64 = nodes.iter().map(|node| node.rate).sum();
    let served = grouped(live.cluster.requests_served);
    let inflight = grouped(nodes.iter().map(|node| u64::from(node.inflight)).sum());
    format!(
        "<dl class=\"numbers\">\n\
         <div id=\"failed\"{bad}><dt>failed requests since the start</dt><dd>{}</dd></div>\n\
         <div><dt>nodes up</dt><dd><span id=\"up\">{}</span><small> of <span id=\"known\">{}</span></small></dd></div>\n\
         <div><dt>requests a second</dt><dd id=\"rate\">{}</dd></div>\n\
         <div><dt>requests served</dt><dd id=\"served\" style=\"--n:{}\">{served}</dd></div>\n\
         <div><dt>in flight</dt><dd id=\"inflight\">{inflight}</dd></div>\n</dl>\n",
        grouped(failed),
        count(nodes, Health::Up),
        nodes.len(),
        number(rate),
        served.len(),
    )
}

/// Without a node the page shows the next step, not what is missing.
fn empty(cluster: &str, shown: bool) -> String {
    format!(
        "<section id=\"empty\"{}>\n<h2>No node yet</h2>\n\
         <p>On another Pi of this network, or on this one, run</p>\n\
         <p><code class=\"command\">{}</code></p>\n\
         <p>It appears here within seconds. Nothing else has to be set up.</p>\n</section>\n",
        hidden(!shown),
        escape(&empty_cluster_page::command(cluster))
    )
}

fn hidden(hidden: bool) -> &'static str {
    if hidden { " hidden" } else { "" }
}

/// The roles are those that a table has anyway: browsers forget them where the style makes cards of its
/// rows.
fn table(nodes: &[NodeReport], look: Look) -> String {
    let mut html = String::with_capacity(1024 + 3072 * nodes.len());
    let hide = hidden(nodes.is_empty());
    let act = if look.may_act { "<th role=\"columnheader\" class=\"act\">Act" } else { "" };
    // Writing to a String cannot fail.
    let _ = write!(
        html,
        "<section id=\"known-nodes\"{hide} aria-label=\"Nodes\">\n<table role=\"table\">\n\
         <thead role=\"rowgroup\"><tr role=\"row\"><th role=\"columnheader\">Node\
         <th role=\"columnheader\">State<th role=\"columnheader\">Last minute\
         <th role=\"columnheader\" class=\"n\">Latency<th role=\"columnheader\" class=\"n\">Requests\
         <th role=\"columnheader\">Board{act}</tr></thead>\n<tbody role=\"rowgroup\" id=\"nodes\">\n"
    );
    for node in nodes {
        row(&mut html, node, look);
    }
    html.push_str(
        "</tbody>\n</table>\n<p class=\"note\">A second of the last minute: \
         <span class=\"key a\">answered</span> <span class=\"key f\">a failed try</span> \
         <span class=\"key i\">idle</span> <span class=\"key o\">out of the rotation</span></p>\n\
         <p class=\"note\">Shares are of the last 10 s, and so are the times within which half (p50) \
         and 99 of 100 (p99) of the answers began. A failed try was made again on another node \
         where that is safe; only what a client saw counts as a failed request.</p>\n</section>\n",
    );
    html
}

fn row(html: &mut String, node: &NodeReport, look: Look) {
    let (id, name, state) = (&node.id, escape(&node.name), node.state.as_str());
    let _ =
        write!(html, "<tr role=\"row\" class=\"{state}\" data-id=\"{id}\" data-name=\"{name}\">");
    name_cell(html, node);
    state_cell(html, node);
    minute_cell(html, node);
    number_cells(html, node);
    board_cell(html, node);
    if look.may_act {
        act_cell(html, node);
    }
    html.push_str("</tr>\n");
}

fn name_cell(html: &mut String, node: &NodeReport) {
    let (badge, name) = (Badge::of(&node.id).svg(), escape(&node.name));
    // A name that begins with the hostname already shows it.
    let host = Some(&node.hostname).filter(|host| !node.name.starts_with(host.as_str()));
    let host = host.map_or_else(String::new, |host| format!("<small>{}</small>", escape(host)));
    let _ = write!(
        html,
        "<th role=\"rowheader\" scope=\"row\"><div class=\"node\">{badge}<div>{name}{host}\
         <small data-f=\"serves\"{}>{}</small>\
         <code data-f=\"endpoint\">{}</code></div></div></th>",
        hidden(node.serves.is_none()),
        escape(node.serves.as_deref().unwrap_or_default()),
        node.endpoint,
    );
}

fn state_cell(html: &mut String, node: &NodeReport) {
    let state = node.state.as_str();
    let _ = write!(
        html,
        "<td role=\"cell\" class=\"state\"><svg class=\"sign\" aria-hidden=\"true\"><use href=\"#s-{state}\"/></svg>\
         <b data-f=\"state\">{state}</b> <small>for <span data-f=\"since\">{}</span>\
         <span data-f=\"unheard\"{}>, no longer announced</span></small> \
         <span class=\"chip\" data-f=\"weight_why\"{}>{}</span><p data-f=\"why\">{}</p></td>",
        span(node.since_s as u64),
        hidden(node.advertised),
        hidden(node.weight_why.is_none()),
        node.weight_why.as_deref().unwrap_or_default(),
        escape(&node.why),
    );
}

fn minute_cell(html: &mut String, node: &NodeReport) {
    let _ = write!(
        html,
        "<td role=\"cell\" class=\"minute\"><svg class=\"beats\" viewBox=\"0 0 {BEATS} 10\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\"{}\">",
        beats_in_words(&node.beats),
    );
    for beat in Beat::ALL {
        let path = beats_path(&node.beats, beat);
        let _ = write!(html, "<path class=\"{}\" d=\"{path}\"/>", beat.letter());
    }
    let share = node.share.map(|share| (share * 100.0).round());
    let _ = write!(
        html,
        "</svg><div class=\"flow\"><b><span data-f=\"rate\">{}</span><small> req/s</small></b>\
         <span class=\"bar\"><i data-f=\"share-bar\" style=\"width:{}%\"></i></span>\
         <span data-f=\"share\">{}</span></div></td>",
        number(node.rate),
        share.unwrap_or(0.0),
        share.map_or_else(|| "-".to_owned(), |share| format!("{share} %")),
    );
}

/// The latency and the requests.
fn number_cells(html: &mut String, node: &NodeReport) {
    let _ = write!(
        html,
        "<td role=\"cell\" class=\"n\" data-name=\"Latency\"><div><span class=\"pair\"><small>p50</small> <span data-f=\"p50\">{}</span></span>\
         <span class=\"pair\"><small>p99</small> <span data-f=\"p99\">{}</span></span></div></td>\
         <td role=\"cell\" class=\"n\" data-name=\"Requests\"><div><span data-f=\"requests\">{}</span>\
         <small><span data-f=\"inflight\">{}</span> in flight</small>\
         <small data-f=\"failures\"{}>{}</small></div></td>",
        millis(node.p50_ms),
        millis(node.p99_ms),
        grouped(node.requests),
        node.inflight,
        hidden(node.failures == 0),
        failures(node.failures),
    );
}

fn board_cell(html: &mut String, node: &NodeReport) {
    html.push_str(
        "<td role=\"cell\" class=\"board\" data-name=\"Board\"><div><ul data-f=\"board\">",
    );
    for note in &node.board {
        let _ = write!(html, "<li class=\"{}\">{}", note.level.as_str(), escape(&note.text));
    }
    let model = node.pi.as_ref().and_then(|pi| pi.model.as_deref());
    let model_html = escape(model.unwrap_or_default());
    let _ = write!(html, "</ul><small data-f=\"model\">{model_html}</small></div></td>");
}

fn act_cell(html: &mut String, node: &NodeReport) {
    let draining = node.state == Health::Draining;
    let (undrain, drain) = (hidden(!draining), hidden(draining));
    let _ = write!(
        html,
        "<td role=\"cell\" class=\"act\"><button type=\"button\" data-do=\"drain\"{drain}>Drain</button>\
         <button type=\"button\" data-do=\"undrain\"{undrain}>Undrain</button>\
         <small role=\"alert\"></small></td>"
    );
}

fn journal(lines: &[JournalLine]) -> String {
    let mut html = format!(
        "<section id=\"journal\"{}>\n<h2>What happened</h2>\n<ol id=\"log\">\n",
        hidden(lines.is_empty())
    );
    for JournalLine { ago_s, node, what, detail, warning, .. } in lines.iter().rev() {
        let (class, ago) = (if *warning { " class=\"warn\"" } else { "" }, span(*ago_s));
        let (node, detail) = (escape(node), escape(detail));
        let _ = writeln!(
            html,
            "<li{class}><time>{ago} ago</time><b>{node}</b> <span>{what}</span> <small>{detail}</small></li>"
        );
    }
    html.push_str("</ol>\n</section>\n");
    html
}

/// A rate for people: with tenths only while they matter.
fn number(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { grouped(rate.round() as u64) }
}

fn millis(ms: Option<f64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) => format!("{} ms", grouped(ms.round() as u64)),
    }
}

fn failures(count: u64) -> String {
    let tries = if count == 1 { "try" } else { "tries" };
    format!("{} failed {tries}", grouped(count))
}

/// One rectangle a beat, the newest at the right: each kind has a height of its own, so that it can be
/// told apart without colour.
fn beats_path(beats: &Beats, kind: Beat) -> String {
    let (top, height) = match kind {
        Beat::Answered => (1, 8),
        Beat::Failed => (0, 10),
        Beat::Idle => (4, 2),
        Beat::Out => (8, 1),
    };
    let mut path = String::new();
    let first = BEATS - beats.0.len();
    for (at, _) in beats.0.iter().enumerate().filter(|(_, beat)| **beat == kind) {
        let _ = write!(path, "M{} {top}h.7v{height}h-.7z", first + at);
    }
    path
}

/// The same for a reader who cannot see it.
fn beats_in_words(beats: &Beats) -> String {
    let count = |kind| beats.0.iter().filter(|beat| **beat == kind).count();
    format!(
        "the last {} s: answered in {}, failed tries in {}, idle in {}, out of the rotation in {}",
        beats.0.len(),
        count(Beat::Answered),
        count(Beat::Failed),
        count(Beat::Idle),
        count(Beat::Out)
    )
}
