//! Probes over HTTP: one GET, bounded in time and size.
//!
//! A probe ends with a result in any case. The table decides when to probe, and what a result means.

mod connection;
mod document;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use self::connection::{Connection, Exchanged};
use crate::cluster::node::NodeId;
use crate::discovery::membership::{
    NodeState, Probe, ProbeResult, ProbeTicket, Unwell, judge_application,
};

/// A kept connection that was not used for this long is closed. Stand-bys are probed every 10 s.
const KEPT_FOR: Duration = Duration::from_secs(15);

/// A timer that fires this much too late shows that this process did not run. Then bytes that came
/// meanwhile get as much time again to be read.
const LATE: Duration = Duration::from_millis(25);

/// A timer that fires this much too late proves nothing about the node: the probe is repeated.
pub(super) const STALLED: Duration = Duration::from_millis(100);

/// Runs probes, and keeps the connections to nodes between them. An answer over a kept connection
/// proves that the process of the node runs, without a new connection every second.
pub(super) struct Prober {
    /// Each with the time it was last used.
    connections: HashMap<SocketAddr, (Connection, Instant)>,
    /// The cluster whose nodes are probed.
    cluster: Arc<str>,
}

/// A probe that ended.
pub(super) struct Probed {
    pub(super) ticket: ProbeTicket,
    pub(super) result: ProbeResult,
    pub(super) took: Duration,
    endpoint: SocketAddr,
    connection: Option<Connection>,
}

impl Prober {
    pub(super) fn new(cluster: &str) -> Self {
        Self { connections: HashMap::new(), cluster: cluster.into() }
    }

    /// Begins a probe, over a kept connection where one may be used.
    pub(super) fn ask(&mut self, probe: Probe) -> impl Future<Output = Probed> + Send + use<> {
        let kept = self.connections.remove(&probe.endpoint).filter(|_| !probe.fresh_connection);
        ask(probe, kept.map(|(connection, _)| connection), Arc::clone(&self.cluster))
    }

    /// Takes back the connection of a probe that ended, and closes those that are no longer used.
    pub(super) fn keep(&mut self, probed: &mut Probed) {
        self.connections.retain(|_, (_, since)| since.elapsed() < KEPT_FOR);
        if let Some(connection) = probed.connection.take() {
            self.connections.insert(probed.endpoint, (connection, Instant::now()));
        }
    }
}

/// Asks the application of this node at `at`, over a connection of its own and by the rule for foreign
/// devices: any answer below 500 is a good one. Ends after `within`.
///
/// # Errors
/// The reason why the application is not well.
pub async fn ask_neighbour(
    node: &NodeId,
    at: SocketAddr,
    path: &str,
    within: Duration,
) -> Result<(), Unwell> {
    let probe = Probe::of_application(at, path, within);
    let result = match timeout(within, exchange(&probe, None, "")).await {
        Ok(Ok((result, _)) | Err(result)) => result,
        Err(_) => ProbeResult::TimedOut,
    };
    judge_application(&result, at, node)
}

async fn ask(probe: Probe, kept: Option<Connection>, cluster: Arc<str>) -> Probed {
    let began = Instant::now();
    let mut answer = in_time(&probe, kept, &cluster).await;
    if answer.as_ref().is_err_and(|late| *late > STALLED) {
        // Only once: a machine that stalls all the time must not take dead nodes for living ones.
        answer = in_time(&probe, None, &cluster).await;
    }
    let (result, connection) = match answer {
        Ok(Ok((result, connection))) => (result, connection),
        Ok(Err(result)) => (result, None),
        Err(_) => (ProbeResult::TimedOut, None),
    };
    let Probe { ticket, endpoint, .. } = probe;
    Probed { ticket, result, took: began.elapsed(), endpoint, connection }
}

/// One exchange within the probe's time.
///
/// # Errors
/// It did not end in time; the error is how late that was noticed.
async fn in_time(
    probe: &Probe,
    kept: Option<Connection>,
    cluster: &str,
) -> Result<Exchanged, Duration> {
    let mut exchange = pin!(exchange(probe, kept, cluster));
    let began = Instant::now();
    if let Ok(answer) = timeout(probe.timeout, exchange.as_mut()).await {
        return Ok(answer);
    }
    let late = began.elapsed().saturating_sub(probe.timeout);
    // Perhaps this process was stalled: then what came meanwhile has not been read yet, or the request
    // has not even been sent.
    let more = if late > LATE { LATE } else { Duration::ZERO };
    timeout(more, exchange).await.map_err(|_| late)
}

