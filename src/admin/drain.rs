//! Draining on this balancer: the routes of `picluster drain NODE`. They are for programs of this machine
//! alone, which [`LocalOnly`] ensures.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use super::local_only::LocalOnly;
use super::state::Admin;
use crate::cluster::api::{DrainReport, Schema};
use crate::cluster::pool::{Member, Pool};
use crate::discovery::Order;

pub(super) async fn drain(_: LocalOnly, admin: State<Arc<Admin>>, node: Path<String>) -> Response {
    order(&admin, &node, true).await
}

pub(super) async fn undrain(
    _: LocalOnly,
    admin: State<Arc<Admin>>,
    node: Path<String>,
) -> Response {
    order(&admin, &node, false).await
}

async fn order(admin: &Admin, named: &str, drain: bool) -> Response {
    let pool = Arc::clone(&admin.pool.borrow());
    let Some(member) = find(&pool, named) else { return unknown(&pool, named) };
    let id = member.node.id.clone();
    let (done, published) = oneshot::channel();
    let sent = admin.orders.send(Order { id: id.clone(), drain, done }).await;
    if sent.is_err() || published.await.is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "this balancer is about to stop\n")
            .into_response();
    }
    let now = Arc::clone(&admin.pool.borrow());
    let member = now.members().iter().find(|member| member.node.id == id).unwrap_or(member);
    Json(DrainReport {
        schema: Schema,
        id: member.node.id.as_str(),
        name: &member.node.name,
        state: member.health.as_str(),
        why: Some(&member.why),
    })
    .into_response()
}

/// The member of this id or else of this name: no two nodes share either.
fn find<'a>(pool: &'a Pool, named: &str) -> Option<&'a Arc<Member>> {
    let by = |is_it: &dyn Fn(&Member) -> bool| pool.members().iter().find(|m| is_it(m));
    by(&|member| member.node.id.as_str() == named).or_else(|| by(&|m| m.node.name == named))
}

fn unknown(pool: &Pool, named: &str) -> Response {
    let names: Vec<&str> = pool.members().iter().map(|m| m.node.name.as_str()).collect();
    let there_are = match names.as_slice() {
        [] => "no node is known yet".to_owned(),
        names => format!("there are {}", names.join(", ")),
    };
    let named = crate::cluster::node::printable(named, 63);
    (StatusCode::NOT_FOUND, format!("there is no node {named}; {there_are}\n")).into_response()
}
