//! mDNS packets that no honest responder sends. They are written byte by byte, so that no library
//! checks them.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{inside, pause};

const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);
const SERVICE: [&str; 3] = ["_picluster", "_tcp", "local"];

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const SRV: u16 = 33;
const IN: u16 = 1;
const CACHE_FLUSH: u16 = 0x8001;

/// One advertised instance.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Advert {
    /// The label of the instance and of its host.
    pub(crate) label: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) txt: Vec<String>,
}

impl Advert {
    /// An instance that claims to be a node of the default cluster.
    pub(crate) fn new(label: &str, address: Ipv4Addr, port: u16) -> Self {
        Self { label: label.to_owned(), address, port, txt: vec!["v=1".to_owned()] }
    }

    /// The four records of the instance in one packet.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let instance = instance(&self.label);
        let host = name(&[&self.label, "local"]);
        let srv = [&[0, 0, 0, 0], &self.port.to_be_bytes()[..], &host].concat();
        response(&[
            record(&name(&SERVICE), PTR, IN, 4500, &instance),
            record(&instance, SRV, CACHE_FLUSH, 120, &srv),
            record(&instance, TXT, CACHE_FLUSH, 4500, &strings(&self.txt)),
            record(&host, A, CACHE_FLUSH, 120, &self.address.octets()),
        ])
    }
}

/// A goodbye for the instance of this label, whoever sends it.
pub(crate) fn goodbye(label: &str) -> Vec<u8> {
    response(&[record(&name(&SERVICE), PTR, IN, 0, &instance(label))])
}

/// The program [`inside::Program::Shout`]: sends all packets at an interval.
pub(super) fn shout(packets: &[Vec<u8>], every_ms: u64) {
    let socket = socket();
    loop {
        for packet in packets {
            let _ = socket.send_to(packet, GROUP);
        }
        inside::log("shouted");
        pause(Duration::from_millis(every_ms));
    }
}

/// The program [`inside::Program::Flood`]: sends what is due, every 5 ms.
pub(super) fn flood(per_second: u32, adverts: &[Advert]) {
    let socket = socket();
    let began = Instant::now();
    for (sent, advert) in (0_u32..).zip(adverts.iter().cycle()) {
        let mut advert = Advert { label: format!("{}-{sent}", advert.label), ..advert.clone() };
        if sent % 2 == 1 {
            // Half of them claim to be picluster nodes, the others are foreign devices.
            advert.txt.push(format!("id={}", advert.label));
        }
        let _ = socket.send_to(&advert.packet(), GROUP);
        let due = Duration::from_secs_f64(f64::from(sent) / f64::from(per_second));
        if due > began.elapsed() {
            pause(Duration::from_millis(5));
        }
        if (sent + 1) % (per_second * 5) == 0 {
            inside::log(&format!("flooded {} packets in {:?}", sent + 1, began.elapsed()));
        }
    }
}

/// The program [`inside::Program::Ears`].
pub(super) fn listen() {
    let socket = socket();
    socket.join_multicast_v4(&GROUP.0, &Ipv4Addr::UNSPECIFIED).expect("there is a route");
    inside::log("ears listen");
    let mut packet = [0; 9000];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        let packet = &packet[..length];
        let is_answer = packet.get(2).is_some_and(|flags| flags & 0x80 != 0);
        let label = b"\x0a_picluster";
        if is_answer && packet.windows(label.len()).any(|window| window == label) {
            inside::log(&format!("heard {from}"));
        }
    }
}

/// Sends from port 5353, as RFC 6762, section 6 demands of answers.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, GROUP.1)).expect("nobody else is here");
    socket.set_multicast_ttl_v4(255).expect("a socket option");
    socket
}

fn instance(label: &str) -> Vec<u8> {
    name(&[&[label], &SERVICE[..]].concat())
}

fn name(labels: &[&str]) -> Vec<u8> {
    let mut bytes = strings(labels);
    bytes.push(0);
    bytes
}

fn strings<S: AsRef<str>>(strings: &[S]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for string in strings {
        let string = string.as_ref();
        bytes.push(u8::try_from(string.len()).expect("a label or text has at most 255 bytes"));
        bytes.extend(string.as_bytes());
    }
    bytes
}

fn record(name: &[u8], kind: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("records are short");
    let numbers = [kind.to_be_bytes(), class.to_be_bytes()].concat();
    [name, &numbers, &ttl.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

fn response(records: &[Vec<u8>]) -> Vec<u8> {
    let count = u8::try_from(records.len()).expect("a handful");
    [&[0, 0, 0x84, 0, 0, 0, 0, count, 0, 0, 0, 0], &records.concat()[..]].concat()
}
