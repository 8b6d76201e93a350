//! The end of listening, for clients that connect all the time: every connected client gets an
//! answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use picluster::admin::accept::Accept;
use picluster::admin::serve::serve;
use picluster::os::listen;
use picluster::os::systemd::Pulses;
use picluster::server::{ConnectionGuard, ConnectionLimits, Handler, Phase, Workers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};

use crate::lab::{Lab, PATIENCE, wait_until};

const ROUNDS: usize = 20;
const CLIENTS: usize = 8;
const POST: &[u8] =
    b"POST / HTTP/1.1\r\nHost: pi\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[test]
fn a_client_that_is_connected_when_pages_end_is_answered() {
    for _ in 0..ROUNDS {
        let listener = listen::bind("[::]:0".parse().unwrap(), "--listen").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let accept = Accept::new(listener, 1024).unwrap();
                let pages = axum::Router::new().fallback(|| async { "hi" });
                serve(accept, pages, async { stopped.await.unwrap() }).await;
            });
        });
        none_is_reset(port, || stop.send(()).unwrap());
        serving.join().unwrap();
    }
}

#[test]
fn a_client_that_is_connected_when_workers_end_is_answered() {
    for _ in 0..ROUNDS {
        let listeners = listen::bind_shared("[::]:0".parse().unwrap(), "--listen", 3).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        let (phase, watched) = watch::channel(Phase::Serving);
        let wait = Duration::from_secs(5);
        let bounds =
            ConnectionLimits { connections: 1024, per_client: 1024, wait, spare: 16, advice: "" };
        let workers =
            Workers::start(listeners, bounds, &watched, &Pulses::default(), || Rc::new(Greeter))
                .unwrap();
        none_is_reset(port, || {
            phase.send(Phase::Draining(Instant::now() + wait)).unwrap();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(workers.join());
    }
}

#[test]
fn a_stopped_node_or_balancer_resets_no_client_that_connects_each_time() {
    let Some(lab) = Lab::busy("closing") else { return };
    let lb = lab.lb();
    let [_ada, bob] = ["ada", "bob"].map(|name| lab.pi(name).web().start());
    lb.wait_for_nodes(2);
    let posts = |url: &str| {
        let posts = lab.client().load(url).clients(16).sending("POST", 100).connecting_anew();
        posts.pausing(Duration::from_millis(1)).start()
    };
    let loads = [posts(&lb.url()), posts(&format!("http://{}/", bob.endpoint()))];
    bob.sigterm();
    lb.process().sigterm();
    for load in loads {
        let report = load.stop();
        assert!(
            report.ok > 0 && report.reasons.keys().all(|reason| reason == "refused"),
            "{report:#?}"
        );
    }
}

/// Answers one request on each connection.
struct Greeter;

impl Handler for Greeter {
    async fn serve(
        self: Rc<Self>,
        mut stream: tokio::net::TcpStream,
        _: SocketAddr,
        _life: ConnectionGuard,
    ) {
        if stream.read_exact(&mut [0; POST.len()]).await.is_ok() {
            let _ = stream.write_all(ANSWER).await;
        }
    }
}

/// Clients connect and at once send a POST, over both families, while the end begins. Each goes on
/// until it cannot connect any more.
fn none_is_reset(port: u16, begin_the_end: impl FnOnce()) {
    let hosts = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let (served, reset) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let host = hosts[client % hosts.len()];
            let (served, reset) = (&served, &reset);
            scope.spawn(move || {
                let began = Instant::now();
                loop {
                    assert!(began.elapsed() < 2 * PATIENCE, "listening does not end");
                    match post(SocketAddr::new(host, port)) {
                        Ok(()) => served.fetch_add(1, Ordering::Relaxed),
                        Err(ErrorKind::ConnectionRefused) => return,
                        Err(_) => reset.fetch_add(1, Ordering::Relaxed),
                    };
                }
            });
        }
        wait_until("clients to be served", || served.load(Ordering::Relaxed) > 100);
        begin_the_end();
    });
    assert_eq!(reset.into_inner(), 0);
}

/// A connect without an answer counts as refused: the listener is gone or will be.
fn post(addr: SocketAddr) -> Result<(), ErrorKind> {
    let connected = TcpStream::connect_timeout(&addr, Duration::from_millis(500));
    let mut stream = connected.map_err(|error| match error.kind() {
        ErrorKind::TimedOut => ErrorKind::ConnectionRefused,
        other => other,
    })?;
    let mut answer = Vec::new();
    let exchanged = stream.write_all(POST).and_then(|()| stream.read_to_end(&mut answer));
    exchanged.map_err(|error| error.kind())?;
    if answer.starts_with(b"HTTP/1.1 200 OK\r\n") { Ok(()) } else { Err(ErrorKind::UnexpectedEof) }
}
