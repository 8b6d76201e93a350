//! The answer to a request that no route takes: a list of the routes of this network.

use std::borrow::Cow;

use crate::cluster::pool::Pool;
use crate::cluster::route::Route;
use crate::pages::badge::Badge;
use crate::pages::html::{Page, escape};

const CSS: &str = include_str!("no_route_page.css");

/// The list for `curl`: a route and its service a line.
pub(super) fn text(pool: &Pool) -> String {
    let line = |(route, service): (&Route, &str)| format!("  {route}  ({service})\n");
    let lines: String = pool.services().routes().map(line).collect();
    format!("What this network serves:\n{lines}")
}

/// The list for browsers, as links. A path alone is one at the host that was asked for; other hosts are
/// at the same `port`, as `:8000`, or nothing.
pub(super) fn html(pool: &Pool, port: &str) -> String {
    let item = |(route, path, service): (&Route, Cow<'_, str>, &str)| {
        let host = route.host.as_ref().map_or_else(String::new, |host| format!("//{host}{port}"));
        let (href, route, service) = (format!("{host}{path}"), route.to_string(), escape(service));
        let (href, route) = (escape(&href), escape(&route));
        format!("<li><a href=\"{href}\">{route}</a> <small>{service}</small></li>\n")
    };
    let items: String = pool.services().links().map(item).collect();
    let body = format!(
        "<main>\n<h1>Nothing is served at this address</h1>\n\
         <p>These are the applications of this network:</p>\n<ul>\n{items}</ul>\n</main>"
    );
    let page = Page {
        title: "Nothing is served at this address - picluster",
        icon_href: &Badge::of("picluster").icon_href(),
        refresh_s: None,
        script: None,
        css: CSS,
        body: &body,
    };
    page.render()
}
