//! Asking a node whether it is there and how it is: one GET, bounded in time and size.

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::cluster::api::HealthView;
use crate::cluster::config::PROBE_ANSWER_BYTES_MAX;
use crate::cluster::node::{Boot, NodeId};
use crate::cluster::protocol::ReportedState;
use crate::discovery::membership::{NodeState, Probe, ProbeResult, ProbeTicket, Unwell};

/// A kept connection that was not asked over for this long is closed. Stand-bys are asked every
/// 10 s.
const KEPT_FOR: Duration = Duration::from_secs(15);

/// A timer that rings so much later than it should means that this process did not run; then what
/// has come meanwhile gets as much time again to be read.
const LATE: Duration = Duration::from_millis(25);

/// One that rings so much later says nothing of the node: it is asked again.
pub(super) const STALLED: Duration = Duration::from_millis(100);

/// hyper's least read buffer; the answer of a node is a tenth of it.
const READ_BYTES_MAX: usize = 8 * 1024;

/// A connection over which one probe at a time asks.
struct Connection {
    requests: SendRequest<Empty<Bytes>>,
    /// What ended it, if that was no request's answer: who speaks before it is asked is found out
    /// here.
    fault: oneshot::Receiver<ProbeResult>,
}

/// The connections that are kept between probes. A node's answer over a kept one says that its
/// process runs, without a new connection every second.
pub(super) struct Kept {
    connections: HashMap<SocketAddr, (Connection, Instant)>,
    /// The cluster whose nodes are asked.
    cluster: Arc<str>,
}

/// An answer and, where it may be kept, its connection; or why there is no answer.
type Exchanged = Result<(ProbeResult, Option<Connection>), ProbeResult>;

/// A probe that ended.
pub(super) struct Asked {
    pub(super) ticket: ProbeTicket,
    pub(super) result: ProbeResult,
    pub(super) took: Duration,
    endpoint: SocketAddr,
    connection: Option<Connection>,
}

impl Kept {
    pub(super) fn new(cluster: &str) -> Self {
        Self { connections: HashMap::new(), cluster: cluster.into() }
    }

    /// Begins a probe, over a kept connection where one may be used.
    pub(super) fn ask(&mut self, probe: Probe) -> impl Future<Output = Asked> + Send + use<> {
        let kept = self.connections.remove(&probe.endpoint).filter(|_| !probe.fresh_connection);
        ask(probe, kept.map(|(connection, _)| connection), Arc::clone(&self.cluster))
    }

    /// Takes back the connection of a probe that ended, and closes those that nobody asks over.
    pub(super) fn keep(&mut self, asked: &mut Asked) {
        self.connections.retain(|_, (_, since)| since.elapsed() < KEPT_FOR);
        if let Some(connection) = asked.connection.take() {
            self.connections.insert(asked.endpoint, (connection, Instant::now()));
        }
    }
}

/// Asks a node's own application over a connection of its own, as a foreign device is asked: any answer
/// below 500 will do.
///
/// # Errors
/// Why it will not.
pub async fn ask_neighbour(
    node: &NodeId,
    at: SocketAddr,
    path: &str,
    within: Duration,
) -> Result<(), Unwell> {
    let probe = Probe::of_neighbour(at, path, within);
    let result = match timeout(within, exchange(&probe, None, "")).await {
        Ok(Ok((result, _)) | Err(result)) => result,
        Err(_) => ProbeResult::TimedOut,
    };
    result.of_neighbour(node, at)
}

async fn ask(probe: Probe, kept: Option<Connection>, cluster: Arc<str>) -> Asked {
    let began = Instant::now();
    let mut answer = in_time(&probe, kept, &cluster).await;
    if answer.as_ref().is_err_and(|late| *late > STALLED) {
        // Once: a machine that stalls all the time must not take the dead for living.
        answer = in_time(&probe, None, &cluster).await;
    }
    let (result, connection) = match answer {
        Ok(Ok((result, connection))) => (result, connection),
        Ok(Err(result)) => (result, None),
        Err(_) => (ProbeResult::TimedOut, None),
    };
    let Probe { ticket, endpoint, .. } = probe;
    Asked { ticket, result, took: began.elapsed(), endpoint, connection }
}

/// One exchange within the probe's time. If it does not end in it, the error is how late that was
/// found out.
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
    // It may be us who were stalled: what came meanwhile was not looked at yet, or not even asked
    // for.
    let more = if late > LATE { LATE } else { Duration::ZERO };
    timeout(more, exchange).await.map_err(|_| late)
}

/// One exchange, and a look at whether requests would get to where they go.
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

