//! One HTTP/1 connection for probes, over which they ask one after the other.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::document;
use crate::cluster::config::PROBE_ANSWER_BYTES_MAX;
use crate::discovery::membership::{Probe, ProbeResult};

/// The smallest read buffer that hyper allows. The answer of a node is a tenth of it.
const READ_BYTES_MAX: usize = 8 * 1024;

/// The result of an answer and, where it may be kept, its connection; or the result if there is no
/// answer.
pub(super) type Exchanged = Result<(ProbeResult, Option<Connection>), ProbeResult>;

/// A connection to a node.
pub(super) struct Connection {
    requests: SendRequest<Empty<Bytes>>,
    /// The fault that ended the connection, unless a request has failed with it. A server that speaks
    /// before it is asked shows here.
    fault: oneshot::Receiver<ProbeResult>,
}

impl Connection {
    /// Opens a connection.
    ///
    /// # Errors
    /// The result of the probe, if there is no connection.
    pub(super) async fn open(endpoint: SocketAddr) -> Result<Self, ProbeResult> {
        let stream = TcpStream::connect(endpoint).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => ProbeResult::Refused,
            io::ErrorKind::ConnectionReset => ProbeResult::Closed,
            _ => ProbeResult::Unreachable(error.to_string()),
        })?;
        // A failure costs nothing: the request is the first thing that is sent and waits for nothing.
        let _ = stream.set_nodelay(true);
        let (requests, driver) = http1::Builder::new()
            .max_buf_size(READ_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| result_of(&error))?;
        let (report, fault) = oneshot::channel();
        // The task ends with the connection's sender.
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                // If that fails, no probe uses the connection any more.
                let _ = report.send(result_of(&error));
            }
        });
        Ok(Self { requests, fault })
    }

    /// Sends the GET of a probe and reads the answer.
    pub(super) async fn get(mut self, probe: &Probe, cluster: &str) -> Exchanged {
        if self.requests.ready().await.is_err() {
            return Err(self.end(ProbeResult::Closed).await);
        }
        let request = Request::get(&probe.path)
            .header("host", probe.endpoint.to_string())
            .header("user-agent", concat!("picluster/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| ProbeResult::NotHttp(error.to_string()))?;
        let response = match self.requests.send_request(request).await {
            Ok(response) => response,
            Err(error) => return Err(self.end(result_of(&error)).await),
        };
        let status = response.status().as_u16();
        if probe.foreign {
            return Ok((ProbeResult::Status(status), None));
        }
        let body = body(response).await?;
        let result = document::parse(&body, cluster).unwrap_or(ProbeResult::Status(status));
        Ok((result, Some(self)))
    }

    /// The reason why the connection ended: the result of the failed request or, if the connection was
    /// only closed, the fault that closed it.
    async fn end(self, request: ProbeResult) -> ProbeResult {
        match request {
            ProbeResult::Closed => self.fault.await.unwrap_or(request),
            other => other,
        }
    }
}

/// Reads the body of an answer, at most [`PROBE_ANSWER_BYTES_MAX`].
async fn body(response: Response<Incoming>) -> Result<Bytes, ProbeResult> {
    let body = Limited::new(response.into_body(), PROBE_ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(error) => result_of(&error),
        Err(_) => ProbeResult::NotHttp("the answer is too long".to_owned()),
    })?;
    Ok(body.to_bytes())
}

fn result_of(error: &hyper::Error) -> ProbeResult {
    if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        ProbeResult::NotHttp(error.to_string())
    } else if spoke_first(error) {
        ProbeResult::NotHttp("it speaks before it is asked".to_owned())
    } else {
        ProbeResult::Closed
    }
}

/// True if bytes came before a request was sent. hyper has no predicate for it, only words; a request
/// that was under way then reports that it was cancelled by it.
fn spoke_first(error: &hyper::Error) -> bool {
    let is_it = |text: String| text.contains("unexpected message");
    is_it(error.to_string()) || error.source().is_some_and(|cause| is_it(cause.to_string()))
}
