//! Serves pages over an [`Accept`]: like `axum::serve`, but with bounds on the time and the bytes of an
//! unfinished head, and with an end that leaves no client in the kernel's queue.

use std::pin::pin;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::time::sleep;

use super::accept::{Accept, Connection, Kept, LocalAddr, PeerAddr};
use crate::http1::limits::HEAD_BYTES_MAX;

/// The head of a request may take this long, also if its bytes trickle in.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// After listening has ended, a connection has this long to send the request that it was opened for:
/// when hyper is asked to stop, it ends a connection without a request at once.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(300);

/// Serves until `stop` completes. Then it takes the clients that are connected or about to be, stops
/// listening, and returns when all that runs has ended.
pub async fn serve(mut accept: Accept, router: Router, stop: impl Future<Output = ()>) {
    let connections = Serving { router, ending: watch::Sender::new(false) };
    connections.take(&mut accept, stop).await;
    let under_way = accept.refuse_new_handshakes();
    connections.take(&mut accept, sleep(under_way)).await;
    for connection in accept.drain_accept_queue() {
        connections.spawn(connection);
    }
    sleep(FIRST_REQUEST_GRACE).await;
    connections.ending.send_replace(true);
    connections.ending.closed().await;
}

/// The state that all connections share.
struct Serving {
    router: Router,
    /// Each connection holds a receiver.
    ending: watch::Sender<bool>,
}

impl Serving {
    /// Serves the connections that come until then.
    async fn take(&self, accept: &mut Accept, until: impl Future<Output = ()>) {
        let mut until = pin!(until);
        loop {
            tokio::select! {
                connection = accept.next() => self.spawn(connection),
                () = until.as_mut() => return,
            }
        }
    }

    fn spawn(&self, connection: Connection) {
        let local = Extension(ConnectInfo(LocalAddr(connection.local_addr())));
        let peer = Extension(ConnectInfo(PeerAddr(connection.peer_addr())));
        let router = self.router.clone().layer(local).layer(peer);
        let service = TowerToHyperService::new(router.layer(Extension(Kept::default())));
        let mut http1 = http1::Builder::new();
        // Without it hyper reads ahead 400 KB for each client that never ends its head.
        http1.max_buf_size(HEAD_BYTES_MAX).timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
        let served = http1.serve_connection(TokioIo::new(connection), service).with_upgrades();
        let mut ending = self.ending.subscribe();
        tokio::spawn(async move {
            let mut served = pin!(served);
            // A connection that broke off is no error of ours.
            tokio::select! {
                _ = served.as_mut() => return,
                _ = ending.wait_for(|ending| *ending) => {}
            }
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        });
    }
}
