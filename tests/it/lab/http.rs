//! A small, strict and blocking HTTP/1.1 client. It shares no code with what it tests.

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The header by which a recorder recognises a request.
pub(super) const TEST_ID: &str = "X-Test-Id";

/// One kept connection.
pub(super) struct Connection {
    stream: TcpStream,
    host: String,
    /// Bytes that were read and not yet used.
    rest: Vec<u8>,
}

/// A whole answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// True if the connection can be used again.
    pub(crate) keep: bool,
}

impl Answer {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The name of the node that gave it.
    pub(crate) fn node(&self) -> Option<&str> {
        self.header("x-picluster-node")
    }
}

impl Connection {
    pub(super) fn open(server: SocketAddr, timeout: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&server, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host: server.to_string(), rest: Vec::new() })
    }

    pub(super) fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Answer> {
        let is_host = |name: &str| name.eq_ignore_ascii_case("host");
        let host = headers.iter().find(|(name, _)| is_host(name));
        let host = host.map_or(&self.host, |(_, host)| host);
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in headers.iter().filter(|(name, _)| !is_host(name)) {
            request += &format!("{name}: {value}\r\n");
        }
        if !matches!(method, "GET" | "HEAD") {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        self.stream.write_all(&[request.as_bytes(), body].concat())?;
        loop {
            let mut answer = self.head()?;
            if !(100..200).contains(&answer.status) {
                answer.body = self.body(method, &mut answer)?;
                return Ok(answer);
            }
        }
    }

    fn head(&mut self) -> Result<Answer> {
        let status_line = self.line()?;
        let status =
            status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| malformed("status line"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed("header"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: String::new(), keep: true };
        answer.keep = !answer.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        Ok(answer)
    }

    fn body(&mut self, method: &str, answer: &mut Answer) -> Result<String> {
        let chunked = answer.header("transfer-encoding").is_some_and(|v| v == "chunked");
        let length = answer.header("content-length").map(str::parse::<usize>);
        let bytes = if method == "HEAD" || matches!(answer.status, 204 | 304) {
            Vec::new()
        } else if chunked {
            self.chunks()?
        } else if let Some(length) = length {
            self.exactly(length.map_err(|_| malformed("content-length"))?)?
        } else {
            answer.keep = false;
            self.stream.read_to_end(&mut self.rest)?;
            std::mem::take(&mut self.rest)
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.line()?;
            let size = usize::from_str_radix(&size, 16).map_err(|_| malformed("chunk size"))?;
            body.extend(self.exactly(size)?);
            if !self.line()?.is_empty() {
                return Err(malformed("chunk end"));
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.exactly(end + 2)?;
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.more()?;
        }
    }

    fn exactly(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.rest.len() < count {
            self.more()?;
        }
        Ok(self.rest.drain(..count).collect())
    }

    fn more(&mut self) -> Result<()> {
        let mut bytes = [0; 8192];
        match self.stream.read(&mut bytes)? {
            0 => Err(Error::new(ErrorKind::UnexpectedEof, "closed")),
            n => {
                self.rest.extend(&bytes[..n]);
                Ok(())
            }
        }
    }
}

/// Splits `http://a.b.c.d:port/path` into server and path; port 80 may be left out.
pub(super) fn split(url: &str) -> (SocketAddr, &str) {
    let rest = url.strip_prefix("http://").expect("the lab speaks http only");
    let (server, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let server = server.parse().or_else(|_| format!("{server}:80").parse());
    (server.expect("the lab has no DNS"), if path.is_empty() { "/" } else { path })
}

/// The cause of an error, as a short key for a histogram.
pub(super) fn reason(error: &Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
        ErrorKind::ConnectionRefused => "refused".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset".to_owned(),
        ErrorKind::UnexpectedEof => "closed early".to_owned(),
        _ => error.to_string(),
    }
}

fn malformed(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("malformed {what}"))
}
