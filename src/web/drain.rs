//! Draining this node without stopping it: what `picluster drain` asks for on its own Pi. Every
//! balancer honours it, because it hears the same as at a stop. It ends when it is taken back, or
//! with this process.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::routing::{MethodRouter, post};
use serde::Serialize;

use super::Node;
use crate::admin::local_only::LocalOnly;
use crate::cluster::protocol::SCHEMA;

#[derive(Serialize)]
struct Done {
    schema: &'static str,
    id: String,
    name: String,
    /// As its health says from now on.
    state: &'static str,
}

/// The route that drains, or the one that ends it.
pub(super) fn route(drain: bool) -> MethodRouter<Arc<Node>> {
    post(async move |_: LocalOnly, State(node): State<Arc<Node>>| {
        if node.drained.swap(drain, Ordering::Relaxed) != drain {
            tracing::info!("{}", if drain { "drained by hand" } else { "no longer drained" });
        }
        Json(Done {
            schema: SCHEMA,
            id: node.identity.id.to_string(),
            name: node.identity.name.clone(),
            state: node.state().0.as_str(),
        })
    })
}
