//! The balancer under test, without discovery: the test publishes the nodes that it knows.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use picluster::cluster::balance::Balance;
use picluster::cluster::config::{AccessLogForm, Limits, TrustedProxies};
use picluster::cluster::counts::Counts;
use picluster::cluster::health::Outcome;
use picluster::cluster::hop::Hop;
use picluster::cluster::pool::{self, Feedback, Member, Publisher};
use picluster::os::listen;
use picluster::os::systemd::Pulses;
use picluster::proxy::access::AccessLog;
use picluster::proxy::{EmptyClusterPage, Proxy, Settings};
use picluster::server::buffer::Memory;
use picluster::server::{ConnectionLimits, Phase, Workers};
use tokio::sync::{mpsc, watch};

use super::wire::{ANY_ID, PATIENCE, ScriptedNode, Wire};
use crate::lab::wait_until;
use crate::sample;

/// The settings that a test may change.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(super) hold: Duration,
    pub(super) workers: usize,
    pub(crate) node_header: bool,
    pub(crate) via: bool,
    pub(super) balance: &'static str,
    pub(super) inflight_max: Option<u32>,
    pub(super) sticky: bool,
    pub(super) trusted_proxies: TrustedProxies,
    /// The time since the start of the balancer.
    pub(super) age: Duration,
    /// The target of the access log, which is JSON.
    pub(super) access_log: Option<Box<dyn Write + Send>>,
}

pub(crate) struct TestBalancer {
    addr: SocketAddr,
    publisher: Publisher,
    pool: pool::Watch,
    settings: Arc<Settings>,
    phase: watch::Sender<Phase>,
    workers: Workers,
    feedback: mpsc::Receiver<Feedback>,
}

impl TestBalancer {
    /// A balancer with these nodes, all up.
    pub(super) fn before(nodes: &[&ScriptedNode]) -> Self {
        Self::with(nodes, |_| {})
    }

    pub(super) fn with(nodes: &[&ScriptedNode], change: impl FnOnce(&mut Setup)) -> Self {
        Self::before_members(nodes.iter().map(|node| node.up()).collect(), change)
    }

    /// A balancer with one node, which is any server.
    pub(crate) fn to(addr: SocketAddr, change: impl FnOnce(&mut Setup)) -> Self {
        Self::before_members(vec![sample::member(1, addr)], change)
    }

