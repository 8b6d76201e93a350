//! What a web node answers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::time::timeout;

use super::accepts::Form;
use super::{Content, Node, drain, facts, front, metrics, page};
use crate::admin::accept::LocalAddr;
use crate::cluster::api::{HealthReport, Schema};
use crate::cluster::protocol::{
    DRAIN_PATH, HEALTH_PATH, METRICS_PATH, NODE_HEADER, PRIVATE_PREFIX, ReportedState,
    STATE_HEADER, UNDRAIN_PATH,
};
use crate::telemetry::exposition;

/// The body of a request may take this long. Bytes that trickle in are no excuse.
const BODY_MAX: Duration = Duration::from_secs(10);

/// The longest nonce that is echoed.
const NONCE_BYTES_MAX: usize = 64;

pub(super) fn router(node: Arc<Node>) -> Router {
    let ours = Router::new()
        .route(HEALTH_PATH, get(health))
        .route(METRICS_PATH, get(scrape))
        .route(DRAIN_PATH, drain::route(true))
        .route(UNDRAIN_PATH, drain::route(false));
    let sign = from_fn_with_state(Arc::clone(&node), sign);
    let router = match node.content {
        None => ours.route("/", any(name)).fallback(nothing).layer(sign),
        Some(_) => ours.layer(sign).fallback(content),
    };
    router.with_state(node)
}

/// What is served in place of the name. It is signed by whoever made it.
async fn content(State(node): State<Arc<Node>>, request: Request) -> Response {
    if request.uri().path().starts_with(PRIVATE_PREFIX) {
        return nothing().await.into_response();
    }
    let _under_way = node.begin();
    let mut answer = match &node.content {
        Some(Content::Dir(dir)) => match read_in_time(request).await {
            Ok(request) => dir.answer(&request.into_parts().0).await,
            Err(late) => late,
        },
        Some(Content::Front(app)) => front::pass_on(app, request).await,
        None => return nothing().await.into_response(),
    };
    node.answered.classes.add(answer.status().as_u16());
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        say_whether_draining(&node, answer.headers_mut());
    }
    answer
}

/// The page of the name in the form the client accepts. Whatever the method: who tries out how a POST
/// is balanced wants to see who answered it.
async fn name(
    State(node): State<Arc<Node>>,
    ConnectInfo(LocalAddr(local)): ConnectInfo<LocalAddr>,
    headers: HeaderMap,
) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let gathered = || facts::gather(&node, local, text(header::VIA));
    // All lines of a list header are one list (RFC 9110 5.3).
    let accept: Vec<_> =
        headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let answer = match Form::wanted(&accept.join(",")) {
        Form::Text => format!("{}\n", node.identity.title).into_response(),
        Form::Json => Json(gathered()).into_response(),
        Form::Html => Html(page::render(&node.identity.title, &gathered())).into_response(),
    };
    ([(header::VARY, "accept")], answer).into_response()
}

#[derive(Deserialize)]
struct Asked {
    nonce: Option<String>,
}

/// How the node is. 503 takes it out of every balancer's rotation.
async fn health(
    State(node): State<Arc<Node>>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let (state, why) = node.state();
    let status =
        if state == ReportedState::Up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // A query nobody can read asks for no echo; how the node is does not depend on it.
    let nonce = asked.ok().and_then(|Query(asked)| asked.nonce).filter(|nonce| {
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
        answers: why.is_some().then(|| node.app.as_ref().is_some_and(|app| app.answers())),
        why,
        pi: node.board.health(),
        nonce,
    };
    (status, Json(health)).into_response()
}

async fn scrape(State(node): State<Arc<Node>>, headers: HeaderMap) -> Response {
    exposition::answer(&headers, move |families| metrics::tell(families, &node))
}

async fn nothing() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, "not found: this node serves only /\n")
}

/// Reads the body and drops it piece by piece. An answer to an unread body makes the server close the
/// connection, and who has sent the body may lose the answer.
async fn read_in_time(request: Request) -> Result<Request, Response> {
    let (parts, mut body) = request.into_parts();
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    timeout(BODY_MAX, read).await.map_err(|_| StatusCode::REQUEST_TIMEOUT.into_response())?;
    Ok(Request::from_parts(parts, Body::empty()))
}

/// What every answer carries: who gave it, that it must not be kept (a phone that shows a kept one
/// "proves" that balancing fails), and while draining that the connection ends with it.
async fn sign(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let counted = !path.starts_with(PRIVATE_PREFIX);
    let _under_way = counted.then(|| node.begin());
    let mut answer = match read_in_time(request).await {
        Ok(request) => next.run(request).await,
        Err(late) => late,
    };
    if counted {
        node.answered.classes.add(answer.status().as_u16());
    }
    let headers = answer.headers_mut();
    if let Ok(name) = HeaderValue::from_str(&node.identity.name) {
        headers.insert(NODE_HEADER, name);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    say_whether_draining(&node, headers);
    answer
}

fn say_whether_draining(node: &Node, headers: &mut HeaderMap) {
    if node.is_draining() {
        let state = ReportedState::Draining.as_str();
        headers.insert(STATE_HEADER, HeaderValue::from_static(state));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}
