//! The page of the nodes, rendered whole on the server: it needs no script and asks again by
//! itself.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::teach;
use crate::badge::Badge;
use crate::health::Health;
use crate::html::{Page, escape, grouped, span};
use crate::pool::{Conflict, Member, Pool};

const CSS: &str = include_str!("page.css");
const REFRESH_S: u32 = 2;

pub(super) fn render(cluster: &str, pool: &Pool, now: Duration, failed: u64) -> String {
    let members = pool.members();
    let total: u64 = members.iter().map(|member| member.counters.requests.load(Relaxed)).sum();
    let (numbers, conflicts) = (numbers(pool, total, failed), conflicts(pool));
    let content = if members.is_empty() { empty(cluster) } else { table(members, total, now) };
    let cluster_html = escape(cluster);
    let body = format!(
        "<header><h1>picluster</h1><p>cluster <b>{cluster_html}</b>, up {}</p></header>\n\
         <main>\n{conflicts}{numbers}{content}</main>",
        span(now.as_secs())
    );
    let title = format!("{}/{} up - picluster", up(pool), members.len());
    let icon_href = Badge::of(cluster).icon_href();
    let page = Page {
        title: &title,
        icon_href: &icon_href,
        refresh_s: Some(REFRESH_S),
        css: CSS,
        body: &body,
    };
    page.render()
}

/// The routes that services name in vain.
fn conflicts(pool: &Pool) -> String {
    let line = |conflict: &Conflict| {
        format!("<p class=\"conflict\" role=\"alert\">{}</p>\n", escape(&conflict.to_string()))
    };
    pool.services().conflicts().iter().map(line).collect()
}

/// Nodes that are up, those on trial included.
fn up(pool: &Pool) -> usize {
    pool.members().iter().filter(|member| member.health == Health::Up).count()
}

fn numbers(pool: &Pool, total: u64, failed: u64) -> String {
    let (up, known) = (up(pool), pool.members().len());
    let inflight: u32 = pool.members().iter().map(|m| m.counters.inflight.load(Relaxed)).sum();
    let bad = if failed == 0 { "" } else { " class=\"bad\"" };
    let (failed, total) = (grouped(failed), grouped(total));
    format!(
        "<dl class=\"numbers\">\n\
         <div{bad}><dt>failed requests</dt><dd>{failed}</dd></div>\n\
         <div><dt>nodes up</dt><dd>{up}<small> of {known}</small></dd></div>\n\
         <div><dt>requests served</dt><dd style=\"--n:{}\">{total}</dd></div>\n\
         <div><dt>in flight</dt><dd>{inflight}</dd></div>\n</dl>\n",
        total.len()
    )
}

/// No node yet: say what to do, not what is missing.
fn empty(cluster: &str) -> String {
    format!(
        "<section class=\"empty\">\n<h2>No node yet</h2>\n\
         <p>On another Pi of this network, or on this one, run</p>\n\
         <p><code class=\"command\">{}</code></p>\n\
         <p>It appears here within seconds. Nothing else is to be set up.</p>\n</section>\n",
        escape(&teach::command(cluster))
    )
}

fn table(members: &[std::sync::Arc<Member>], total: u64, now: Duration) -> String {
    let mut html = String::with_capacity(1024 + 1536 * members.len());
    html.push_str(
        "<table>\n<thead><tr><th>Node<th>State<th class=\"n\">Requests<th class=\"n\">In flight\
         <th class=\"n\">Failed tries<th>Address</tr></thead>\n<tbody>\n",
    );
    for member in members {
        row(&mut html, member, total, now);
    }
    html.push_str(
        "</tbody>\n</table>\n<p class=\"note\">A failed try was made again on another node where \
         that is safe; only what a client saw counts as a failed request.</p>\n",
    );
    html
}

fn row(html: &mut String, member: &Member, total: u64, now: Duration) {
    let Member { node, health, counters, .. } = member;
    let (state, shape) = (health.as_str(), shape(*health));
    let (badge, name) = (Badge::of(node.id.as_str()).svg(), escape(&node.name));
    let why = escape(&member.why);
    // A name that begins with the hostname says it already.
    let host = Some(&node.hostname).filter(|host| !node.name.starts_with(host.as_str()));
    let host = host.map_or_else(String::new, |host| format!("<small>{}</small>", escape(host)));
    let since = span(now.saturating_sub(member.since).as_secs());
    let unheard = if member.advertised { "" } else { ", no longer announced" };
    let requests = counters.requests.load(Relaxed);
    let share = requests.saturating_mul(100).checked_div(total).unwrap_or(0);
    let requests = grouped(requests);
    let inflight = counters.inflight.load(Relaxed);
    let (failures, endpoint) = (counters.failures.load(Relaxed), node.endpoint);
    // Writing to a String cannot fail.
    let _ = writeln!(
        html,
        "<tr><th scope=\"row\"><div class=\"node\">{badge}<div>{name}{host}</div></div></th>\
         <td class=\"state {state}\"><svg class=\"sign\" viewBox=\"0 0 20 20\" aria-hidden=\"true\">{shape}</svg>\
         <b>{state}</b> <small>for {since}{unheard}</small><p>{why}</p></td>\
         <td class=\"n\" data-name=\"Requests\"><div>{requests}<small> {share} %</small>\
         <span class=\"bar\"><i style=\"width:{share}%\"></i></span></div></td>\
         <td class=\"n\" data-name=\"In flight\">{inflight}</td>\
         <td class=\"n\" data-name=\"Failed tries\">{failures}</td>\
         <td data-name=\"Address\"><code>{endpoint}</code></td></tr>"
    );
}

/// The state's shape, so that it needs neither colour nor reading.
fn shape(health: Health) -> &'static str {
    match health {
        Health::Up => "<circle cx=\"10\" cy=\"10\" r=\"8\" fill=\"currentColor\"/>",
        Health::Starting => {
            "<circle cx=\"10\" cy=\"10\" r=\"7\" fill=\"none\" stroke=\"currentColor\" \
             stroke-width=\"3\" stroke-dasharray=\"5.5 3.3\"/>"
        }
        Health::Suspect => "<path d=\"M10 1l9.5 17h-19z\" fill=\"currentColor\"/>",
        Health::Ejected => "<path d=\"M10 0l10 10-10 10-10-10z\" fill=\"currentColor\"/>",
        Health::Down => {
            "<path d=\"M3 3l14 14M17 3l-14 14\" stroke=\"currentColor\" stroke-width=\"4.5\"/>"
        }
        Health::Draining => {
            "<path d=\"M2 10a8 8 0 0 0 16 0zM2 6h16v2h-16z\" fill=\"currentColor\"/>"
        }
    }
}
