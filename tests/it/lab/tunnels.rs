//! Clients with one open tunnel each, which a balancer takes for a WebSocket. Each client sends a
//! word again and again and expects its echo.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::inside::{self, Program};
use super::process::Pipes;
use super::{Pi, now_ms, pause};

/// The pause between two words.
const SAY_EVERY: Duration = Duration::from_millis(50);

/// An echo that takes longer counts as none.
const TIMEOUT: Duration = Duration::from_secs(5);

const WORD: &[u8] = b"marco";

/// Tunnels that stay open until they are stopped, or break.
pub(crate) struct Tunnels {
    pipes: Pipes,
}

/// The outcome of one tunnel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tunnel {
    pub(crate) echoes: u64,
    /// The time at which it broke, by [`now_ms`], if it did.
    pub(crate) broke_ms: Option<u64>,
}

impl Pi {
    /// Opens `count` tunnels to a server; all are open when this returns.
    pub(crate) fn tunnels(&self, server: SocketAddr, count: usize) -> Tunnels {
        let (process, pipes) = self.helper(&Program::Tunnels { server, count });
        process.wait_for_log("all tunnels are open");
        Tunnels { pipes }
    }
}

impl Tunnels {
    /// Ends the tunnels. Returns the outcome of each.
    pub(crate) fn stop(self) -> Vec<Tunnel> {
        drop(self.pipes.0);
        let line = self.pipes.1.recv().expect("the tunnels end with a report");
        serde_json::from_str(&line).expect("the tunnels write JSON")
    }
}

/// The program of the helper.
pub(super) fn run(server: SocketAddr, count: usize) {
    let open: Vec<_> = (0..count).map(|_| open(server).expect("a tunnel")).collect();
    inside::log("all tunnels are open");
    let stopped = AtomicBool::new(false);
    let tunnels = std::thread::scope(|scope| {
        let talk = |stream| scope.spawn(|| talk(stream, &stopped));
        let talking: Vec<_> = open.into_iter().map(talk).collect();
        inside::wait_for_end_of_stdin();
        stopped.store(true, Ordering::Relaxed);
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        talking.into_iter().map(join).collect::<Vec<Tunnel>>()
    });
    inside::emit(&tunnels);
}

fn open(server: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let head = format!(
        "GET /tunnel HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = BufReader::new(&stream);
    let mut status = String::new();
    answer.read_line(&mut status)?;
    assert!(status.starts_with("HTTP/1.1 101 "), "{status}");
    let mut line = status;
    // The node echoes nothing before a client has sent something, so none of it is read here.
    while line.trim_end() != "" {
        line.clear();
        answer.read_line(&mut line)?;
    }
    Ok(stream)
}

fn talk(mut stream: TcpStream, stopped: &AtomicBool) -> Tunnel {
    let mut tunnel = Tunnel { echoes: 0, broke_ms: None };
    let mut heard = [0; WORD.len()];
    while !stopped.load(Ordering::Relaxed) {
        let echoed = stream.write_all(WORD).and_then(|()| stream.read_exact(&mut heard));
        if echoed.is_err() || heard != WORD {
            tunnel.broke_ms = Some(now_ms());
            return tunnel;
        }
        tunnel.echoes += 1;
        pause(SAY_EVERY);
    }
    tunnel
}
