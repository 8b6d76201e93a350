//! A node that records every byte that it receives.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::reader::{self, Read};
use super::{Manner, write_in};
use crate::data_line::PATIENCE;

/// The last connection of a series sends this and nothing else.
const FENCE: &[u8] = b"fence";

/// The interval of the check whether a case is over, on a connection that the balancer may keep.
const LOOK: Duration = Duration::from_millis(1);

/// The behaviour of the node in a case.
#[derive(Clone, Default)]
pub(super) struct Script {
    /// The bytes of its answer, instead of `ok`.
    pub(super) answer: Option<Vec<u8>>,
    pub(super) manner: Manner,
}

/// Serves one connection after the other. Each ends with its answer, so that its bytes are one
/// request and all of it.
pub(super) struct Node {
    pub(super) addr: SocketAddr,
    script: Arc<Mutex<Script>>,
    /// True if the client of the present case has come to its end.
    over: Arc<AtomicBool>,
    came: mpsc::Receiver<Vec<u8>>,
}

impl Node {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let script = Arc::<Mutex<Script>>::default();
        let over = Arc::<AtomicBool>::default();
        let (told, came) = mpsc::channel();
        let (following, ending) = (Arc::clone(&script), Arc::clone(&over));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let script = following.lock().unwrap().clone();
                if told.send(record(stream, &script, &ending)).is_err() {
                    return;
                }
            }
        });
        Self { addr, script, over, came }
    }

    pub(super) fn follow(&self, script: Script) {
        self.over.store(false, Ordering::Relaxed);
        *self.script.lock().unwrap() = script;
    }

    /// The bytes of each connection since the last call. All who have connected by now are read to
    /// the end: connections are taken in their order, and the fence comes last.
    pub(super) fn came(&self) -> Vec<Vec<u8>> {
        self.over.store(true, Ordering::Relaxed);
        TcpStream::connect(self.addr).unwrap().write_all(FENCE).unwrap();
        let came = std::iter::from_fn(|| self.came.recv_timeout(PATIENCE * 2).ok());
        came.take_while(|bytes| bytes != FENCE).collect()
    }
}

/// Reads everything that comes on a connection. Answers the first request when it is whole.
fn record(mut stream: TcpStream, script: &Script, over: &AtomicBool) -> Vec<u8> {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut came, mut continued, mut answered) = (Vec::new(), false, false);
    let mut buffer = [0; 16 * 1024];
    let began = Instant::now();
    loop {
        // This is read before the last look, so that nothing is missed that was sent before the
        // end.
        let is_over = over.load(Ordering::Relaxed);
        let n = match stream.read(&mut buffer) {
            Ok(n @ 1..) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock && answered && !is_over => {
                assert!(began.elapsed() < 4 * PATIENCE, "the client of the case never ends");
                continue;
            }
            _ => return came,
        };
        came.extend_from_slice(&buffer[..n]);
        if !continued && waits_for_continue(&came) && script.answer.is_none() {
            continued = true;
            let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if !answered && matches!(reader::request(&came), Ok(Read::Whole(_))) {
            answered = true;
            answer(&mut stream, &came, script);
            stream.set_read_timeout(Some(LOOK)).unwrap();
        }
    }
}

fn waits_for_continue(came: &[u8]) -> bool {
    let head =
        came.windows(4).position(|four| four == b"\r\n\r\n").map_or(&[][..], |end| &came[..end]);
    String::from_utf8_lossy(head).to_ascii_lowercase().contains("\r\nexpect: 100-continue")
}

fn answer(stream: &mut TcpStream, request: &[u8], script: &Script) {
    let body = if request.starts_with(b"HEAD ") { "" } else { "ok" };
    let ok = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{body}");
    let bytes = script.answer.as_deref().unwrap_or(ok.as_bytes());
    write_in(stream, bytes, script.manner);
    let _ = stream.shutdown(std::net::Shutdown::Write);
}
