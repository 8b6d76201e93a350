//! The proxy in front of an application: requests come here and go on over loopback, answers flow back, and
//! the bytes after a 101 go both ways.
//!
//! Each request has a connection of its own. The application may close a kept connection at the moment it
//! is used, and then it is unknown whether it received a POST; over loopback a new connection costs a tenth
//! of a millisecond. Only a login that is bound to its connection (NTLM, Negotiate) takes several requests
//! on one: that connection is kept for the client's, alone, and ends with it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::application::App;
use crate::admin::accept::Kept;
use crate::cluster::protocol::{ReportedState, STATE_HEADER};
use crate::http1::is_bound_login;
use crate::http1::limits::HEAD_BYTES_MAX;

/// The most time to connect. Over loopback an application that does not accept within it has a full queue.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// With a 503 this header reports that the application has seen nothing of the request, with a 502 that it
/// went away over it.
const APP_DOWN: (&str, &str) = (STATE_HEADER, ReportedState::AppDown.as_str());

/// The headers of one connection, which are not passed on (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Sends a request to the application and returns the answer, or the node's own if there is none.
///
/// `kept` belongs to the client's connection: there the connection of a login waits for the next request.
pub(in crate::web) async fn pass_on(app: &Arc<App>, kept: &Kept, request: Request) -> Response {
    let at = app.address();
    let requests = match connection(at, kept).await {
        Ok(requests) => requests,
        Err(error) => {
            // The application has received nothing of the request: a balancer asks another node.
            app.lost(format!("no connection to {at}: {error}"));
            let text = format!("the application on this node takes no connection: {error}\n");
            return (StatusCode::SERVICE_UNAVAILABLE, [APP_DOWN], text).into_response();
        }
    };
    exchange(at, requests, kept, request).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the application did not answer");
        let text = format!("the application on this node does not answer: {error}\n");
        if error.kind() == io::ErrorKind::InvalidData {
            return (StatusCode::BAD_GATEWAY, text).into_response();
        }
        (StatusCode::BAD_GATEWAY, [APP_DOWN], text).into_response()
    })
}

/// The sender of requests over one connection to the application.
struct Requests {
    sender: SendRequest<Body>,
    /// A login is bound to the connection.
    pinned: bool,
}

/// The connection that is kept for this client's, if it lives, else a new one.
async fn connection(at: SocketAddr, kept: &Kept) -> io::Result<Requests> {
    if let Some(mut sender) = kept.take::<SendRequest<Body>>()
        && sender.ready().await.is_ok()
    {
        return Ok(Requests { sender, pinned: true });
    }
    let stream = connect(at).await?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // It ends with the answer, with the client's connection if it is kept for that, or when the request is
    // dropped because the client has left.
    tokio::spawn(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(Requests { sender, pinned: false })
}

async fn connect(at: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_MAX, TcpStream::connect(at)).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no connection to {at} in time"))
    })??;
    // An error means that the connection has ended already, which sending the request reports.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn exchange(
    at: SocketAddr,
    requests: Requests,
    kept: &Kept,
    mut request: Request,
) -> io::Result<Response> {
    let Requests { mut sender, pinned } = requests;
    let pinned = pinned || carries_login(request.headers());
    let protocol = upgrade(request.headers());
    let wants_trailers = wants_trailers(&request);
    let client = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
    let request = onward(at, request, protocol.as_ref(), pinned)?;
    let mut answer = sender.send_request(request).await.map_err(|error| {
        let invalid = error.is_parse() || error.is_parse_too_large() || error.is_parse_status();
        let kind = if invalid { io::ErrorKind::InvalidData } else { io::ErrorKind::Other };
        io::Error::new(kind, error)
    })?;
    let is_chunked = answer.headers().contains_key(header::TRANSFER_ENCODING);
    if is_chunked && answer.headers().contains_key(header::CONTENT_LENGTH) {
        let text = "its answer is not valid HTTP: it has a length and a coding";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if pinned {
        // It takes the next request once the body of this answer has gone.
        kept.keep(sender);
    }
    let switched =
        upgrade(answer.headers()).filter(|_| answer.status() == StatusCode::SWITCHING_PROTOCOLS);
    let tunnel = switched.is_some().then(|| hyper::upgrade::on(&mut answer));
    strip(answer.headers_mut());
    if !(is_chunked && wants_trailers) {
        answer.headers_mut().remove(header::TRAILER);
    }
    if let (Some(client), Some(tunnel), Some(protocol)) = (client, tunnel, switched) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        answer.headers_mut().insert(header::UPGRADE, protocol);
        tokio::spawn(join(client, tunnel));
    }
    Ok(answer.map(Body::new))
}

/// The request in the form that the application gets.
fn onward(
    at: SocketAddr,
    request: Request,
    protocol: Option<&HeaderValue>,
    pinned: bool,
) -> io::Result<Request> {
    let (mut parts, body) = request.into_parts();
    let is_chunked = parts.headers.contains_key(header::TRANSFER_ENCODING);
    strip(&mut parts.headers);
    if !is_chunked {
        parts.headers.remove(header::TRAILER);
    }
    // A 100 is sent by the server that reads the body from the client, and the body is sent on either way.
    parts.headers.remove(header::EXPECT);
    let connection = match protocol {
        Some(protocol) => {
            parts.headers.insert(header::UPGRADE, protocol.clone());
            "upgrade"
        }
        None if pinned => "keep-alive",
        None => "close",
    };
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
    if !parts.headers.contains_key(header::HOST) {
        let host = HeaderValue::from_str(&at.to_string()).map_err(io::Error::other)?;
        parts.headers.insert(header::HOST, host);
    }
    parts.version = Version::HTTP_11;
    if let Some(path) = parts.uri.path_and_query() {
        parts.uri = Uri::from(path.clone());
    }
    Ok(Request::from_parts(parts, body))
}

/// Returns whether a request carries a login that is bound to its connection.
fn carries_login(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::AUTHORIZATION).iter();
    values.map(HeaderValue::as_bytes).any(is_bound_login)
}

/// Returns whether the client takes trailers after the body of the answer (RFC 9110 section 6.5.1).
fn wants_trailers(request: &Request) -> bool {
    let lists = request.headers().get_all(header::TE).iter().filter_map(|list| list.to_str().ok());
    let mut codings = lists.flat_map(|list| list.split(',')).map(str::trim);
    request.version() == Version::HTTP_11
        && codings.any(|coding| coding.eq_ignore_ascii_case("trailers"))
}

/// The protocol to which a head changes, if it does.
fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    named(headers).any(|name| name.eq_ignore_ascii_case("upgrade")).then_some(())?;
    headers.get(header::UPGRADE).cloned()
}

/// The names in `Connection`.
fn named(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(header::CONNECTION).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

/// Removes the headers that are meant for this hop.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<_> = named(headers).filter_map(|name| name.parse::<HeaderName>().ok()).collect();
    // `Content-Length` does not belong to the connection, even if it is named: without it a body would end
    // elsewhere.
    for name in named.iter().filter(|name| **name != header::CONTENT_LENGTH).chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Copies bytes both ways until both sides have ended or one breaks off.
async fn join(client: OnUpgrade, app: OnUpgrade) {
    if let (Ok(client), Ok(app)) = tokio::join!(client, app) {
        let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(app)).await;
    }
}
