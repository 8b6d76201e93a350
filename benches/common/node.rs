//! A node that gives every request the same answer, and echoes to clients with a WebSocket. It
//! knows nothing of picluster; another Pi announces it. It is a program of its own; this binary is
//! started again as one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::lab::{self, Pi};

/// The first argument, before the bytes of an answer's body and the ports.
const WORD: &str = "answer-alike";

/// The answer to the key of RFC 6455 section 1.3, which is the only key here.
const WELCOME: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Starts the node at these ports of a Pi. It listens when this returns.
pub(crate) fn start(pi: &Pi, ports: &[u16], answer_bytes: usize) {
    let binary = std::env::current_exe().expect("the benchmark has a path");
    let numbers = std::iter::once(answer_bytes.to_string())
        .chain(ports.iter().map(ToString::to_string))
        .collect::<Vec<_>>();
    let mut argv = vec![binary.to_str().expect("its path is UTF-8"), WORD];
    argv.extend(numbers.iter().map(String::as_str));
    pi.start(&argv).wait_for_log("nodes listen");
}

/// Runs the node if this process was started as one; it ends with the lab.
pub(crate) fn run_if_asked() -> bool {
    let mut args = std::env::args().skip(1);
    if args.next().is_none_or(|word| word != WORD) {
        return false;
    }
    let answer_bytes = args.next().and_then(|bytes| bytes.parse().ok()).expect("a size");
    let bind = |port: String| {
        let port: u16 = port.parse().expect("a port");
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("the port is free")
    };
    let listeners: Vec<_> = args.map(bind).collect();
    lab::say("nodes listen");
    std::thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(|| {
                for stream in listener.incoming().flatten() {
                    // A client that hangs up has all that it wanted.
                    std::thread::spawn(move || serve(&stream, answer_bytes));
                }
            });
        }
    });
    true
}

fn serve(mut stream: &TcpStream, answer_bytes: usize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {answer_bytes}\r\n\r\n");
    let answer = head + &"x".repeat(answer_bytes);
    let mut requests = BufReader::new(stream);
    loop {
        let (mut body_bytes, mut upgrade) = (0, false);
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                body_bytes = value.trim().parse().unwrap_or_default();
            }
            upgrade |= line.starts_with("upgrade:");
        }
        if upgrade {
            stream.write_all(WELCOME.as_bytes())?;
            return echo(stream);
        }
        std::io::copy(&mut requests.by_ref().take(body_bytes), &mut std::io::sink())?;
        stream.write_all(answer.as_bytes())?;
    }
}

fn echo(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let n = stream.read(&mut bytes)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&bytes[..n])?;
    }
}
