//! Clients that ask at a given rate whatever the answers do, that use WebSockets, or that only stay
//! connected: `wrk` can do none of these. They are a program of their own; this binary is started
//! again as one.
//!
//! **A wait counts from the moment at which a request was due.** If a client still waits when its
//! next request is due, it sends that request late, and the lateness is a part of the wait.
//! Otherwise a balancer that stalls would get fewer requests while it stalls, and would look good
//! (coordinated omission).
//!
//! Each client is a thread, because tokio's timers round to a millisecond, which is longer than
//! most answers take. The kernel wakes a thread some 50 us late; that is in all figures alike.

use std::io::{Error, Read as _, Result, Write as _};
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::asks::Asks;
use crate::lab::{self, Pi, Process, pause};
use crate::load::{Errors, Load};

/// The first argument, before the clients' orders as JSON.
const WORD: &str = "be-clients";

/// Small, so that thousands of threads fit.
const STACK_BYTES: usize = 128 << 10;

/// Longer than any balancer here waits for a node.
const TIMEOUT: Duration = Duration::from_secs(5);

const WELCOME: &str = "GET / HTTP/1.1\r\nHost: nodes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const MESSAGE: [u8; 64] = [b'x'; 64];

#[derive(Serialize, Deserialize)]
pub(crate) struct Clients {
    pub(crate) server: String,
    pub(crate) asks: Asks,
    pub(crate) clients: usize,
    pub(crate) does: Does,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Does {
    /// They ask for this many seconds, each as fast as it gets answers.
    AskOn(u64),
    /// They ask for this many seconds, all together at this rate per second.
    AskAtRate(u64, f64),
    /// They ask once each and then stay silent until they are killed.
    Stay,
}

impl Clients {
    /// Their command line.
    pub(crate) fn argv(&self) -> Vec<String> {
        let binary = std::env::current_exe().expect("the benchmark has a path");
        let binary = binary.to_str().expect("its path is UTF-8").to_owned();
        vec![binary, WORD.to_owned(), serde_json::to_string(self).expect("clients are JSON")]
    }

