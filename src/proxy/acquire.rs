//! A connection to a node for the next attempt of a request: a kept one or a new one.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::cluster::health::Outcome;
use crate::cluster::picker::{self, NoPick, Pick};
use crate::cluster::pool::Pool;
use crate::cluster::retry::{self, Reach, Reason, Safety};
use crate::proxy::access::LogEntry;
use crate::proxy::hold;
use crate::proxy::outcome;
use crate::proxy::pick::{Picked, asked, pick};
use crate::proxy::reject::Reject;
use crate::proxy::request::{Request, RetryState};
use crate::proxy::shared::Shared;
use crate::proxy::upstream::{self, ConnectFailed, Taken};

/// An unsafe method takes a kept connection only to a node that answered this recently: nothing can
/// be sent twice, so the connection should be known to live.
const FRESH_ANSWER: Duration = Duration::from_millis(100);

/// A node for one attempt.
pub(super) struct Acquired {
    pub(super) stream: TcpStream,
    pub(super) pick: Pick,
    /// The connection had been kept.
    pub(super) reused: bool,
}

/// Why there is no node for an attempt.
pub(super) enum NotAcquired {
    /// No route takes the request, or the one that did is gone: it may have another by now.
    NoRoute,
    /// The client gets this answer.
    Rejected(Reject),
    /// The client has gone meanwhile.
    ClientLeft,
}

impl From<Reject> for NotAcquired {
    fn from(reject: Reject) -> Self {
        Self::Rejected(reject)
    }
}

/// Picks a node and takes or opens a connection to it. Waits while there is no node, and between two
/// rounds over all of them. No attempt that fails here has reached a node, so it costs no try.
pub(super) async fn acquire(
    shared: &Shared,
    request: &mut Request,
    retries: &mut RetryState<'_>,
) -> Result<Acquired, NotAcquired> {
    loop {
        let picked = match pick(shared, request, retries) {
            Picked::None(NoPick::AllBusy) => {
                Box::pin(hold::wait_for_room(shared, request, retries)).await?
            }
            picked => picked,
        };
        let pick = match picked {
            Picked::Member(pick) => pick,
            Picked::NoRoute => {
                Box::pin(hold::wait_for_route(shared, request)).await;
                return Err(NotAcquired::NoRoute);
            }
            // There was room, and it is gone again.
            Picked::None(NoPick::AllBusy) => continue,
            Picked::None(NoPick::AllTried) => {
                Box::pin(next_round(shared, request, retries)).await?;
                continue;
            }
            Picked::None(NoPick::NoneKnown | NoPick::NoneUsable) => {
                Box::pin(hold::wait_for_node(shared, request, retries)).await?;
                continue;
            }
        };
        request.entry.picked();
        if let Some(stream) = take_pinned(retries, &pick) {
            request.safety = Safety::Pinned;
            return Ok(Acquired { stream, pick, reused: true });
        }
        // After a death a fresh connection: two kept ones may both have been about to be closed,
        // and a second death gives up.
        let may_reuse = retries.died.is_empty();
        if let Some(stream) = may_reuse.then(|| take_kept(shared, request.safety, &pick)).flatten()
        {
            return Ok(Acquired { stream, pick, reused: true });
        }
        match Box::pin(connect(shared, request, pick, retries)).await {
            Ok((stream, pick)) => return Ok(Acquired { stream, pick, reused: false }),
            Err(failed) => connect_failed(shared, failed, retries, &mut request.entry),
        }
    }
}

/// The connection that serves this client alone, if it is one to this node and lives. Else it is of no
/// use any more.
fn take_pinned(retries: &mut RetryState<'_>, pick: &Pick) -> Option<TcpStream> {
    let stream = retries.pinned.as_mut()?.take(pick.member().epoch);
    if stream.is_none() {
        retries.pinned = None;
    }
    stream
}

fn take_kept(shared: &Shared, safety: Safety, pick: &Pick) -> Option<TcpStream> {
    let member = pick.member();
    if safety != Safety::Idempotent && !member.answered_within(FRESH_ANSWER, shared.now()) {
        return None;
    }
    match shared.idle.take(member.epoch) {
        Taken::Live(stream) => Some(stream),
        Taken::Nothing { found_dead } => {
            if found_dead {
                shared.idle.purge(member.epoch);
                shared.report(member.epoch, Outcome::Broken);
            }
            None
        }
    }
}

async fn connect(
    shared: &Shared,
    request: &mut Request,
    pick: Pick,
    retries: &mut RetryState<'_>,
) -> Result<(TcpStream, Pick), ConnectFailed> {
    let mut tried = retries.tried.clone();
    tried.push(pick.member().epoch);
    let (asked, to) = (asked(shared, request, &tried), request.to);
    let next = || {
        let choose = |pool: &Pool| picker::choose(pool, &asked, &mut shared.rng.borrow_mut()).ok();
        shared.members_of(to, choose).flatten()
    };
    let lost = |failed| connect_failed(shared, failed, retries, &mut request.entry);
    upstream::connect(pick, &shared.settings.limits, &shared.idle, next, lost).await
}

fn connect_failed(
    shared: &Shared,
    failed: ConnectFailed,
    retries: &mut RetryState<'_>,
    entry: &mut LogEntry,
) {
    let ConnectFailed { pick, failure } = failed;
    let member = pick.member();
    entry.tries(&member.node.name);
    shared.settings.counts.retries_free.add(failure.as_str());
    outcome::failed(shared, member, failure, Reach::Unsent);
    retries.tried.push(member.epoch);
    retries.last = Some(failure);
}

/// Every node was tried: pauses, then all may be tried again.
async fn next_round(
    shared: &Shared,
    request: &Request,
    retries: &mut RetryState<'_>,
) -> Result<(), Reject> {
    if request.came.elapsed() >= shared.settings.limits.retry_for {
        let failed = |failure| Reject::Failed(failure, Reason::TooLate);
        return Err(retries.last.map_or(Reject::NoNodeNow, failed));
    }
    let pause = retry::backoff(retries.rounds, fastrand::f64());
    tokio::select! {
        () = shared.published() => {}
        () = tokio::time::sleep(pause) => {}
    }
    retries.rounds += 1;
    retries.tried.clear();
    Ok(())
}
