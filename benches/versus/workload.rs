//! The workloads: the requests, the number of clients, and the nodes.

use crate::asks::{Asks, Size};

/// One series of requests.
pub(crate) struct Workload {
    /// The name. A word on the command line selects the workloads whose name contains it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) asks: Asks,
    pub(crate) clients: usize,
    pub(crate) scene: Scene,
    /// Caddy costs several times as much as the others; once or twice is enough to show that.
    pub(crate) with_caddy: bool,
}

/// The programs of a workload and their settings. Workloads of one scene share them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scene {
    pub(crate) nodes: usize,
    /// The threads of each balancer.
    pub(crate) threads: usize,
    pub(crate) access_log: bool,
    /// True if the nodes echo through WebSockets; then they are not nginx.
    pub(crate) echo: bool,
}

const PLAIN: Scene = Scene { nodes: 3, threads: 1, access_log: false, echo: false };

/// A GET of 13 bytes by 64 clients. The others differ from it in one point or two.
const GET: Workload = Workload {
    name: "get-64",
    title: "GET, 13 bytes, 64 clients",
    asks: Asks::Get(Size::Bytes13),
    clients: 64,
    scene: PLAIN,
    with_caddy: false,
};

/// The workloads of one scene stand together.
pub(crate) const WORKLOADS: [Workload; 13] = [
    Workload { with_caddy: true, ..GET },
    Workload { name: "get-512", title: "GET, 13 bytes, 512 clients", clients: 512, ..GET },
    Workload {
        name: "anew",
        title: "GET, 13 bytes, 64 clients, a new connection for each request",
        asks: Asks::Anew,
        ..GET
    },
    Workload {
        name: "64kib",
        title: "GET, 64 KiB, 64 clients",
        asks: Asks::Get(Size::KiB64),
        ..GET
    },
    Workload {
        name: "1mib",
        title: "GET, 1 MiB, 16 clients",
        asks: Asks::Get(Size::MiB1),
        clients: 16,
        ..GET
    },
    Workload { name: "post", title: "POST, 64 KiB, 64 clients", asks: Asks::Post, ..GET },
    // The last of its scene, because a program does not always give memory back.
    Workload { name: "get-4096", title: "GET, 13 bytes, 4,096 clients", clients: 4096, ..GET },
    Workload {
        name: "websocket",
        title: "WebSocket, echo of 64 bytes, 64 clients",
        asks: Asks::Echo,
        scene: Scene { echo: true, ..PLAIN },
        ..GET
    },
    Workload {
        name: "access-log",
        title: "GET, 13 bytes, 64 clients, access log on",
        scene: Scene { access_log: true, ..PLAIN },
        ..GET
    },
    Workload {
        name: "nodes-1",
        title: "GET, 13 bytes, 64 clients, 1 node",
        scene: Scene { nodes: 1, ..PLAIN },
        ..GET
    },
    Workload {
        name: "nodes-50",
        title: "GET, 13 bytes, 64 clients, 50 nodes",
        scene: Scene { nodes: 50, ..PLAIN },
        ..GET
    },
    Workload {
        name: "nodes-256",
        title: "GET, 13 bytes, 64 clients, 256 nodes",
        scene: Scene { nodes: 256, ..PLAIN },
        ..GET
    },
    Workload {
        name: "threads-2",
        title: "GET, 13 bytes, 64 clients, two threads",
        scene: Scene { threads: 2, ..PLAIN },
        with_caddy: true,
        ..GET
    },
];

/// The scene for the measurement of memory, before any load.
pub(crate) const AT_REST: Scene = PLAIN;

impl Workload {
    /// The factor for the length of its turns: connecting thousands of clients must not be most of
    /// a turn.
    pub(crate) fn length(&self) -> u64 {
        if self.clients > 1_000 { 3 } else { 1 }
    }
}
