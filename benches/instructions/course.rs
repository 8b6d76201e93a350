//! The requests of the measurement, and their nodes.

use crate::lab::{Advert, Balancer, Lab, Program};
use crate::node;
use crate::release;

#[path = "../common/typical.rs"]
#[expect(dead_code, reason = "only the request of it is used here")]
mod typical;

pub(crate) struct Course {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    method: &'static str,
    body_bytes: usize,
    /// The body of nodes that are no picluster nodes. Without it, the nodes are ours and answer a
    /// name and a newline.
    answer_bytes: Option<usize>,
    /// The number of requests of the first count; the second count has five times as many.
    pub(crate) requests: u64,
}

pub(crate) const COURSES: [Course; 3] = [
    Course {
        name: "get",
        title: "GET with a browser's fields, an answer of 13 bytes",
        method: "GET",
        body_bytes: 0,
        answer_bytes: None,
        requests: 1_000,
    },
    Course {
        name: "post",
        title: "POST of 1 KiB, an answer of 64 KiB",
        method: "POST",
        body_bytes: 1 << 10,
        answer_bytes: Some(64 << 10),
        requests: 200,
    },
    Course {
        name: "upload",
        title: "POST of 64 KiB, an answer of 13 bytes",
        method: "POST",
        body_bytes: 64 << 10,
        answer_bytes: Some(13),
        requests: 200,
    },
];

/// Twelve letters, because a node answers with its name and a newline.
const NAMES: [&str; 3] = ["hello-world1", "hello-world2", "hello-world3"];

/// The port of nodes that are no picluster nodes.
const PORTS: [u16; 3] = [9001, 9002, 9003];

/// The interval of their announcements; their records live for two minutes.
const ANNOUNCE_EVERY_MS: u64 = 2_000;

impl Course {
    /// All bytes of the request.
    pub(crate) fn request(&self) -> String {
        let (_, fields) = typical::REQUEST.split_once("\r\n").expect("a head has lines");
        // A node answers a browser with a page; this request asks for the text.
        let fields = fields.replacen("Accept: ", "Accept: text/plain,", 1);
        let fields = fields.strip_suffix("\r\n").expect("a head ends with an empty line");
        let method = self.method;
        let mut request = format!("{method} / HTTP/1.1\r\n{fields}");
        if self.body_bytes > 0 {
            request += &format!("Content-Length: {}\r\n", self.body_bytes);
        }
        request + "\r\n" + &"x".repeat(self.body_bytes)
    }

    /// Starts three nodes, and a balancer that knows them, from a shell that runs this script
    /// first.
    pub(crate) fn start(&self, lab: &Lab, binary: &str, script: &str) -> Balancer {
        if let Some(answer_bytes) = self.answer_bytes {
            let pi = lab.pi("shelf");
            node::start(&pi, &PORTS, answer_bytes);
            let packets = PORTS.map(|port| Advert::new(&format!("node{port}"), pi.address(), port));
            let packets = packets.map(|advert| advert.packet()).to_vec();
            lab.pi("speaker").attack(&Program::Shout { packets, every_ms: ANNOUNCE_EVERY_MS });
        } else {
            for name in NAMES {
                lab.pi(name).web().args(&["--name", name]).start();
            }
        }
        let script = release::instead(binary) + script;
        let lb = lab.pi("front").lb().args(&["--workers", "1"]).after(&script).start();
        lb.wait_for_nodes(NAMES.len());
        lb
    }
}
