//! The routes of a web node: its content, its health, its metrics and its drain.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Json, Router};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::time::timeout;

use super::node::WebNode;
use super::serving::Serving;
use super::{app, drain, metrics, name};
use crate::admin::accept::{Kept, LocalAddr};
use crate::admin::scrape;
use crate::cluster::api::{HealthReport, Schema};
use crate::cluster::protocol::{
    DRAIN_PATH, HEALTH_PATH, METRICS_PATH, NODE_HEADER, PRIVATE_PREFIX, ReportedState,
    STATE_HEADER, UNDRAIN_PATH,
};

/// The most time for the body of a request, however it trickles in.
const BODY_MAX: Duration = Duration::from_secs(10);

/// The longest nonce that is echoed.
const NONCE_BYTES_MAX: usize = 64;

/// The router of the node. Its own routes go before its content.
pub(super) fn router(node: Arc<WebNode>) -> Router {
    let ours = Router::new()
        .route(HEALTH_PATH, get(health))
        .route(METRICS_PATH, get(scrape))
        .route(DRAIN_PATH, drain::route(true))
        .route(UNDRAIN_PATH, drain::route(false));
    let sign = from_fn_with_state(Arc::clone(&node), sign);
    let router = match node.serving {
        Serving::Name | Serving::Direct(_) => {
            ours.route("/", any(name)).fallback(not_found).layer(sign)
        }
        Serving::Files(_) | Serving::Front(_) => ours.layer(sign).fallback(content),
    };
    router.with_state(node)
}

/// Answers with the content in place of the name. The answer is not signed: a file has headers of its own,
/// and so has an application.
async fn content(
    State(node): State<Arc<WebNode>>,
    Extension(kept): Extension<Kept>,
    request: Request,
) -> Response {
    if request.uri().path().starts_with(PRIVATE_PREFIX) {
        return not_found().await.into_response();
    }
    let _in_flight = node.requests.begin();
    let mut answer = match &node.serving {
        Serving::Files(files) => match read_in_time(request).await {
            Ok(request) => files.answer(&request.into_parts().0).await,
            Err(late) => late,
        },
        Serving::Front(app) => app::pass_on(app, &kept, request).await,
        Serving::Name | Serving::Direct(_) => return not_found().await.into_response(),
    };
    node.requests.answered.add(answer.status().as_u16());
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        report_draining(&node, answer.headers_mut());
    }
    answer
}

/// The page of the name, for every method: a person who tries out how a POST is balanced wants to see
/// which node answered it.
async fn name(
    State(node): State<Arc<WebNode>>,
    ConnectInfo(LocalAddr(local)): ConnectInfo<LocalAddr>,
    headers: HeaderMap,
) -> Response {
    name::answer(&node, local, &headers)
}

#[derive(Deserialize)]
struct Echo {
    nonce: Option<String>,
}

/// Reports the health of the node. A 503 takes it out of every balancer's rotation.
async fn health(
    State(node): State<Arc<WebNode>>,
    echo: Result<Query<Echo>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let (state, why) = node.state();
    let status =
        if state == ReportedState::Up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // A query that cannot be read asks for no echo; the health does not depend on it.
    let nonce = echo.ok().and_then(|Query(echo)| echo.nonce).filter(|nonce| {
        nonce.len() <= NONCE_BYTES_MAX && nonce.bytes().all(|b| b.is_ascii_graphic())
    });
    let identity = &node.identity;
    let health = HealthReport {
        schema: Schema,
        id: identity.id.as_str(),
        name: &identity.name,
        boot: identity.boot.to_string(),
        state: state.as_str(),
        cluster: &node.cluster,
        answers: why.is_some().then(|| node.serving.app().is_some_and(|app| app.answers())),
        why,
        pi: node.board.health(),
        nonce,
    };
    (status, Json(health)).into_response()
}

async fn scrape(State(node): State<Arc<WebNode>>, headers: HeaderMap) -> Response {
    scrape::answer(&headers, move |families| metrics::write(families, &node))
}

async fn not_found() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, "not found: this node serves only /\n")
}

/// Reads the body and drops it piece by piece. If it were not read, the server would close the connection
/// after the answer, and a client that still sends the body could lose the answer.
async fn read_in_time(request: Request) -> Result<Request, Response> {
    let (parts, mut body) = request.into_parts();
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    timeout(BODY_MAX, read).await.map_err(|_| StatusCode::REQUEST_TIMEOUT.into_response())?;
    Ok(Request::from_parts(parts, Body::empty()))
}

/// Signs every answer of the node itself: with its name, with the demand not to keep it (a phone that shows
/// a kept answer "proves" that balancing fails), and while draining with the end of the connection.
async fn sign(State(node): State<Arc<WebNode>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let counted = !path.starts_with(PRIVATE_PREFIX);
    let _in_flight = counted.then(|| node.requests.begin());
    let mut answer = match read_in_time(request).await {
        Ok(request) => next.run(request).await,
        Err(late) => late,
    };
    if counted {
        node.requests.answered.add(answer.status().as_u16());
    }
    let headers = answer.headers_mut();
    if let Ok(name) = HeaderValue::from_str(&node.identity.name) {
        headers.insert(NODE_HEADER, name);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    report_draining(&node, headers);
    answer
}

/// Marks an answer of a node that drains: its connection ends with it.
fn report_draining(node: &WebNode, headers: &mut HeaderMap) {
    if node.is_draining() {
        let state = ReportedState::Draining.as_str();
        headers.insert(STATE_HEADER, HeaderValue::from_static(state));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}
