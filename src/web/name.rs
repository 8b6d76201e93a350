//! The page of the node's name, which a node without content of its own serves: as text, as JSON or as
//! HTML, in the form that the client accepts.

mod accept;
mod facts;
mod page;

use std::net::SocketAddr;

use axum::Json;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};

use self::accept::Representation;
use super::node::WebNode;

/// Answers a request for `/` that arrived at the address `local`.
pub(super) fn answer(node: &WebNode, local: Option<SocketAddr>, headers: &HeaderMap) -> Response {
    let facts = || facts::gather(node, local, headers);
    // All lines of a list header are one list (RFC 9110 section 5.3).
    let accept: Vec<_> =
        headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let answer = match Representation::preferred(&accept.join(",")) {
        Representation::Text => format!("{}\n", node.identity.title).into_response(),
        Representation::Json => Json(facts()).into_response(),
        Representation::Html => Html(page::render(&node.identity.title, &facts())).into_response(),
    };
    ([(header::VARY, "accept")], answer).into_response()
}
