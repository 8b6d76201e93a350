//! Three ports of a node that gives the same large answer to every request. It knows nothing of
//! picluster; another Pi announces it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::lab::{self, Advert, Lab, Program};

/// What stands before nothing else on its command line.
const WORD: &str = "answer-at-length";

const ANSWER_BYTES: usize = 64 << 10;

const PORTS: [u16; 3] = [9001, 9002, 9003];

/// Its records live for two minutes.
const ANNOUNCE_EVERY_MS: u64 = 2_000;

pub(crate) fn start(lab: &Lab) {
    let pi = lab.pi("shelf");
    let binary = std::env::current_exe().expect("the benchmark has a path");
    pi.start(&[binary.to_str().expect("its path is UTF-8"), WORD]).wait_for_log("nodes listen");
    let packet = |port| Advert::new(&format!("large{port}"), pi.address(), port).packet();
    let packets = PORTS.map(packet).to_vec();
    lab.pi("speaker").attack(&Program::Shout { packets, every_ms: ANNOUNCE_EVERY_MS });
}

/// Runs the nodes if this process was started as them; they end with the lab.
pub(crate) fn run_if_asked() -> bool {
    if std::env::args().nth(1).is_none_or(|word| word != WORD) {
        return false;
    }
    let bind = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("the port is free");
    let listeners = PORTS.map(bind);
    lab::say("nodes listen");
    std::thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(|| {
                for stream in listener.incoming().flatten() {
                    // Whoever hangs up has what it wanted.
                    std::thread::spawn(move || serve(&stream));
                }
            });
        }
    });
    true
}

fn serve(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {ANSWER_BYTES}\r\n\r\n");
    let answer = head + &"x".repeat(ANSWER_BYTES);
    let mut requests = BufReader::new(stream);
    let mut line = String::new();
    let mut body_bytes: usize = 0;
    loop {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            body_bytes = value.trim().parse().unwrap_or_default();
        }
        if line.trim_end().is_empty() {
            let mut body = vec![0; std::mem::take(&mut body_bytes)];
            requests.read_exact(&mut body)?;
            stream.write_all(answer.as_bytes())?;
        }
    }
}
