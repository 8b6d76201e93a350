//! What watchers of the cluster are told, and when: one document a second, and at once when a node
//! or the journal changes. It is rendered once for all of them; who reads slowly gets the newest.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::minute::Minutes;
use super::{Admin, api};

/// Between two samples of every node.
const TICK: Duration = Duration::from_secs(1);

/// Changes within this time are told together.
const TOGETHER: Duration = Duration::from_millis(100);

/// A watcher hears something at least this often, so that it and what stands between know that the
/// connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A watcher that lost its connection comes back after so many milliseconds.
const RETRY_MS: u32 = 1000;

/// What the sampler and the watchers share. Clones are the same.
#[derive(Clone, Debug)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Written by the sampler, read by whoever shows it; the request path knows nothing of it.
    minutes: Mutex<Minutes>,
    /// The newest event, as it goes over the wire.
    newest: watch::Sender<Bytes>,
    /// The events rendered so far.
    numbers: AtomicU64,
    watchers_max: usize,
}

impl Live {
    /// For a port that holds so many connections. Watchers stay, so an eighth is kept from them: who
    /// wants to drain a node or asks whether we are ready must get in.
    pub fn new(connections: usize) -> Self {
        Self(Arc::new(Inner {
            minutes: Mutex::default(),
            newest: watch::Sender::new(Bytes::new()),
            numbers: AtomicU64::new(0),
            watchers_max: (connections / 8 * 7).max(1),
        }))
    }

    pub(super) fn minutes(&self) -> MutexGuard<'_, Minutes> {
        self.0.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the samples and tells the watchers, until the discovery line is gone. While nobody watches,
/// nothing is rendered.
pub async fn sample(admin: Admin) {
    let (mut pool, mut journal) = (admin.pool.clone(), admin.journal.watch());
    let newest = &admin.live.0.newest;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            now = tick.tick() => {
                let pool = Arc::clone(&admin.pool.borrow());
                admin.live.minutes().tick(&pool, now.saturating_duration_since(admin.started));
            }
            changed = pool.changed() => if changed.is_err() { return },
            // The journal is ours as well: it does not end before us.
            _ = journal.changed() => {}
        }
        if newest.receiver_count() > 0 {
            newest.send_replace(event(&admin));
        }
        sleep(TOGETHER).await;
    }
}

/// Everything, and from then on everything again with each change: server-sent events.
pub(super) fn events(admin: &Admin) -> Response {
    if admin.live.0.newest.receiver_count() >= admin.live.0.watchers_max {
        let busy = "too many watch already; ask /api/v1/nodes\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")], busy)
            .into_response();
    }
    // In this order, or what changes in between would not be told.
    let newest = admin.live.0.newest.subscribe();
    let first = event(admin);
    let watcher = Watcher { next: Box::pin(async { (first, newest) }) };
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(watcher)).into_response()
}

fn event(admin: &Admin) -> Bytes {
    let number = admin.live.0.numbers.fetch_add(1, Ordering::Relaxed) + 1;
    let state = serde_json::to_string(&api::state(admin)).expect("plain data becomes JSON");
    format!("retry: {RETRY_MS}\nid: {number}\nevent: state\ndata: {state}\n\n").into()
}

type Newest = watch::Receiver<Bytes>;

/// The endless body of one watcher. It holds no event that was not asked for: the connection asks
/// when it has sent the last one.
struct Watcher {
    next: Pin<Box<dyn Future<Output = (Bytes, Newest)> + Send>>,
}

impl hyper::body::Body for Watcher {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let (event, newest) = ready!(self.next.as_mut().poll(cx));
        self.next = Box::pin(next(newest));
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}

async fn next(mut newest: Newest) -> (Bytes, Newest) {
    let changed = timeout(KEEP_ALIVE, newest.changed()).await;
    let event = match changed {
        Ok(Ok(())) => newest.borrow_and_update().clone(),
        // The sampler has ended, and with it soon the program: there is nothing to say any more.
        Ok(Err(_)) => std::future::pending().await,
        Err(_) => Bytes::from_static(b": still here\n\n"),
    };
    (event, newest)
}
