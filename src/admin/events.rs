//! `/api/v1/events`: one document a second to each watcher of the cluster, and one at once when a node
//! or the journal changes. A document is rendered once for all watchers; a watcher that reads slowly
//! gets the newest.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::report;
use super::state::Admin;

/// Between two samples of every node.
const TICK: Duration = Duration::from_secs(1);

/// Changes within this time go into one event.
const TOGETHER: Duration = Duration::from_millis(100);

/// A watcher gets something at least this often, so that it and what stands between know that the
/// connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A watcher that lost its connection comes back after this many milliseconds.
const RETRY_MS: u32 = 1000;

/// Takes the samples and renders the events, until the discovery line is gone. While nobody watches,
/// nothing is rendered.
pub async fn sample(admin: Admin) {
    let (mut pool, mut journal) = (admin.pool.clone(), admin.journal.watch());
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
        if admin.live.is_watched() {
            admin.live.publish(event(&admin));
        }
        sleep(TOGETHER).await;
    }
}

/// The whole state, and the whole state again after each change: server-sent events.
pub(super) fn events(admin: &Admin) -> Response {
    // The watcher subscribes before the first event is rendered, or it would miss a change in between.
    let Some(newest) = admin.live.watch() else {
        let busy = "too many watch already; ask /api/v1/nodes\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")], busy)
            .into_response();
    };
    let first = event(admin);
    let watcher = Watcher { next: Box::pin(async { (first, newest) }) };
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(watcher)).into_response()
}

fn event(admin: &Admin) -> Bytes {
    let number = admin.live.next_number();
    let state = serde_json::to_string(&report::live(admin)).expect("plain data becomes JSON");
    format!("retry: {RETRY_MS}\nid: {number}\nevent: state\ndata: {state}\n\n").into()
}

type Newest = watch::Receiver<Bytes>;

/// The endless body of one watcher. It holds no event that was not asked for: the connection asks when
/// it has sent the last one.
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
        // The sampler has ended, and the program soon will: no event comes any more.
        Ok(Err(_)) => std::future::pending().await,
        Err(_) => Bytes::from_static(b": still here\n\n"),
    };
    (event, newest)
}
