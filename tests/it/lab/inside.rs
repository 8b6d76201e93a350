//! The lab's own programs. The test process cannot enter a namespace, because it has threads. So
//! this binary is started again inside the namespace and runs a single "test" that is none. A
//! binary without a test harness (a benchmark) calls [`run_if_asked`] first instead.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::mdns::{self, Advert};
use super::process::Spec;
use super::{Lab, courier, fickle, load, pause, recorder, tunnels};

/// The environment variable with the program, as JSON.
const VARIABLE: &str = "PICLUSTER_LAB_PROGRAM";

/// The programs that this binary can be, inside a lab or instead of one.
#[derive(Serialize, Deserialize)]
pub(crate) enum Program {
    /// Clients that ask over and over.
    Load(load::Spec),
    /// Single requests; each line of stdin orders one.
    Courier,
    /// A web server that knows nothing of picluster.
    Greeter { port: u16, text: String },
    /// Sends the same packets at an interval.
    Shout { packets: Vec<Vec<u8>>, every_ms: u64 },
    /// Sends new instances, each once.
    Flood { per_second: u32, adverts: Vec<Advert> },
    /// Counts mDNS answers that name our service; each is one line of log.
    Ears,
    /// A server that is no good web server.
    Odd { port: u16, manner: Manner },
    /// Holds UDP 5353 alone.
    Hold5353,
    /// Connections on which nobody ever says anything.
    Silence { server: std::net::SocketAddr, connections: usize },
    /// Clients that watch a balancer's events.
    Watchers { admin: std::net::SocketAddr, count: usize },
    /// Records the requests that arrive at its Pi.
    Record,
    /// A node that behaves well until it gets another order.
    Fickle { name: String, address: Ipv4Addr },
    /// Clients with one tunnel each.
    Tunnels { server: std::net::SocketAddr, count: usize },
    /// Builds a lab and waits to be killed.
    Victim,
}

/// The oddity of a server.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Manner {
    /// It speaks first, and it does not speak HTTP.
    Banner,
    /// It accepts and sends nothing.
    Mute,
    /// It answers with this status.
    Status(u16),
    /// It answers after this many milliseconds.
    Slow(u64),
    /// It answers as the picluster node of this id, which is not the requested one.
    Node(String),
}

#[test]
#[ignore = "not a test: the programs that run inside the labs"]
fn a_program_of_the_lab() {
    super::run_program();
}

/// Runs the program that this process was started as; returns `false` if it was started as none.
pub(super) fn run_if_asked() -> bool {
    let Ok(program) = std::env::var(VARIABLE) else { return false };
    match serde_json::from_str(&program).expect("the lab writes JSON") {
        Program::Load(spec) => load::run(&spec),
        Program::Courier => courier::run(),
        Program::Greeter { port, text } => greet(port, &text),
        Program::Shout { packets, every_ms } => mdns::shout(&packets, every_ms),
        Program::Flood { per_second, adverts } => mdns::flood(per_second, &adverts),
        Program::Ears => mdns::listen(),
        Program::Odd { port, manner } => be_odd(port, &manner),
        Program::Hold5353 => hold_5353(),
        Program::Silence { server, connections } => be_silent(server, connections),
        Program::Watchers { admin, count } => watch(admin, count),
        Program::Record => recorder::run(),
        Program::Fickle { name, address } => fickle::run(&name, address),
        Program::Tunnels { server, count } => tunnels::run(server, count),
        Program::Victim => wait_to_be_killed(),
    }
    true
}

/// The command line that turns this binary into a program of the lab.
pub(super) fn spec(program: &Program) -> Spec {
    let json = serde_json::to_string(program).expect("programs are JSON");
    let binary = std::env::current_exe().expect("the test binary has a path");
    let mut argv = vec![binary.to_str().expect("its path is UTF-8").to_owned()];
    let test = "lab::inside::a_program_of_the_lab";
    argv.extend([test, "--exact", "--ignored", "--nocapture"].map(str::to_owned));
    Spec { argv, env: vec![(VARIABLE.to_owned(), json)], port: 0 }
}

