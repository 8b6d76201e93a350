//! Draining this node without stopping it: what `picluster drain` asks for on its own Pi. Every
//! balancer honours it, because it hears the same as at a stop. It ends when it is taken back, or
//! with this process.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::routing::{MethodRouter, post};
use serde::Serialize;

use super::node::WebNode;
use crate::admin::local_only::LocalOnly;

#[derive(Serialize)]
struct Done {
    schema: &'static str,
    id: String,
    name: String,
    /// As its health says from now on.
    state: &'static str,
}

/// The route that drains, or the one that ends it.
pub(super) fn route(drain: bool) -> MethodRouter<Arc<WebNode>> {
    post(async move |_: LocalOnly, State(node): State<Arc<WebNode>>| {
        if node.drain_by_hand(drain) != drain {
            tracing::info!("{}", if drain { "drained by hand" } else { "no longer drained" });
        }
        Json(Done {
            schema: "picluster/1",
            id: node.identity.id.to_string(),
            name: node.identity.name.clone(),
            state: node.state().0,
        })
    })
}