/// A kept connection that turns out to be closed, or told that it will be (some
/// servers send a 408 first), is no news: the node is asked again over a fresh one.
async fn ask_health(probe: &Probe, kept: Option<Connection>, cluster: &str) -> Exchanged {
    if let Some(connection) = kept {
        match get(probe, connection, cluster).await {
            Err(ProbeResult::Closed | ProbeResult::NotHttp(_)) => {}
            other => return other,
        }
    }
    get(probe, open(probe.endpoint).await?, cluster).await
}

async fn open(endpoint: SocketAddr) -> Result<Connection, ProbeResult> {
    let stream = TcpStream::connect(endpoint).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => ProbeResult::Refused,
        io::ErrorKind::ConnectionReset => ProbeResult::Closed,
        _ => ProbeResult::Unreachable(error.to_string()),
    })?;
    // Without it the request waits for nothing anyway: it is the first thing sent.
    let _ = stream.set_nodelay(true);
    let (connection, driver) = http1::Builder::new()
        .max_buf_size(READ_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| said(&error))?;
    let (tell, fault) = oneshot::channel();
    // It ends with the connection's sender.
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            // An error means that nobody asks any more.
            let _ = tell.send(said(&error));
        }
    });
    Ok(Connection { requests: connection, fault })
}

impl Connection {
    /// Why it ended: what the failed request says or, where that is only that it is closed, what
    /// closed it.
    async fn end(self, request: ProbeResult) -> ProbeResult {
        match request {
            ProbeResult::Closed => self.fault.await.unwrap_or(request),
            other => other,
        }
    }
}

async fn get(probe: &Probe, mut connection: Connection, cluster: &str) -> Exchanged {
    if connection.requests.ready().await.is_err() {
        return Err(connection.end(ProbeResult::Closed).await);
    }
    let request = Request::get(&probe.path)
        .header("host", probe.endpoint.to_string())
        .header("user-agent", concat!("picluster/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|error| ProbeResult::NotHttp(error.to_string()))?;
    let response = match connection.requests.send_request(request).await {
        Ok(response) => response,
        Err(error) => return Err(connection.end(said(&error)).await),
    };
    let status = response.status().as_u16();
    if probe.foreign {
        return Ok((ProbeResult::Status(status), None));
    }
    let result = document(response, cluster).await?.unwrap_or(ProbeResult::Status(status));
    Ok((result, Some(connection)))
}

/// Reads the answer's body as a health document; `None` if it is another.
async fn document(
    response: Response<Incoming>,
    cluster: &str,
) -> Result<Option<ProbeResult>, ProbeResult> {
    let body = Limited::new(response.into_body(), PROBE_ANSWER_BYTES_MAX).collect().await;
    let body = body
        .map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => said(&error),
            Err(_) => ProbeResult::NotHttp("the answer is too long".to_owned()),
        })?
        .to_bytes();
    Ok(read(&body, cluster))
}

fn read(body: &[u8], cluster: &str) -> Option<ProbeResult> {
    let document: HealthView<'_> = serde_json::from_slice(body).ok()?;
    let state = match ReportedState::parse(document.state.as_bytes())? {
        ReportedState::Up => NodeState::Up,
        ReportedState::Draining => NodeState::Draining,
        ReportedState::AppDown => NodeState::AppDown {
            why: document.why.unwrap_or_default().into_owned(),
            answers: document.answers,
        },
    };
    if let Some(other) = document.cluster.filter(|said| said != cluster) {
        return Some(ProbeResult::OtherCluster(other.into_owned()));
    }
    Some(ProbeResult::Node {
        id: NodeId::new(document.id)?,
        name: document.name.into_owned(),
        boot: Boot::parse(document.boot)?,
        state,
        pi: document.pi,
    })
}

fn said(error: &hyper::Error) -> ProbeResult {
    if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        ProbeResult::NotHttp(error.to_string())
    } else if spoke_first(error) {
        ProbeResult::NotHttp("it speaks before it is asked".to_owned())
    } else {
        ProbeResult::Closed
    }
}