    /// Starts the clients.
    pub(crate) fn start(&self, pi: &Pi) -> Process {
        pi.start(&self.argv().iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts clients that only stay; all are silent when this returns.
    pub(crate) fn stay(&self, pi: &Pi) -> Process {
        let process = self.start(pi);
        process.wait_for_log("all are silent");
        process
    }

    fn run(&self) {
        match self.does {
            Does::AskOn(seconds) => self.ask(Duration::from_secs(seconds), Duration::ZERO),
            Does::AskAtRate(seconds, per_second) => {
                let each = Duration::from_secs_f64(self.clients as f64 / per_second);
                self.ask(Duration::from_secs(seconds), each);
            }
            Does::Stay => {
                let stay = |_| {
                    let mut client = Client::new(self)?;
                    client.exchange().map(|()| client)
                };
                let all: Result<Vec<_>> = (0..self.clients).map(stay).collect();
                let _all = all.expect("all are answered");
                lab::say("all are silent");
                loop {
                    pause(TIMEOUT);
                }
            }
        }
    }

    /// Runs all clients. `each` is the span between two requests of one client.
    fn ask(&self, span: Duration, each: Duration) {
        let start = Barrier::new(self.clients);
        let met: Vec<(Vec<f64>, Vec<String>)> = std::thread::scope(|scope| {
            let start = &start;
            let client = |number: usize| {
                let offset = each.mul_f64(number as f64 / self.clients as f64);
                let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
                let run = move || self.one(start, span, offset, each);
                thread.spawn_scoped(scope, run).expect("the machine has room for it")
            };
            let threads: Vec<_> = (0..self.clients).map(client).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let mut errors = Errors::new();
        for reason in met.iter().flat_map(|(_, errors)| errors) {
            *errors.entry(reason.clone()).or_default() += 1;
        }
        let waits = met.into_iter().flat_map(|(waits, _)| waits).collect();
        let load = Load::of(waits, errors, span.as_secs_f64());
        let load = serde_json::to_string(&load).expect("a load is JSON");
        let _ = writeln!(std::io::stdout(), "@met {load}");
    }

    /// Runs one client. Returns its waits and its errors.
    fn one(
        &self,
        all: &Barrier,
        span: Duration,
        offset: Duration,
        each: Duration,
    ) -> (Vec<f64>, Vec<String>) {
        let (mut waits, mut errors) = (Vec::new(), Vec::new());
        let mut kept = Client::new(self).ok();
        all.wait();
        let began = Instant::now();
        let mut due = began + offset;
        while due < began + span {
            let early = due.saturating_duration_since(Instant::now());
            if !early.is_zero() {
                pause(early);
            }
            let client = kept.take().map_or_else(|| Client::new(self), Ok);
            let done = client.and_then(|mut client| client.exchange().map(|()| client));
            match done {
                Ok(client) => {
                    waits.push(due.elapsed().as_secs_f64());
                    kept = Some(client).filter(|_| self.asks != Asks::Anew);
                }
                Err(error) => errors.push(error.to_string()),
            }
            due = if each.is_zero() { Instant::now() } else { due + each };
        }
        (waits, errors)
    }
}

/// Runs the clients that this process was started as; `false` if it was started as none.
pub(crate) fn run_if_asked() -> bool {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [word, clients] = &args[..] else { return false };
    if word != WORD {
        return false;
    }
    let clients: Clients = serde_json::from_str(clients).expect("the benchmark writes JSON");
    clients.run();
    true
}

/// Waits for the end of the clients. Returns their outcomes.
pub(crate) fn met(clients: &Process) -> Load {
    let text = clients.output();
    read(&text).unwrap_or_else(|| panic!("the clients wrote\n{text}"))
}

/// The line with their outcomes.
pub(crate) fn read(text: &str) -> Option<Load> {
    let line = text.lines().find_map(|line| line.strip_prefix("@met "))?;
    serde_json::from_str(line).ok()
}

/// A connection and the messages on it.
struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    is_tunnel: bool,
    bytes: Vec<u8>,
}

impl Client {
    fn new(clients: &Clients) -> Result<Self> {
        let server = clients.server.parse().map_err(Error::other)?;
        let stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let (asks, host) = (clients.asks, &clients.server);
        let request = match asks {
            Asks::Echo => MESSAGE.to_vec(),
            Asks::Post => {
                let body = "x".repeat(64 << 10);
                let length = body.len();
                format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}")
                    .into_bytes()
            }
            Asks::Get(_) | Asks::Anew => {
                let close = if asks == Asks::Anew { "Connection: close\r\n" } else { "" };
                let path = asks.path();
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{close}\r\n").into_bytes()
            }
        };
        let is_tunnel = asks == Asks::Echo;
        let mut client = Self { stream, request, is_tunnel, bytes: vec![0; 16 << 10] };
        if is_tunnel {
            client.stream.write_all(WELCOME.as_bytes())?;
            client.read_head(b"HTTP/1.1 101 ")?;
        }
        Ok(client)
    }

    /// Exchanges one request and its whole answer, or one message and its echo.
    fn exchange(&mut self) -> Result<()> {
        self.stream.write_all(&self.request)?;
        if self.is_tunnel {
            return self.stream.read_exact(&mut self.bytes[..MESSAGE.len()]);
        }
        let mut left = self.read_head(b"HTTP/1.1 200 ")?;
        while left > 0 {
            left = left.checked_sub(self.read(0)?).ok_or_else(|| Error::other("too long"))?;
        }
        Ok(())
    }

    /// Reads a head with this beginning. Returns the number of bytes of the body that have not come
    /// with it.
    fn read_head(&mut self, beginning: &[u8]) -> Result<usize> {
        let mut filled = 0;
        let head = loop {
            filled += self.read(filled)?;
            let end = self.bytes[..filled].windows(4).position(|end| end == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
        };
        if !self.bytes.starts_with(beginning) {
            let line = String::from_utf8_lossy(&self.bytes).lines().next().map(str::to_owned);
            return Err(Error::other(line.unwrap_or_default()));
        }
        let text = String::from_utf8_lossy(&self.bytes[..head]).to_ascii_lowercase();
        let length = text
            .split_once("\r\ncontent-length:")
            .and_then(|(_, value)| value.lines().next()?.trim().parse::<usize>().ok());
        (head + length.unwrap_or_default())
            .checked_sub(filled)
            .ok_or_else(|| Error::other("too long"))
    }

    fn read(&mut self, from: usize) -> Result<usize> {
        match self.stream.read(&mut self.bytes[from..])? {
            0 => Err(Error::other("closed")),
            n => Ok(n),
        }
    }
}
