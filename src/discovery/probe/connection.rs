//! One HTTP/1 connection for probes, over which they ask one after the other. Answers are read as the
//! data line reads them, with the same codec and the same bounds: a node whose answers would be refused
//! there is not healthy here.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::document;
use crate::cluster::config::PROBE_ANSWER_BYTES_MAX;
use crate::discovery::membership::{Probe, ProbeResult};
use crate::http1::limits::INTERIMS_MAX;
use crate::http1::{Body, Framing, Refusal, Slots, parse_response};

/// The room for an answer at first. That of a node fits.
const ANSWER_BYTES: usize = 1024;

/// The result of an answer and, where it may be kept, its connection; or the result if there is no
/// answer.
pub(super) type Exchanged = Result<(ProbeResult, Option<Connection>), ProbeResult>;

/// A connection to a node.
pub(super) struct Connection(TcpStream);

/// The facts of an answer's head.
struct Head {
    status: u16,
    framing: Framing,
    keep_alive: bool,
    len: usize,
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
        Ok(Self(stream))
    }

    /// Sends the GET of a probe and reads the answer.
    pub(super) async fn get(mut self, probe: &Probe, cluster: &str) -> Exchanged {
        let mut came = Vec::with_capacity(ANSWER_BYTES);
        if self.0.try_read_buf(&mut came).is_ok_and(|bytes| bytes > 0) {
            return Err(ProbeResult::NotHttp("it speaks before it is asked".to_owned()));
        }
        // The zone of an address means something on this machine alone.
        let host = SocketAddr::new(probe.endpoint.ip(), probe.endpoint.port());
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: {host}\r\nuser-agent: picluster/{}\r\n\r\n",
            probe.path,
            env!("CARGO_PKG_VERSION")
        );
        self.0.write_all(request.as_bytes()).await.map_err(|_| ProbeResult::Closed)?;
        let head = self.head(&mut came).await?;
        if probe.foreign {
            // The bytes that came with the head are judged; a long page is not read to its end.
            let mut body = Body::of_answer(head.framing);
            take(&mut body, &mut came, |_| {}).map_err(not_http)?;
            return Ok((ProbeResult::Status(head.status), None));
        }
        let document = self.body(head.framing, &mut came).await?;
        let result = document::parse(&document, cluster);
        let kept = (head.keep_alive && came.is_empty()).then_some(self);
        Ok((result.unwrap_or(ProbeResult::Status(head.status)), kept))
    }

    /// Reads the head of the final answer, and removes it from `came`.
    async fn head(&mut self, came: &mut Vec<u8>) -> Result<Head, ProbeResult> {
        let (mut seen, mut interims) = (0, 0);
        loop {
            let head = read_head(came, seen).map_err(not_http)?;
            seen = came.len();
            match head {
                Some(head) if head.status < 200 => {
                    interims += 1;
                    if head.status == 101 {
                        return Err(not_http(Refusal::BadSwitch));
                    } else if interims > INTERIMS_MAX {
                        return Err(not_http(Refusal::TooManyInterims));
                    }
                    came.drain(..head.len);
                    seen = 0;
                }
                Some(head) => {
                    came.drain(..head.len);
                    return Ok(head);
                }
                None => self.read(came).await?,
            }
        }
    }

    /// Reads a body of at most [`PROBE_ANSWER_BYTES_MAX`], and removes it from `came`.
    async fn body(&mut self, framing: Framing, came: &mut Vec<u8>) -> Result<Vec<u8>, ProbeResult> {
        let (mut body, mut data) = (Body::of_answer(framing), Vec::new());
        loop {
            take(&mut body, came, |piece| data.extend_from_slice(piece)).map_err(not_http)?;
            if data.len() > PROBE_ANSWER_BYTES_MAX {
                return Err(ProbeResult::NotHttp("the answer is too long".to_owned()));
            }
            if body.is_done() {
                return Ok(data);
            }
            match self.read(came).await {
                Err(ProbeResult::Closed) if body.eof().is_ok() => return Ok(data),
                other => other?,
            }
        }
    }

    async fn read(&mut self, came: &mut Vec<u8>) -> Result<(), ProbeResult> {
        match self.0.read_buf(came).await {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(ProbeResult::Closed),
        }
    }
}

/// Reads the head at the beginning of `came`, if it is whole. The first `seen` bytes were looked at.
fn read_head(came: &[u8], seen: usize) -> Result<Option<Head>, Refusal> {
    let mut slots = Slots::new();
    let head = if came.is_empty() { None } else { parse_response(came, seen, &mut slots, false)? };
    Ok(head.map(|head| Head {
        status: head.status,
        framing: head.framing,
        keep_alive: head.keep_alive,
        len: head.len,
    }))
}

/// Takes the bytes of the body from the beginning of `came`.
fn take(body: &mut Body, came: &mut Vec<u8>, mut sink: impl FnMut(&[u8])) -> Result<(), Refusal> {
    loop {
        let advance = body.decode(came, &mut sink)?;
        came.drain(..advance.consumed + advance.dropped);
        if advance.dropped == 0 {
            return Ok(());
        }
    }
}

fn not_http(refusal: Refusal) -> ProbeResult {
    ProbeResult::NotHttp(refusal.to_string())
}