/// The same command line outside of any lab.
pub(crate) fn command(program: &Program) -> std::process::Command {
    let spec = spec(program);
    let mut command = std::process::Command::new(&spec.argv[0]);
    command.args(&spec.argv[1..]).envs(spec.env);
    command
}

/// Answers the lab with one line. If the lab is gone, nobody needs the answer.
pub(super) fn emit(value: &impl Serialize) {
    let json = serde_json::to_string(value).expect("reports are JSON");
    let _ = writeln!(std::io::stdout().lock(), "@lab {json}");
}

pub(super) fn wait_for_end_of_stdin() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

fn greet(port: u16, text: &str) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("the port is free");
    log("greeter listens");
    for stream in listener.incoming().flatten() {
        let text = text.to_owned();
        std::thread::spawn(move || greet_one(&stream, &text));
    }
}

/// Serves one connection until it ends.
fn greet_one(stream: &TcpStream, text: &str) -> std::io::Result<()> {
    serve_one(stream, || {
        let length = text.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n");
        format!("{head}X-Picluster-Node: {text}\r\n\r\n{text}")
    })
}

fn be_odd(port: u16, manner: &Manner) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("the port is free");
    log("odd server listens");
    let mut mute = Vec::new();
    for mut stream in listener.incoming().flatten() {
        match manner.clone() {
            Manner::Banner => {
                let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
                // It hangs up once it has heard that the other side speaks something else.
                std::thread::spawn(move || stream.read(&mut [0; 1024]));
            }
            Manner::Mute => mute.push(stream),
            manner => {
                std::thread::spawn(move || serve_one(&stream, || odd_answer(&manner)));
            }
        }
    }
}

fn odd_answer(manner: &Manner) -> String {
    let (status, body) = match manner {
        Manner::Status(status) => (*status, "odd\n".to_owned()),
        Manner::Slow(ms) => {
            pause(Duration::from_millis(*ms));
            (200, "slow\n".to_owned())
        }
        Manner::Node(id) => {
            let rest = r#""name":"odd","boot":"00000000000000ff","state":"up""#;
            (200, format!(r#"{{"schema":"picluster/1","id":"{id}",{rest}}}"#))
        }
        Manner::Banner | Manner::Mute => unreachable!("they answer nothing"),
    };
    format!("HTTP/1.1 {status} Odd\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn hold_5353() {
    // The standard library's sockets do not share their port.
    let _held = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5353)).expect("nobody else is here");
    log("5353 is held");
    loop {
        pause(Duration::from_secs(60));
    }
}

fn be_silent(server: std::net::SocketAddr, connections: usize) {
    let connect = |_| TcpStream::connect(server).expect("it listens");
    let _silent: Vec<_> = (0..connections).map(connect).collect();
    log("all are connected");
    loop {
        pause(Duration::from_secs(60));
    }
}

fn watch(admin: std::net::SocketAddr, count: usize) {
    let watch = |_| -> std::io::Result<()> {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: lab\r\n\r\n")?;
        stream.read_exact(&mut [0; 64])?;
        std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        Ok(())
    };
    (0..count).try_for_each(watch).expect("each is told");
    log("all watch");
    loop {
        pause(Duration::from_secs(60));
    }
}

/// Reads requests and answers them until the connection ends.
fn serve_one(mut stream: &TcpStream, answer: impl Fn() -> String) -> std::io::Result<()> {
    let mut requests = BufReader::new(stream);
    loop {
        let (mut length, mut lines) = (0, 0);
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            lines += 1;
            if line.is_empty() && lines > 1 {
                break;
            }
        }
        std::io::copy(&mut requests.by_ref().take(length), &mut std::io::sink())?;
        stream.write_all(answer().as_bytes())?;
    }
}

fn wait_to_be_killed() {
    let Some(lab) = Lab::new("victim") else { return };
    let greeter = lab.pi("ada").greeter(8080, "ada");
    greeter.freeze();
    emit(&lab.holder());
    wait_for_end_of_stdin();
}

/// Writes a line of log.
pub(super) fn log(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
