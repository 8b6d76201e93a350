//! Draining this node without stopping it: what `picluster drain` asks for on its own Pi. Every
//! balancer honours it, because it hears the same as at a stop. It ends when it is taken back, or
//! with this process.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, post};

use super::Node;
use crate::admin::local_only::LocalOnly;
use crate::cluster::api::{DrainReport, Schema};

/// The route that drains, or the one that ends it.
pub(super) fn route(drain: bool) -> MethodRouter<Arc<Node>> {
    post(async move |_: LocalOnly, State(node): State<Arc<Node>>| {
        if node.drained.swap(drain, Ordering::Relaxed) != drain {
            tracing::info!("{}", if drain { "drained by hand" } else { "no longer drained" });
        }
        let report = DrainReport {
            schema: Schema,
            id: node.identity.id.as_str(),
            name: &node.identity.name,
            state: node.state().0.as_str(),
            why: None,
        };
        Json(report).into_response()
    })
}
