//! The balancer's own page and API, on the admin port and never in the URL space of the applications.
//! It shows the published pool and the counts of the workers, and decides nothing.

pub mod accept;
mod board;
mod drain;
pub mod empty_cluster_page;
mod events;
mod live;
pub mod local_only;
mod metrics;
mod minute;
mod page;
mod report;
pub(crate) mod scrape;
pub mod serve;
mod state;
mod targets;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

pub use self::events::sample;
pub use self::live::Live;
use self::local_only::LocalOnly;
pub use self::state::Admin;
use crate::cluster::protocol::{COUNTS_PATH, EVENTS_PATH, NODES_PATH};

/// The page is one file, and its script asks nobody but this balancer for anything.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'";

/// The routes of the admin port. Everybody on the network may read; only a program of this machine may
/// act, see [`local_only`].
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(index))
        .route(NODES_PATH, get(nodes))
        .route(EVENTS_PATH, get(events))
        .route(COUNTS_PATH, get(counts))
        .route("/metrics", get(metrics))
        .route("/prometheus/targets", get(targets))
        .route(&format!("{NODES_PATH}/{{node}}/drain"), post(drain::drain))
        .route(&format!("{NODES_PATH}/{{node}}/undrain"), post(drain::undrain))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .fallback(async || (StatusCode::NOT_FOUND, "not found; the page is at /\n"))
        .layer(map_response(fresh))
        .with_state(Arc::new(admin))
}

async fn index(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
    local_only: Result<LocalOnly, (StatusCode, &'static str)>,
) -> Html<String> {
    let kiosk = uri.query().is_some_and(|query| query.split('&').any(|word| word == "kiosk"));
    let may_act = local_only.is_ok();
    Html(page::render(&report::live(&admin), page::Look { kiosk, may_act }))
}

async fn nodes(State(admin): State<Arc<Admin>>) -> Response {
    Json(report::cluster(&admin)).into_response()
}

async fn events(State(admin): State<Arc<Admin>>) -> Response {
    events::events(&admin)
}

async fn counts(State(admin): State<Arc<Admin>>) -> Response {
    Json(report::counts(&admin.counts)).into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let (pool, counts) = (Arc::clone(&admin.pool.borrow()), Arc::clone(&admin.counts));
    scrape::answer(&headers, move |families| metrics::write(families, &pool, &counts))
}

async fn targets(State(admin): State<Arc<Admin>>) -> Response {
    let pool = Arc::clone(&admin.pool.borrow());
    Json(targets::targets(&admin.cluster, &pool)).into_response()
}

/// Ready means that a request sent to the balancer now would find a node.
async fn ready(State(admin): State<Arc<Admin>>) -> (StatusCode, &'static str) {
    let (usable, known) = {
        let pool = admin.pool.borrow();
        (!pool.usable().is_empty(), !pool.members().is_empty())
    };
    match (admin.shutdown.is_requested(), usable, known) {
        (true, ..) => (StatusCode::SERVICE_UNAVAILABLE, "this balancer is about to stop\n"),
        (false, true, _) => (StatusCode::OK, "ready\n"),
        (false, false, true) => {
            (StatusCode::SERVICE_UNAVAILABLE, "none of the known nodes is up\n")
        }
        (false, false, false) => (StatusCode::SERVICE_UNAVAILABLE, "no node is known yet\n"),
    }
}

/// Adds the headers of every answer: an answer of a moment ago is wrong already, and no other page may
/// frame it or guess its type.
async fn fresh(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests;