/// One exchange, and a check that requests would reach the application if it is elsewhere.
async fn exchange(probe: &Probe, kept: Option<Connection>, cluster: &str) -> Exchanged {
    let exchanged = ask_health(probe, kept, cluster).await?;
    match (probe.also, &exchanged.0) {
        (Some(at), ProbeResult::Node { state: NodeState::Up, .. })
            if TcpStream::connect(at).await.is_err() =>
        {
            Err(ProbeResult::Deaf(at))
        }
        _ => Ok(exchanged),
    }
}

/// A kept connection may turn out to be closed, or about to be (some servers send a 408 first). That
/// is usual, so the node is asked again over a fresh one.
async fn ask_health(probe: &Probe, kept: Option<Connection>, cluster: &str) -> Exchanged {
    if let Some(connection) = kept {
        match connection.get(probe, cluster).await {
            Err(ProbeResult::Closed | ProbeResult::NotHttp(_)) => {}
            other => return other,
        }
    }
    Connection::open(probe.endpoint).await?.get(probe, cluster).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::document::tests::BODY;
    use super::*;
    use crate::cluster::health::Thresholds;
    use crate::cluster::node::{Advertisement, Change, DEFAULT_CLUSTER, Sighting, Source};
    use crate::discovery::membership::Membership;
    /// A probe as the table asks for it.
    fn probe(endpoint: SocketAddr, foreign: bool) -> Probe {
        let cluster = DEFAULT_CLUSTER.to_owned();
        let mut table = Membership::new(cluster.clone(), Thresholds::default());
        let advertisement = Advertisement {
            id: (!foreign).then(|| NodeId::new("aaaaaaaaaaaaa").expect("a legal id")),
            hostname: None,
            boot: None,
            cluster,
            health: None,
            ctl: None,
            offer: Arc::default(),
        };
        let sighting = Sighting {
            instance: "x".to_owned(),
            target: "x".to_owned(),
            endpoints: vec![endpoint],
            advertisement,
        };
        table.change(&Change::Seen(Source::Mdns, sighting), Duration::ZERO);
        table.due(Duration::ZERO, &mut fastrand::Rng::with_seed(1)).pop().expect("one is due")
    }

    /// Answers each connection once for each of its texts, then closes it.
    async fn server(answers: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a client");
                for answer in answers {
                    let mut request = [0; 1024];
                    let n = stream.read(&mut request).await.unwrap_or(0);
                    if n == 0 || stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            }
        });
        addr
    }

    async fn asked(answer: &'static [&'static str], foreign: bool) -> ProbeResult {
        let addr = server(answer).await;
        let mut probe = probe(addr, foreign);
        probe.timeout = Duration::from_secs(5);
        Prober::new(DEFAULT_CLUSTER).ask(probe).await.result
    }

    #[tokio::test]
    async fn each_kind_of_answer_has_its_result() {
        let not_http = asked(&["SSH-2.0-OpenSSH_9.2\r\n"], false).await;
        assert!(matches!(not_http, ProbeResult::NotHttp(_)), "{not_http:?}");
        let other = asked(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"], false).await;
        assert_eq!(other, ProbeResult::Status(200));
        assert_eq!(asked(&[], false).await, ProbeResult::Closed);
        let redirect = ["HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 9\r\n\r\n"];
        assert_eq!(asked(Box::leak(Box::new(redirect)), true).await, ProbeResult::Status(302));
        let long = "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n".to_owned() + &"x".repeat(9000);
        let long = asked(Box::leak(Box::new([&*long.leak()])), false).await;
        assert!(matches!(long, ProbeResult::NotHttp(_)), "{long:?}");
    }

    #[tokio::test]
    async fn an_answer_is_read_as_the_data_line_reads_it() {
        let head = "HTTP/1.1 200 OK\r\n";
        let policy = "x".repeat(9000);
        for (answer, result) in [
            ("HTTP/1.0 200 OK\nContent-Length: 1\n\nx".to_owned(), Ok(200)),
            (format!("{head}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"), Ok(200)),
            (format!("{head}Content-Security-Policy: {policy}\r\n\r\n"), Ok(200)),
            (format!("HTTP/1.1 102 \r\n\r\n{head}Content-Length: 0\r\n\r\n"), Ok(200)),
            (format!("{head}Content-Length: 1\n\nx"), Err("line without CR LF")),
            (
                format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
                Err("invalid Content-Length"),
            ),
            (format!("{head}Transfer-Encoding: chunked\r\n\r\nx"), Err("malformed chunk")),
            (
                format!("{head}A: {}\r\n\r\n", "x".repeat(70_000)),
                Err("head too long: more than 64 KiB"),
            ),
        ] {
            let begin: String = answer.chars().take(80).collect();
            let got = asked(Box::leak(Box::new([&*answer.leak()])), true).await;
            let expected = match result {
                Ok(status) => ProbeResult::Status(status),
                Err(refusal) => ProbeResult::NotHttp(refusal.to_owned()),
            };
            assert_eq!(got, expected, "{begin}");
        }
    }

    #[tokio::test]
    async fn a_healthy_node_must_take_connections_at_the_port_of_its_requests_too() {
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
        let addr = server(Box::leak(Box::new([&*whole.leak(); 2]))).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let app = listener.local_addr().expect("it is bound");
        let mut prober = Prober::new(DEFAULT_CLUSTER);
        let mut ask = || prober.ask(Probe { also: Some(app), ..probe(addr, false) });
        assert!(matches!(ask().await.result, ProbeResult::Node { .. }));
        drop(listener);
        assert_eq!(ask().await.result, ProbeResult::Deaf(app));
    }

    #[tokio::test]
    async fn a_server_that_speaks_before_a_request_does_not_speak_http() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a client");
                stream.write_all(b"220 mail ready\r\n").await.expect("it is open");
                // Like a mail server it waits for the answer, whatever that is, and hangs up.
                let _ = stream.read(&mut [0; 1024]).await;
            }
        });
        for _ in 0..20 {
            let mut probe = probe(addr, true);
            probe.timeout = Duration::from_secs(5);
            let result = Prober::new(DEFAULT_CLUSTER).ask(probe).await.result;
            assert!(matches!(result, ProbeResult::NotHttp(_)), "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_node_is_asked_over_one_connection_until_it_closes_it() {
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
        let addr = server(Box::leak(Box::new([&*whole.leak(); 2]))).await;
        let mut prober = Prober::new(DEFAULT_CLUSTER);
        for _ in 0..5 {
            let mut probe = probe(addr, false);
            probe.timeout = Duration::from_secs(5);
            assert_eq!(probe.path, "/.picluster/health");
            let mut asked = prober.ask(probe).await;
            assert!(matches!(asked.result, ProbeResult::Node { .. }), "{:?}", asked.result);
            prober.keep(&mut asked);
        }
    }

    #[tokio::test]
    #[expect(
        clippy::disallowed_methods,
        reason = "stops the whole runtime, as a stalled machine does"
    )]
    async fn a_stall_of_our_own_is_not_blamed_on_the_node() {
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        // Another thread: the node is not stalled.
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 1024]).expect("a request");
            stream.write_all(whole.as_bytes()).expect("it is read");
        });
        let mut probe = probe(addr, false);
        probe.timeout = Duration::from_millis(200);
        let asking = tokio::spawn(Prober::new(DEFAULT_CLUSTER).ask(probe));
        // It begins to connect, then nothing runs until the time is over.
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_millis(400));
        let asked = asking.await.expect("it ends");
        assert!(matches!(asked.result, ProbeResult::Node { .. }), "{:?}", asked.result);
    }

    #[tokio::test]
    #[expect(
        clippy::disallowed_methods,
        reason = "stops the whole runtime, as a stalled machine does"
    )]
    async fn a_node_that_could_not_answer_within_our_stall_is_asked_again() {
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().expect("a client");
                let _ = stream.read(&mut [0; 1024]).expect("a request");
                // Longer than the late answer of a stalled machine is waited for.
                std::thread::sleep(LATE * 5);
                let _ = stream.write_all(whole.as_bytes());
            }
        });
        let mut probe = probe(addr, false);
        probe.timeout = Duration::from_secs(1);
        let asking = tokio::spawn(Prober::new(DEFAULT_CLUSTER).ask(probe));
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_millis(1_300));
        let asked = asking.await.expect("it ends");
        assert!(matches!(asked.result, ProbeResult::Node { .. }), "{:?}", asked.result);
    }

    #[tokio::test]
    async fn nobody_there_is_refused_and_a_silent_one_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let mut silent = probe(addr, false);
        silent.timeout = Duration::from_millis(50);
        assert_eq!(Prober::new(DEFAULT_CLUSTER).ask(silent).await.result, ProbeResult::TimedOut);
        drop(listener);
        assert_eq!(
            Prober::new(DEFAULT_CLUSTER).ask(probe(addr, false)).await.result,
            ProbeResult::Refused
        );
    }
}
