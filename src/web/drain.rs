//! The routes that drain this node without stopping it, for `picluster drain` on the same machine. Every
//! balancer honours that, because the health answer is the same as at a stop. It lasts until it is taken
//! back, or until this process ends.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, post};

use super::node::WebNode;
use crate::admin::local_only::LocalOnly;
use crate::cluster::api::{DrainReport, Schema};

/// The route that drains the node, or the one that ends that.
pub(super) fn route(drain: bool) -> MethodRouter<Arc<WebNode>> {
    post(async move |_: LocalOnly, State(node): State<Arc<WebNode>>| {
        if node.drain_by_hand(drain) != drain {
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
