//! One request over HTTP, for the commands that are typed: bounded in time and size, over a connection of
//! its own.

use std::net::SocketAddr;
use std::time::Duration;
use std::{fmt, io};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The time from the connection to the whole answer. The server is on this network, or this machine.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The most bytes of an answer: 256 nodes, 4 KiB each.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
}

/// Why no answer came; the text continues a sentence such as "no balancer answers: ".
#[derive(Debug)]
pub enum Unanswered {
    /// No connection could be opened.
    Unreachable(io::Error),
    /// No whole answer came within a second.
    TimedOut,
    /// The answer was no HTTP, or too long, or not whole.
    Broken(String),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                f.write_str("connection refused")
            }
            Self::Unreachable(error) => error.fmt(f),
            Self::TimedOut => write!(f, "nothing came within {} s", TIMEOUT.as_secs()),
            Self::Broken(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for Unanswered {}

/// GETs a path, which has to be legal in a request line.
///
/// # Errors
/// No whole answer came.
pub async fn get(at: SocketAddr, path: &str) -> Result<Answer, Unanswered> {
    ask(at, Method::GET, path).await
}

/// POSTs nothing to a path, which has to be legal in a request line.
///
/// # Errors
/// No whole answer came. The server may have carried out the request even so.
pub async fn post(at: SocketAddr, path: &str) -> Result<Answer, Unanswered> {
    ask(at, Method::POST, path).await
}

async fn ask(at: SocketAddr, method: Method, path: &str) -> Result<Answer, Unanswered> {
    timeout(TIMEOUT, exchange(at, method, path)).await.unwrap_or(Err(Unanswered::TimedOut))
}

async fn exchange(at: SocketAddr, method: Method, path: &str) -> Result<Answer, Unanswered> {
    let broken = |error: &dyn fmt::Display| Unanswered::Broken(error.to_string());
    let stream = TcpStream::connect(at).await.map_err(Unanswered::Unreachable)?;
    let (mut requests, driver) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    // It ends with the sender. Its error is also that of the request.
    tokio::spawn(driver);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", at.to_string())
        .header("user-agent", concat!("picluster/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    let response = requests.send_request(request).await.map_err(|error| broken(&error))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    Ok(Answer { status, body: body.map_err(|error| broken(&error))?.to_bytes() })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one connection with these bytes.
    async fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        addr
    }

    #[tokio::test]
    async fn an_answer_is_its_status_and_its_body() {
        let at = server("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone").await;
        let answer = get(at, "/x").await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (404, &b"none"[..]));
    }

    #[tokio::test]
    async fn a_request_without_an_answer_says_why() {
        let at = server("SSH-2.0-x\r\n").await;
        assert!(matches!(get(at, "/").await, Err(Unanswered::Broken(_))));
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let refused = get(closed, "/").await.unwrap_err();
        assert_eq!(refused.to_string(), "connection refused");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_too_long_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answer = get(listener.local_addr().unwrap(), "/").await;
        assert!(matches!(answer, Err(Unanswered::TimedOut)));
    }
}