    fn before_members(members: Vec<Member>, change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            // A test that stalls must not lose its connections.
            limits: Limits { upstream_idle: PATIENCE, ..Limits::default() },
            hold: Duration::from_millis(300),
            workers: 1,
            node_header: true,
            balance: "round-robin",
            inflight_max: None,
            sticky: false,
            via: false,
            trusted_proxies: TrustedProxies::default(),
            age: Duration::from_secs(60),
            access_log: None,
        };
        change(&mut setup);
        let (feedback, told) = mpsc::channel(64);
        let counts = Arc::new(Counts::default());
        let access_log = setup.access_log.map(|to| {
            let started = AccessLog::start(AccessLogForm::Json, Arc::clone(&counts), to);
            Arc::new(started.unwrap().0)
        });
        let settings = Arc::new(Settings {
            limits: setup.limits.clone(),
            hold: setup.hold,
            node_header: setup.node_header,
            sticky: setup.sticky,
            trusted_proxies: setup.trusted_proxies,
            via: "front".to_owned(),
            sends_via: setup.via,
            hop: Hop::new("front"),
            pins: Arc::default(),
            empty_cluster_page: EmptyClusterPage {
                html: "<p>teach".to_owned(),
                text: "teach\n".to_owned(),
            },
            started: Instant::now() - setup.age,
            feedback,
            kept_max: 1024,
            memory: Arc::new(Memory::new(setup.limits.grown_bytes)),
            held: 0.into(),
            counts: Arc::clone(&counts),
            access_log,
        });
        let (publisher, pool) = pool::channel();
        let balance = Balance::parse(setup.balance).unwrap();
        let publisher = publisher.balancing(balance, setup.inflight_max);
        // The pool is published before the workers start, so that no worker serves without it.
        if !members.is_empty() {
            publisher.publish(members, setup.age);
        }
        let (phase, watched) = watch::channel(Phase::Serving);
        let listeners =
            listen::bind_shared(([127, 0, 0, 1], 0).into(), "--listen", setup.workers).unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let connections = setup.limits.connections;
        let bounds = ConnectionLimits {
            connections,
            per_client: setup.limits.connections_per_client.unwrap_or(usize::MAX),
            wait: setup.hold,
            spare: 16,
            advice: "",
        };
        let workers = Workers::start(listeners, bounds, &watched, &Pulses::default(), {
            let (settings, pool) = (Arc::clone(&settings), pool.clone());
            move || Proxy::start(Arc::clone(&settings), pool.clone())
        });
        let workers = workers.unwrap();
        Self { addr, publisher, pool, settings, phase, workers, feedback: told }
    }

    /// Publishes these members and waits until every worker has let go of the pool before.
    pub(super) fn publish(&self, members: impl IntoIterator<Item = Member>) {
        let before = Arc::downgrade(&self.pool.borrow());
        self.publisher.publish(members.into_iter().collect(), self.now());
        wait_until("all workers see the new pool", || before.strong_count() == 0);
    }

    /// The time since the start of the balancer: the clock of the pool.
    pub(super) fn now(&self) -> Duration {
        self.settings.started.elapsed()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn client(&self) -> Wire {
        Wire::connect(self.addr)
    }

    /// Sends a request over a new connection. Returns the client's end of it, and the connection
    /// over which `node` receives it. Nothing has been read from either.
    #[track_caller]
    pub(super) fn send(&self, node: &ScriptedNode, request: impl AsRef<[u8]>) -> (Wire, Wire) {
        let mut client = self.client();
        client.send(request);
        (client, node.accept())
    }

    /// A client at 127.0.0.`host`.
    pub(super) fn client_at(&self, host: u8) -> Wire {
        Wire::connect_from(host, self.addr)
    }

    /// The answer to one request on its own connection, as an ordinary client gets it: head and
    /// body.
    #[track_caller]
    pub(super) fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.client();
        client.send(request);
        client.finish();
        let (answer, end) = client.rest();
        assert!(end.is_ok(), "{end:?}");
        String::from_utf8(answer).unwrap()
    }

    /// Waits until the traffic has reported this outcome of the node.
    pub(super) fn wait_until_told(&mut self, node: &ScriptedNode, outcome: Outcome) {
        wait_until("traffic's word", || self.told(node).contains(&outcome));
    }

    /// The number of requests that failed because of the cluster.
    pub(super) fn failed(&self) -> u64 {
        self.counts().requests_failed.get()
    }

    /// The counters of failures, by cause.
    pub(super) fn counts(&self) -> &Counts {
        &self.settings.counts
    }

    /// The bytes by which buffers have grown.
    pub(super) fn grown_bytes(&self) -> usize {
        self.settings.memory.grown_bytes()
    }

    /// The number of requests that wait for a node.
    pub(super) fn held(&self) -> usize {
        self.settings.held.load(Ordering::Relaxed)
    }

    /// The outcomes that traffic has reported of this node since the last call. A machine that
    /// stalls may add a `Silent` anywhere.
    pub(super) fn told(&mut self, node: &ScriptedNode) -> Vec<Outcome> {
        self.told_of(node.epoch())
    }

    pub(super) fn told_of(&mut self, of: u64) -> Vec<Outcome> {
        let told = std::iter::from_fn(|| self.feedback.try_recv().ok());
        told.filter(|(epoch, _)| *epoch == of).map(|(_, outcome)| outcome).collect()
    }

    /// Begins the graceful end.
    pub(super) fn drain(&self, deadline: Duration) {
        self.phase.send(Phase::Draining(Instant::now() + deadline)).unwrap();
    }

    /// Waits until all workers have ended.
    pub(super) fn join(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let joined =
            runtime.block_on(async { tokio::time::timeout(PATIENCE, self.workers.join()).await });
        joined.expect("the workers end");
    }
}

/// The node `ada` and a balancer in front of it.
pub(super) fn one() -> (ScriptedNode, TestBalancer) {
    one_with(|_| {})
}

pub(super) fn one_with(change: impl FnOnce(&mut Setup)) -> (ScriptedNode, TestBalancer) {
    let ada = ScriptedNode::new("ada");
    let lb = TestBalancer::with(&[&ada], change);
    (ada, lb)
}

/// Waits until nothing is in flight to the node.
pub(super) fn wait_until_free(node: &ScriptedNode) {
    wait_until("nothing in flight", || node.counters.inflight.load(Ordering::Relaxed) == 0);
}

pub(super) const GET: &str = "GET / HTTP/1.1\r\nHost: pi\r\n\r\n";
pub(super) const POST: &str = "POST / HTTP/1.1\r\nHost: pi\r\nContent-Length: 5\r\n\r\nhello";

/// The request with this line and these fields, as a node receives it.
pub(super) fn forwarded(line: &str, fields: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nHost: pi\r\n{fields}X-Forwarded-For: 127.0.0.1\r\n\
         X-Forwarded-Proto: http\r\nForwarded: for=127.0.0.1;proto=http;host=\"pi\";by=_pc0_front\r\n\
         X-Forwarded-Host: pi\r\n{ANY_ID}\r\n"
    )
}

/// [`GET`] as a node receives it.
pub(super) fn forwarded_get() -> String {
    forwarded("GET /", "")
}

/// An answer as a node sends it. [`answer_of`] is the same answer as the client receives it.
pub(super) fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub(super) fn answer_of(node: &str, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nX-Picluster-Node: {node}\r\n\r\n{body}")
}
