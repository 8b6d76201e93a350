//! A node that behaves well until it gets another order. A balancer takes it for a picluster node:
//! it announces an id and answers health requests. Its mood decides how it treats requests, and
//! whether its health answers suffer too.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::inside::{self, Program};
use super::mdns::{self, Advert};
use super::{Pi, Process, lock, pause};

/// The interval of its announcements.
const ANNOUNCE_EVERY_MS: u64 = 1_000;

/// The path at which a balancer asks a picluster node for its health.
const HEALTH_PATH: &str = "/.picluster/health";

/// A request for this path ends the whole program at once.
pub(crate) const DEATH_PATH: &str = "/death";

/// Long enough to send the first half of an answer before the reset overtakes it.
const HALF_TIME: Duration = Duration::from_millis(20);

/// A running fickle node.
pub(crate) struct Fickle {
    pub(crate) process: Process,
    orders: std::process::ChildStdin,
}

/// The behaviour of a fickle node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mood {
    /// It answers with its name, and answers an upgrade with a tunnel that echoes.
    Well,
    /// It reads the head of a request and resets the connection.
    Resets,
    /// It resets the connection in the middle of the answer's body.
    ResetsInBody,
    /// It sends half of the answer's head and closes.
    HalfHead,
    /// It reads and sends nothing until its mood changes; then it closes.
    Mute,
    /// It answers with this status.
    Status(u16),
    /// It answers after this many milliseconds.
    Slow(u64),
}

/// An order to a fickle node.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Order {
    mood: Mood,
    /// True if its health answers have this mood too.
    health_too: bool,
}

/// The state that its threads share.
struct Soul {
    name: String,
    order: Mutex<Order>,
    changed: Condvar,
}

impl Pi {
    /// Starts a fickle node on port 8080 with the name of its Pi; it listens when this returns.
    pub(crate) fn fickle(&self) -> Fickle {
        let program = Program::Fickle { name: self.name().to_owned(), address: self.address() };
        let (process, (orders, _)) = self.served_helper(&program, 8080);
        process.wait_for_log("fickle node listens");
        Fickle { process, orders }
    }
}

impl Fickle {
    /// From now on it treats requests with this mood.
    pub(crate) fn turns(&mut self, mood: Mood) {
        self.order(Order { mood, health_too: false });
    }

    /// From now on it treats requests and health requests with this mood.
    pub(crate) fn turns_wholly(&mut self, mood: Mood) {
        self.order(Order { mood, health_too: true });
    }

    fn order(&mut self, order: Order) {
        let line = serde_json::to_string(&order).expect("an order is JSON");
        writeln!(self.orders, "{line}").expect("it runs");
        self.process.wait_for_log(&told(order.mood));
    }
}

fn told(mood: Mood) -> String {
    format!("is now {mood:?}")
}

/// The program of the helper.
pub(super) fn run(name: &str, address: Ipv4Addr) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).expect("the port is free");
    let order = Order { mood: Mood::Well, health_too: false };
    let soul = Soul { name: name.to_owned(), order: Mutex::new(order), changed: Condvar::new() };
    let soul = Arc::new(soul);
    let mut advert = Advert::new(name, address, 8080);
    advert.txt.push(format!("id={name}"));
    std::thread::spawn(move || mdns::shout(&[advert.packet()], ANNOUNCE_EVERY_MS));
    let served = Arc::clone(&soul);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let soul = Arc::clone(&served);
            std::thread::spawn(move || soul.serve(&stream));
        }
    });
    inside::log("fickle node listens");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let order: Order = serde_json::from_str(&line).expect("the lab writes JSON");
        *lock(&soul.order) = order;
        soul.changed.notify_all();
        inside::log(&told(order.mood));
    }
}

/// The parts of a request's head that matter here.
struct Head {
    path: String,
    length: u64,
    upgrade: bool,
}

impl Soul {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut requests = BufReader::new(stream);
        while let Some(head) = read_head(&mut requests)? {
            if head.path == DEATH_PATH {
                std::process::abort();
            }
            let is_health = head.path.starts_with(HEALTH_PATH);
            let order = *lock(&self.order);
            let mood = if is_health && !order.health_too { Mood::Well } else { order.mood };
            if mood == Mood::Resets {
                return reset(stream);
            }
            std::io::copy(&mut requests.by_ref().take(head.length), &mut std::io::sink())?;
            if head.upgrade && mood == Mood::Well {
                return echo(stream, &mut requests);
            }
            let body = if is_health { self.health() } else { format!("{}\n", self.name) };
            if !self.answer(stream, mood, &body)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Answers according to the mood. Returns whether the connection goes on.
    fn answer(&self, mut stream: &TcpStream, mood: Mood, body: &str) -> std::io::Result<bool> {
        let status = if let Mood::Status(status) = mood { status } else { 200 };
        let answer = format!(
            "HTTP/1.1 {status} Fickle\r\nX-Picluster-Node: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.name,
            body.len()
        );
        match mood {
            Mood::Well | Mood::Status(_) => stream.write_all(answer.as_bytes())?,
            Mood::Slow(ms) => {
                pause(Duration::from_millis(ms));
                stream.write_all(answer.as_bytes())?;
            }
            Mood::HalfHead => {
                stream.write_all(&answer.as_bytes()[..30])?;
                return Ok(false);
            }
            Mood::ResetsInBody => {
                stream.write_all(&answer.as_bytes()[..answer.len() - body.len() / 2])?;
                pause(HALF_TIME);
                return reset(stream).map(|()| false);
            }
            Mood::Mute => {
                let order = lock(&self.order);
                let mute = |order: &mut Order| order.mood == Mood::Mute;
                drop(self.changed.wait_while(order, mute).unwrap_or_else(PoisonError::into_inner));
                return Ok(false);
            }
            Mood::Resets => unreachable!("it never comes to an answer"),
        }
        Ok(true)
    }

    fn health(&self) -> String {
        let name = &self.name;
        let rest = r#""boot":"00000000000000ff","state":"up""#;
        format!(r#"{{"schema":"picluster/1","id":"{name}","name":"{name}",{rest}}}"#)
    }
}

fn read_head(requests: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Head>> {
    let mut head = Head { path: String::new(), length: 0, upgrade: false };
    loop {
        let mut line = String::new();
        if requests.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(head));
        }
        match line.split_once(": ") {
            None => head.path = line.split(' ').nth(1).unwrap_or_default().to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                head.length = value.parse().unwrap_or(0);
            }
            Some((name, _)) => head.upgrade |= name.eq_ignore_ascii_case("upgrade"),
        }
    }
}

/// Resets the connection: a linger time of zero turns the close into a reset.
fn reset(stream: &TcpStream) -> std::io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

fn echo(mut stream: &TcpStream, requests: &mut BufReader<&TcpStream>) -> std::io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    )?;
    std::io::copy(requests, &mut stream).map(drop)
}