/// Whether bytes came before they were asked for. hyper has no predicate for it, only words; a
/// request that was under way then says that it was cancelled by it.
fn spoke_first(error: &hyper::Error) -> bool {
    let is_it = |text: String| text.contains("unexpected message");
    is_it(error.to_string()) || error.source().is_some_and(|cause| is_it(cause.to_string()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::cluster::health::Thresholds;
    use crate::cluster::node::{Advertisement, Change, DEFAULT_CLUSTER, Sighting, Source};
    use crate::cluster::pi::Pi;
    use crate::discovery::membership::{Membership, Settings};

    const BODY: &str = r#"{"schema":"picluster/1","id":"aaaaaaaaaaaaa","name":"ada","boot":"00000000000000ff","state":"up","nonce":null}"#;

    /// A probe as the table asks for it.
    fn probe(endpoint: SocketAddr, foreign: bool) -> Probe {
        let cluster = DEFAULT_CLUSTER.to_owned();
        let mut table = Membership::new(Settings {
            cluster: cluster.clone(),
            thresholds: Thresholds::default(),
        });
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
        Kept::new(DEFAULT_CLUSTER).ask(probe).await.result
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
    async fn a_node_that_is_well_has_to_take_a_connection_where_requests_go_if_that_is_elsewhere() {
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
        let addr = server(Box::leak(Box::new([&*whole.leak(); 2]))).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let app = listener.local_addr().expect("it is bound");
        let mut kept = Kept::new(DEFAULT_CLUSTER);
        let mut ask = || kept.ask(Probe { also: Some(app), ..probe(addr, false) });
        assert!(matches!(ask().await.result, ProbeResult::Node { .. }));
        drop(listener);
        assert_eq!(ask().await.result, ProbeResult::Deaf(app));
    }

    #[tokio::test]
    async fn who_speaks_before_it_is_asked_does_not_speak_http() {
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
            let result = Kept::new(DEFAULT_CLUSTER).ask(probe).await.result;
            assert!(matches!(result, ProbeResult::NotHttp(_)), "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_node_is_asked_over_one_connection_until_it_closes_it() {
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
        let addr = server(Box::leak(Box::new([&*whole.leak(); 2]))).await;
        let mut kept = Kept::new(DEFAULT_CLUSTER);
        for _ in 0..5 {
            let mut probe = probe(addr, false);
            probe.timeout = Duration::from_secs(5);
            assert_eq!(probe.path, "/.picluster/health");
            let mut asked = kept.ask(probe).await;
            assert!(matches!(asked.result, ProbeResult::Node { .. }), "{:?}", asked.result);
            kept.keep(&mut asked);
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
        let asking = tokio::spawn(Kept::new(DEFAULT_CLUSTER).ask(probe));
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
        let asking = tokio::spawn(Kept::new(DEFAULT_CLUSTER).ask(probe));
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
        assert_eq!(Kept::new(DEFAULT_CLUSTER).ask(silent).await.result, ProbeResult::TimedOut);
        drop(listener);
        assert_eq!(
            Kept::new(DEFAULT_CLUSTER).ask(probe(addr, false)).await.result,
            ProbeResult::Refused
        );
    }

    #[test]
    fn a_node_of_another_cluster_is_told_apart_if_it_says_so() {
        let says = |cluster: &str| {
            let body = BODY.replace("\"up\"", &format!("\"up\",\"cluster\":\"{cluster}\""));
            read(body.as_bytes(), "blue")
        };
        assert_eq!(says("red"), Some(ProbeResult::OtherCluster("red".to_owned())));
        assert!(matches!(says("blue"), Some(ProbeResult::Node { .. })));
    }

    #[test]
    fn a_board_is_read_within_bounds_and_never_spoils_the_answer() {
        let says = |pi: &str| {
            let body = BODY.replace("\"up\"", &format!("\"up\",\"pi\":{pi}"));
            match read(body.as_bytes(), DEFAULT_CLUSTER) {
                Some(ProbeResult::Node { pi, .. }) => pi,
                other => panic!("{pi}: {other:?}"),
            }
        };
        let pi = says(r#"{"model":"a\u0007b","throttled":true,"speed":0.5,"later":[1]}"#).unwrap();
        assert_eq!((pi.model.as_deref(), pi.quarters()), (Some("a-b"), 2));
        assert_eq!(says(r#"{"temperature_c":4e9,"speed":-1}"#), Some(Pi::default()));
        for odd in ["null", "7", r#"{"speed":"fast"}"#, "[[]]"] {
            assert_eq!(says(odd), None, "{odd}");
        }
    }

    #[test]
    fn only_a_whole_document_of_our_schema_is_one() {
        let node = read(BODY.as_bytes(), DEFAULT_CLUSTER).expect("it is one");
        assert!(matches!(node, ProbeResult::Node { boot: Boot(255), state: NodeState::Up, .. }));
        for (from, to) in [
            ("picluster/1", "picluster/2"),
            ("aaaaaaaaaaaaa", "A!"),
            ("00000000000000ff", "ff"),
            (r#""up""#, r#""fine""#),
            (r#""name":"ada","#, ""),
        ] {
            assert!(read(BODY.replace(from, to).as_bytes(), DEFAULT_CLUSTER).is_none(), "{to}");
        }
    }
}
